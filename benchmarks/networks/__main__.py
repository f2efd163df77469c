"""A training step of a convolutional, a recurrent and an attention network: `python benchmarks/networks [NAME ...]`.

As `python benchmarks/frameworks`: float32, plain gradient descent, one thread, a step is an epoch over a few batches
divided by their number, trainers take turns, times are medians. All start from the same parameters, and after an epoch
all must agree. What is printed is Markdown, for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("networks", nargs="*", help="LeNet, LSTM, 'transformer block'; all where unsaid")
options = parser.parse_args()

# Before any of the libraries is imported, and for all their threads.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
COMPILED = tempfile.TemporaryDirectory()  # what an earlier run has compiled is none of this one's
os.environ["NUMBA_CACHE_DIR"] = COMPILED.name

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from networks import NETWORKS, Array, Network  # noqa: E402

import derivgen  # noqa: E402
from derivgen import runtime  # noqa: E402

RATE = 0.01
NAMES = ("derivgen", "PyTorch eager", "torch.compile", "JAX scan")
SAMPLE, ROUNDS = 0.05, 15  # seconds that a sample takes at least, and the number of samples
Trainer = tuple[Callable[[], object], Callable[[], dict[str, Array]]]  # an epoch, and the parameters so far


def ours(network: Network, folder: Path) -> tuple[Trainer, dict[str, Array], float, float]:
    """(the trainer, the parameters that it starts from, seconds to generate and to compile)"""
    start = time.perf_counter()
    model = network.declare()
    path = derivgen.generate(model, folder / f"{model.name}_kernels.py", dtype="float32")
    generated = time.perf_counter()
    module = runtime.load(path)
    x, y = network.data()
    parameters, state, order = module.initial_parameters(0), module.optimizer_state(), np.arange(len(x))
    first = {name: view.copy() for name, view in module.views(parameters).items()}

    def epoch() -> None:
        module.train_epoch(parameters, state, order, network.batch, x, y, learning_rate=RATE)

    loaded = time.perf_counter()
    epoch()
    compiled = time.perf_counter()
    return (epoch, lambda: module.views(parameters)), first, generated - start, compiled - loaded


def torch_trainer(network: Network, first: dict[str, Array], compiled: bool) -> Trainer:
    x, y = map(torch.from_numpy, network.data())
    parameters = {name: torch.from_numpy(a.copy()).requires_grad_() for name, a in first.items()}
    optimizer = torch.optim.SGD(parameters.values(), lr=RATE)
    torch._dynamo.reset()
    loss = torch.compile(network.torch_loss) if compiled else network.torch_loss
    update = torch.compile(optimizer.step) if compiled else optimizer.step

    def epoch() -> None:
        for start in range(0, len(x), network.batch):
            batch = slice(start, start + network.batch)
            loss(parameters, x[batch], y[batch]).backward()
            update()
            optimizer.zero_grad()

    return epoch, lambda: {name: p.detach().numpy() for name, p in parameters.items()}


def jax_trainer(network: Network, first: dict[str, Array]) -> Trainer:
    x, y = (jnp.asarray(a.reshape(network.batches, network.batch, *a.shape[1:])) for a in network.data())
    kept = [{name: jnp.asarray(a) for name, a in first.items()}]

    def step(
        parameters: dict[str, jax.Array], batch: tuple[jax.Array, jax.Array]
    ) -> tuple[dict[str, jax.Array], object]:
        value, gradient = jax.value_and_grad(network.jax_loss)(parameters, *batch)
        return jax.tree.map(lambda p, g: p - RATE * g, parameters, gradient), value

    scanned = jax.jit(lambda parameters, x, y: jax.lax.scan(step, parameters, (x, y)), donate_argnums=0)

    def epoch() -> None:
        kept[0], values = scanned(kept[0], x, y)
        jax.block_until_ready((kept[0], values))

    return epoch, lambda: {name: np.asarray(p) for name, p in kept[0].items()}


def row(network: Network, folder: Path) -> str:
    trainer, first, generating, compiling = ours(network, folder)
    trainers = {
        "derivgen": trainer,
        "PyTorch eager": torch_trainer(network, first, compiled=False),
        **({"torch.compile": torch_trainer(network, first, compiled=True)} if network.compiles else {}),
        "JAX scan": jax_trainer(network, first),
    }
    for name, (epoch, parameters) in trainers.items():
        if name != "derivgen":
            epoch()
            for key, found in parameters().items():
                wanted = trainer[1]()[key]
                np.testing.assert_allclose(
                    found, wanted, rtol=1e-3, atol=1e-5, err_msg=f"{network.name}: {name}, {key}"
                )
    samples: dict[str, list[float]] = {name: [] for name in trainers}
    repeats = {name: max(1, round(SAMPLE / seconds(epoch, 2))) for name, (epoch, _) in trainers.items()}
    for _ in range(ROUNDS):
        for name, (epoch, _) in trainers.items():
            samples[name].append(seconds(epoch, repeats[name]) / network.batches)
    times = {name: median(found) for name, found in samples.items()}
    best = min(t for name, t in times.items() if name != "derivgen")
    cells = [
        f"{network.name}, {network.batch}",
        *(f"{times[name] * 1e6:,.0f}" if name in times else "" for name in NAMES),
    ]
    cells += [f"{best / times['derivgen']:.2f}", f"{generating:.1f}", f"{compiling:.1f}"]
    return f"| {' | '.join(cells)} |"


def seconds(epoch: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        epoch()
    return (time.perf_counter() - start) / repeats


def main() -> None:
    unknown = {*options.networks} - {network.name for network in NETWORKS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(n.name for n in NETWORKS)}")
    torch.set_num_threads(1)
    columns = ["network, batch", *NAMES, "best peer / derivgen", "generate, s", "compile, s"]
    print(f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        for network in NETWORKS:
            if not options.networks or network.name in options.networks:
                print(row(network, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
