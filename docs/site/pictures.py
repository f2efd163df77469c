"""Draw the pictures of the gallery: `python docs/site/pictures.py [NAME …]`; if NAME is omitted, all of them.

A function draws the picture of the example whose name it has; its docstring is the caption on the page. The numbers are
those of the example's own run.py: its data, its settings and its training, which the caption says where it is shorter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from scipy.signal import correlate2d

from derivgen import runtime

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from drawing import BLUE, GRAY, ORANGE, SIZE, grid, image, plain, read_text, trained, weights
from example_files import kernels, script

FOLDER, STYLE = Path(__file__).parents[1] / "pictures", Path(__file__).with_name("pictures.mplstyle")


def first_steps() -> None:
    """The loss along the step of the first gradient: the tangent at its start falls by the gradient's squared norm."""
    run, module = script("first_steps"), kernels("first_steps")
    start = module.initial_parameters()
    loss, gradient = module.loss_and_gradient(start, x=run.X, y=run.Y)
    along = np.linspace(-0.15, 0.6, 151)
    axes = grid(1, 1)[0, 0]
    axes.plot(along, [module.loss(start - rate * gradient, x=run.X, y=run.Y) for rate in along])
    axes.plot(along[:71], loss - along[:71] * (gradient @ gradient), "--", color=ORANGE, label="tangent")
    after = module.loss(start - run.LEARNING_RATE * gradient, x=run.X, y=run.Y)
    axes.plot([0, run.LEARNING_RATE], [loss, after], "o", color="black", markersize=7)
    axes.annotate("the start", (0, loss), (8, 6), textcoords="offset points")
    axes.annotate("one step", (run.LEARNING_RATE, after), (8, 6), textcoords="offset points")
    axes.set(xlabel="length of the step against the gradient", ylabel="loss")
    axes.legend()


def xor() -> None:
    """The output of the trained network between the four patterns; the line is at one half."""
    run, module = script("xor"), kernels("xor")
    parameters = module.initial_parameters(0)
    module.descend(parameters, module.optimizer_state(), run.STEPS, x=run.X, y=run.Y, learning_rate=run.LEARNING_RATE)
    side = np.linspace(-0.25, 1.25, 121, dtype=np.float32)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    output = module.predict(parameters, x).reshape(len(side), -1)
    axes = grid(1, 1)[0, 0]
    shown = axes.imshow(output, origin="lower", extent=(-0.25, 1.25) * 2, vmin=0, vmax=1, aspect="auto")
    axes.contour(side, side, output, [0.5], colors="white")
    for (a, b), y in zip(run.X, run.Y, strict=True):
        axes.plot(a, b, "o" if y else "s", color="white", markeredgecolor="black", markeredgewidth=1.5, markersize=11)
    axes.grid(visible=False)
    axes.set(xlabel="first input", ylabel="second input", xticks=(0, 1), yticks=(0, 1))
    plt.colorbar(shown, label="output")


def digits() -> None:
    """Images that were held out, each with the class that the network gives it; in the last row eight of its errors."""
    run, module = script("digits"), kernels("digits")
    x, y, x_test, y_test = run.split_digits()
    found = module.predict(trained(run, module, {"x": x, "y": y}).parameters, x_test).argmax(axis=1)
    right, wrong = np.flatnonzero(found == y_test)[:24], np.flatnonzero(found != y_test)[:8]
    for axes, n in zip(grid(4, 8).flat, [*right, *wrong], strict=False):
        image(axes, x_test[n].reshape(8, 8))
        told = f"{found[n]}" if found[n] == y_test[n] else f"{found[n]}, not {y_test[n]}"
        axes.set_title(told, color=BLUE if found[n] == y_test[n] else ORANGE, size=9, pad=2)


def rosenbrock() -> None:
    """The last two of the ten coordinates on the contours of their term, by gradient descent and by SciPy's BFGS."""
    run, module = script("rosenbrock"), kernels("rosenbrock")
    start, state = module.initial_parameters(), module.optimizer_state()
    parameters, descent, newton = start.copy(), [start], [start]
    for _ in range(300):
        module.descend(parameters, state, 100, learning_rate=run.LEARNING_RATE)
        descent.append(parameters.copy())
    minimize(module.loss_and_gradient, start, jac=True, method="BFGS", callback=lambda x: newton.append(x.copy()))
    x, y = np.meshgrid(np.linspace(-0.2, 2.2, 121), np.linspace(-0.3, 4.2, 121))
    axes = grid(1, 1)[0, 0]
    axes.contour(
        x,
        y,
        np.log10(100 * (y - x**2) ** 2 + (1 - x) ** 2 + 1e-9),
        np.arange(-1, 3.5, 0.5),
        colors="#9a9a9a",
        linewidths=0.8,
    )
    axes.plot(*np.array(descent).T[-2:], ".-", color=ORANGE, linewidth=1.2, label="gradient descent")
    axes.plot(*np.array(newton).T[-2:], ".-", color=BLUE, linewidth=1.2, label="BFGS")
    axes.plot(1, 1, "*", color="black", markersize=12, label="minimum")
    axes.set(xlabel="$x_9$", ylabel="$x_{10}$", xlim=(-0.2, 2.2), ylim=(-0.3, 4.2))
    axes.legend(loc="upper left")


def logistic_regression() -> None:
    """The norm of the gradient after each iteration: Newton's method by the exact Hessian, L-BFGS-B by the gradient."""
    run, module = script("logistic_regression"), kernels("logistic_regression")
    x, y, *_ = run.split_tumors()
    data = {"x": x, "y": y, "C": 1.0}
    axes = grid(1, 1)[0, 0]
    for method, mark in (("newton", "o-"), ("L-BFGS-B", ".-")):
        path = [module.initial_parameters()]
        tight = {} if method == "newton" else {"options": {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 10_000}}
        runtime.minimize(module, data, method=method, callback=lambda p, path=path: path.append(p.copy()), **tight)
        norms = [np.linalg.norm(module.loss_and_gradient(p, **data)[1]) for p in path]
        axes.semilogy(norms, mark, label={"newton": "Newton"}.get(method, method))
    axes.set(xlabel="iteration", ylabel="norm of the gradient")
    axes.legend()


def decay_curve() -> None:
    """The data of NIST's problem MGH17 and the fitted curve with its 95 % band, which is enlarged tenfold."""
    run, module = script("decay_curve"), kernels("decay_curve")
    fit = runtime.fit_curve(module, {"x": run.X, "y": run.Y}, **run.TIGHT)
    x = np.linspace(0, 330, 200)
    lower, curve, upper = fit.band({"x": x})
    axes = grid(1, 1)[0, 0]
    axes.fill_between(x, curve - 10 * (curve - lower), curve + 10 * (upper - curve), alpha=0.25, linewidth=0)
    axes.plot(x, curve, label="fit")
    axes.plot(run.X, run.Y, "o", color="black", label="data")
    axes.set(xlabel="x", ylabel="y")
    axes.legend()


def pharmacokinetics() -> None:
    """The concentration in the plasma of six volunteers after a bolus: measured, and by the fit of all at once."""
    run, module = script("pharmacokinetics"), kernels("pharmacokinetics")
    fit = runtime.fit_curve(module, run.measurements(), ftol=1e-14, xtol=1e-12, gtol=1e-12)
    time = np.linspace(0.1, 8, 100)
    for s, axes in enumerate(grid(2, 3, sharex=True, sharey=True).flat):
        subject = np.full(len(time), s)
        axes.semilogy(time, module.predict(fit.parameters, run.DOSE, subject, time))
        axes.semilogy(run.TIMES, run.CONCENTRATIONS[s], "o", color=ORANGE)
        axes.set_title(f"CL {np.exp(fit.views['log_CL'][s]):.1f} L/h", size=10, pad=3)
        axes.set(ylim=(0.03, 5), xticks=(0, 4, 8))
    plt.gcf().supxlabel("hours", size=11)
    plt.gcf().supylabel("mg/L", size=11)


def option_greeks() -> None:
    """Delta and gamma of the call at several spot prices, from the gradient and the Hessian of a Monte Carlo price."""
    run, module = script("option_greeks"), kernels("option_greeks")
    market, spots = module.initial_parameters(), np.linspace(70, 140, 15)
    z = run.MultivariateNormalQMC([0], seed=np.random.default_rng(0)).random(run.PATHS)[:, 0]
    found = np.array([run.greeks(module, np.array([spot, *market[1:]]), z, run.WIDTH) for spot in spots])
    fine = np.linspace(70, 140, 141)
    exact = np.array([run.black_scholes(spot, *market[1:]) for spot in fine])
    for axes, name in zip(grid(1, 2)[0], ("delta", "gamma"), strict=True):
        k = run.NAMES.index(name)
        axes.plot(fine, exact[:, k], label="Black–Scholes")
        axes.plot(spots, found[:, k], "o", color=ORANGE, label="Monte Carlo")
        axes.set_title(name)
        axes.set(xlabel="spot price", ylim=(-0.05 * exact[:, k].max(), 1.35 * exact[:, k].max()))
        axes.legend(loc="upper left", fontsize=9, borderaxespad=0)


def support_vector_machine() -> None:
    """The training rows by the machine's value w·x + b and the direction in which they spread most; rows within the
    margin, or beyond it, count in the loss."""
    run = script("support_vector_machine")
    best, *_ = run.main()
    x, y, *_ = run.split_tumors()
    value, spread = x @ best[:-1] + best[-1], x @ np.linalg.svd(x, full_matrices=False)[2][0]
    counts = y * value < 1
    axes = grid(1, 1)[0, 0]
    for label, color, word in ((1, BLUE, "benign"), (-1, ORANGE, "malignant")):
        rows = y == label
        axes.plot(value[rows & ~counts], spread[rows & ~counts], ".", color=color, alpha=0.5)
        axes.plot(value[rows & counts], spread[rows & counts], "o", color=color, label=word)
    for at, style in ((-1, "--"), (0, "-"), (1, "--")):
        axes.axvline(at, color="black", linestyle=style, linewidth=1)
    axes.set(xlabel="w·x + b", ylabel="first principal component", xlim=(-6, 6))
    axes.legend(loc="upper right")


def heat_equation() -> None:
    """The network's u(x, t), and how far it is from the exact solution."""
    run, module = script("heat_equation"), kernels("heat_equation")
    side = np.linspace(0, 1, 101)
    t, x = (axis.ravel() for axis in np.meshgrid(side, side, indexing="ij"))
    u = module.predict(run.solve(module, 0).parameters, x, t).reshape(101, 101)
    error = u - run.exact(x, t).reshape(101, 101)
    largest = 1e3 * np.abs(error).max()
    drawn = ((u, "u(x, t)", "cividis", 0, 1), (1e3 * error, "error · 1000", "PuOr", -largest, largest))
    for axes, (values, name, colors, low, high) in zip(grid(1, 2)[0], drawn, strict=True):
        shown = axes.imshow(values.T, origin="lower", extent=(0, 1, 0, 1), cmap=colors, vmin=low, vmax=high)
        axes.grid(visible=False)
        axes.set_title(name)
        axes.set(xlabel="t", ylabel="x", xticks=(0, 1), yticks=(0, 1))
        plt.colorbar(shown, orientation="horizontal", pad=0.02)


def matrix_factorization() -> None:
    """Digits of which 70 % of the pixels are hidden (blue), and what the factors restore."""
    run = script("matrix_factorization")
    ratings, known = run.hide_pixels(0)
    restored = run.complete(ratings, known, 0)
    colors = matplotlib.colormaps["gray_r"].with_extremes(bad="#9ecae8")
    rows = (("image", ratings), ("known", np.where(known, ratings, np.nan)), ("restored", restored))
    for (word, values), across in zip(rows, grid(3, 7), strict=True):
        for axes, n in zip(across, range(10, 17), strict=True):
            image(axes, values[n].reshape(8, 8), cmap=colors)
        across[0].text(-1.2, 3.5, word, rotation=90, ha="center", va="center")


def denoising() -> None:
    """Four digits, the same with noise, and what total variation restores, with the peak signal-to-noise ratios."""
    run = script("denoising")
    clean, noisy = run.scanned_digits(0)
    restored, *_ = run.denoise(noisy)
    for axes, (word, values) in zip(
        grid(1, 3)[0], (("the scan", clean), ("with noise", noisy), ("restored", restored)), strict=True
    ):
        image(axes, values)
        ratio = "" if values is clean else f"\n{run.signal_to_noise(values, clean):.1f} dB"
        axes.text(32, 68, word + ratio, ha="center", va="top")


def soft_decision_tree() -> None:
    """The weights of each gate, and the most probable digit of each leaf: ink on violet sends an image to the right, on
    orange to the left."""
    run, module = script("soft_decision_tree"), kernels("soft_decision_tree")
    x, y, *_ = run.split_digits()
    views = module.views(trained(run, module, {"x": x, "y": y}).parameters)
    figure = plt.figure(figsize=SIZE, layout="none")
    whole = plain(figure.add_axes((0, 0, 1, 1)))
    whole.set(xlim=(0, 1), ylim=(0, 1))

    def place(level: int, position: int) -> tuple[float, float]:
        return (position + 0.5) / 2**level, 0.885 - 0.22 * level + (0.06 if level == 4 else 0)

    for level in range(4):
        for position in range(2**level):
            (across, up), side = place(level, position), (0.13, 0.115, 0.105, 0.095)[level]
            for child in (2 * position, 2 * position + 1):
                whole.plot(*zip((across, up), place(level + 1, child), strict=True), color="#9a9a9a", linewidth=1)
            height = side * SIZE[0] / SIZE[1]
            axes = figure.add_axes((across - side / 2, up - height / 2, side, height))
            gate = views["W"][:, 2**level - 1 + position].reshape(8, 8)
            image(axes, gate, cmap="PuOr", vmin=-np.abs(gate).max(), vmax=np.abs(gate).max())
    for leaf, digit in enumerate(views["Q"].argmax(axis=1)):
        across, up = place(4, leaf)
        whole.text(across, up, str(digit), ha="center", va="center", bbox={"color": "white", "pad": 1.5})


def soft_forest() -> None:
    """The accuracy on held-out digits of the first trees together, and of each alone; a random forest of the same depth
    beside it."""
    run, module, tree = script("soft_forest"), kernels("soft_forest"), kernels("soft_decision_tree")
    x, y, x_test, y_test = run.split_digits()
    views = module.views(trained(run, module, {"x": x, "y": y}).parameters)
    p = []
    for t in range(run.TREES):  # the forest's trees are of the model of the other example
        parameters = tree.initial_parameters()
        for name, values in tree.views(parameters).items():
            values[...] = np.take(views[name], t, axis=1 if name == "W" else 0)
        p.append(tree.predict(parameters, x_test))
    counts = np.arange(1, run.TREES + 1)
    together = [100 * (np.mean(p[:k], axis=0).argmax(axis=1) == y_test).mean() for k in counts]
    ordinary = [run.RandomForestClassifier(k, max_depth=run.DEPTH, random_state=0).fit(x, y) for k in counts]
    axes = grid(1, 1)[0, 0]
    axes.plot(counts, together, "o-", label="soft trees")
    axes.plot(
        counts, [100 * (one.argmax(axis=1) == y_test).mean() for one in p], "o", color="#56b4e9", label="each alone"
    )
    axes.plot(counts, [100 * one.score(x_test, y_test) for one in ordinary], "s-", color=ORANGE, label="random forest")
    axes.set(xlabel="trees", ylabel="right, in %", xticks=(1, 4, 8, 12, 16))
    axes.legend(loc="lower right")


def digits_convolutional() -> None:
    """An image that was held out, and what the 16 filters of the first convolution see in it."""
    run, module = script("digits_convolutional"), kernels("digits_convolutional")
    pixels, labels = run.load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    train, test = next(run.StratifiedKFold(5, shuffle=True, random_state=0).split(images, labels))
    x, y = run.moved(images[train]), np.tile(labels[train], len(run.MOVES))
    steps = run.EPOCHS * -(-len(x) // run.BATCH_SIZE)
    views = module.views(trained(run, module, {"x": x, "y": y}, decay_steps=steps).parameters)
    shown = images[test][3, 0]
    figure = plt.figure(figsize=SIZE)
    left, right = figure.subfigures(1, 2, width_ratios=(3, 5))
    image(left.subplots(), shown)
    for axes, filter, bias in zip(right.subplots(4, 4).flat, views["conv1_W"][:, 0], views["conv1_b"], strict=True):
        image(axes, np.maximum(correlate2d(shown, filter, "same") + bias, 0), cmap="cividis", vmax=None)


def characters_gpt() -> None:
    """A text that the GPT makes up: the darker a character's ground, the less probable it was."""
    run, module = script("characters_gpt"), kernels("characters_gpt")
    steps = module.INPUTS[0].shape[1]
    text = run.shakespeare.read(steps, run.ITERATIONS)
    parameters, order = module.initial_parameters(), np.arange(run.ITERATIONS * run.BATCH_SIZE)
    module.train_epoch(parameters, module.optimizer_state(), order, run.BATCH_SIZE, **text.training)
    made = run.characters.sample(module, parameters, "\n", 620, text.alphabet)
    numbers = run.characters.numbers(made, text.alphabet)
    known = (numbers[max(0, n - steps) : n] for n in range(1, len(numbers)))
    # The model is causal: what fills a row that is shorter than its steps is not seen.
    p = [module.predict(parameters, np.resize(row, (1, steps)))[0, len(row) - 1] for row in known]
    read_text(made[1:], np.array(p)[np.arange(len(p)), numbers[1:]])


def characters_lstm() -> None:
    """Text that was held out: the darker a character's ground, the less probable the LSTM found it after those before.
    It was trained for 2 of the 6 epochs of run.py."""
    run, module = script("characters_lstm"), kernels("characters_lstm")
    characters = run.characters
    training, held_out = texts(characters, module)
    fit = trained(run, module, training, epochs=2)
    text = "".join(characters.CHARACTERS[k] for k in held_out["y"].ravel())
    first = text.index("    def ")
    read_text(text[first:], characters.probabilities(module, fit.parameters, held_out).ravel()[first:])


def characters_transformer() -> None:
    """Bits per character after each epoch, of the text that was held out and in training."""
    run, module = script("characters_transformer"), kernels("characters_transformer")
    training, held_out = texts(run.characters, module)
    fit = trained(run, module, training, validation=held_out)
    epochs = np.arange(1, len(fit.history) + 1)
    axes = grid(1, 1)[0, 0]
    axes.plot(epochs, [epoch.validation_loss / np.log(2) for epoch in fit.history], "o-", label="transformer, held out")
    axes.plot(epochs, [epoch.loss / np.log(2) for epoch in fit.history], ".--", color="#56b4e9", label="in training")
    axes.axhline(run.characters.counted(training, held_out)[1], color=ORANGE, label="counts of pairs, held out")
    axes.set(xlabel="epoch", ylabel="bits per character")
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.94))


def texts(characters: ModuleType, module: ModuleType) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The texts for training, and held out, in rows as the module takes them."""
    steps = module.INPUTS[0].shape[1]
    training, held_out = (characters.source(names) for names in (characters.TRAINING, characters.HELD_OUT))
    return characters.windows(training, steps), characters.windows(held_out, steps)


def wavenet() -> None:
    """A held-out melody, and how WaveNet goes on after the first 256 samples of it; 4 of the 16 epochs of run.py."""
    run, module, rng = script("wavenet"), kernels("wavenet"), np.random.default_rng(0)
    steps = module.INPUTS[0].shape[1]
    training, held_out = (run.quantized(run.melody(notes, rng)) for notes in (240, 16))
    fit = trained(run, module, run.windows(training, steps), epochs=4)
    start = 2000
    levels = list(held_out[start : start + steps])
    for _ in range(384):
        p = module.predict(fit.parameters, np.array(levels[-steps:])[None])[0, -1].astype(np.float64)
        levels.append(rng.choice(run.LEVELS, p=p / p.sum()))
    milliseconds = 1000 * np.arange(len(levels)) / run.RATE
    axes = grid(2, 1, sharex=True, sharey=True)[:, 0]
    axes[0].plot(milliseconds, run.amplitudes(held_out[start : start + len(levels)]), color=GRAY, linewidth=1)
    axes[1].plot(milliseconds[:steps], run.amplitudes(np.array(levels[:steps])), color=GRAY, linewidth=1)
    axes[1].plot(milliseconds[steps - 1 :], run.amplitudes(np.array(levels[steps - 1 :])), color=ORANGE, linewidth=1)
    for one, word in zip(axes, ("the melody", "WaveNet goes on"), strict=True):
        one.set_title(word, loc="right", size=10, pad=2)
    axes[1].set_xlabel("milliseconds")


def robot_arm() -> None:
    """The arm at four of the 32 poses along the circle, within the limits of its joints."""
    run, module = script("robot_arm"), kernels("robot_arm")
    followed = run.main()
    joints = module.predict(followed.within.parameters)[:, :, :, 3]
    joints = np.concatenate([np.zeros_like(joints[:, :1]), joints], axis=1)
    axes = plt.figure(figsize=SIZE, layout="none").add_axes((-0.04, -0.12, 1.08, 1.25), projection="3d")
    for arm in joints[::8]:
        axes.plot(*arm.T, "o-", color=BLUE, alpha=0.7, markersize=4, linewidth=2.5)
    around = np.concatenate([followed.targets, followed.targets[:1]])[:, :, 3]
    axes.plot(*around.T, color=ORANGE, linewidth=2.5)
    axes.set(xlim=(-0.1, 0.7), ylim=(-0.4, 0.4), zlim=(0, 0.8), xticklabels=[], yticklabels=[], zticklabels=[])
    axes.view_init(22, -60)


def pendulum() -> None:
    """The measured angles and the fitted swing, whose 95 % band is hardly wider than its line."""
    run = script("pendulum")
    measured = run.measurements(0)
    lower, curve, upper = run.fit_of(measured).band()
    axes = grid(1, 1)[0, 0]
    axes.plot(run.TIMES, measured, ".", color=ORANGE, markersize=4, label="measured")
    axes.fill_between(run.TIMES, lower, upper, alpha=0.3, linewidth=0)
    axes.plot(run.TIMES, curve, label="fit")
    axes.set(xlabel="seconds", ylabel="angle in radians")
    axes.legend(loc="upper right", ncols=2, markerscale=2)


def symmetry() -> None:
    """The weights from the six bits to the two hidden units: mirrored bits have opposite ones, in sizes 1 : 2 : 4."""
    run, module = script("symmetry"), kernels("symmetry")
    learned = next(one for one in (run.learn(module, seed, run.SWEEPS) for seed in range(run.SEEDS)) if one.right)
    axes = grid(1, 1)[0, 0]
    weights(axes, learned.weights.T, np.abs(learned.weights).max())
    for (row, column), value in np.ndenumerate(learned.weights.T):
        axes.text(column, row, f"{value:.1f}", color="white", ha="center", va="center", size=10)
    axes.set(xticks=range(6), xticklabels=[f"bit {k}" for k in range(1, 7)])
    axes.set(yticks=(0, 1), yticklabels=("unit 1", "unit 2"))
    axes.axvline(2.5, color=GRAY, linestyle="--", linewidth=1)


def family_trees() -> None:
    """Weights of the persons, both families in the same order, to the three units that tell best their nation, their
    generation and their branch: blue is positive, orange negative. Nobody told the units what to stand for."""
    run, module = script("family_trees"), kernels("family_trees")
    codes = run.learn(module, 2).codes
    units = [int(shares.argmax()) for shares in run.explained(codes).values()]
    order = np.lexsort((run.BRANCH[:12], run.GENERATION[:12]))
    largest = np.abs(codes[:, units]).max()
    for family, axes in enumerate(grid(2, 1)[:, 0]):
        persons = order + 12 * family
        weights(axes, codes[persons][:, units].T, largest)
        axes.set(xticks=range(12), xticklabels=[run.PERSONS[k] for k in persons])
        axes.set(yticks=range(3), yticklabels=run.GROUPS)
        axes.tick_params("x", labelrotation=90, labelsize=9)


PICTURES: dict[str, Callable[[], None]] = {
    picture.__name__: picture
    for picture in (
        characters_gpt,
        characters_lstm,
        characters_transformer,
        decay_curve,
        denoising,
        digits,
        digits_convolutional,
        family_trees,
        first_steps,
        heat_equation,
        logistic_regression,
        matrix_factorization,
        option_greeks,
        pendulum,
        pharmacokinetics,
        robot_arm,
        rosenbrock,
        soft_decision_tree,
        soft_forest,
        support_vector_machine,
        symmetry,
        wavenet,
        xor,
    )
}


def draw(name: str, path: Path) -> None:
    """Write a picture: equal ones are equal bytes, since no date and no version stands in it."""
    with plt.style.context(STYLE):
        PICTURES[name]()
        plt.savefig(path, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        plt.close()


if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        draw(name, FOLDER / f"{name}.svg")
