"""What pictures show: inspected on matplotlib's figures, before they are files."""

from __future__ import annotations

import math
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from derivgen.runtime import pictures
from derivgen.runtime.solve import curve_picture, spectrum
from derivgen.runtime.train import history
from derivgen.runtime.train.history import Epoch, plot_history
from derivgen.runtime.train.monitor import LayerRecord

figures = pytest.importorskip("matplotlib.figure")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn in place of files."""
    found = []

    def write_picture(path, size, draw):
        figure = figures.Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.draw_without_rendering()
        found.append(figure)

    for module in (history, curve_picture, spectrum):
        monkeypatch.setattr(module, "write_picture", write_picture)
    return found


# ---- a training


def epochs(count, layers=0):
    def records(k):
        return tuple(LayerRecord(f"layer{j}", 10.0 ** (j - layers) / k, 0.1, 1.0, 1.0 + j, 0.0) for j in range(layers))

    return [Epoch(k, 100 / k, 10 + (k - 3) ** 2, 0.1, {"r2": 0.5}, k, records(k)) for k in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 2, 5, 40, 1000])
def test_epochs_are_ticked_at_whole_numbers_from_the_first_one(drawn, tmp_path, count):
    plot_history(tmp_path / "a.png", epochs(count))
    ticks = drawn[0].axes[-1].get_xticks()
    assert ticks[0] == 1 and ticks[-1] <= count
    assert all(float(tick).is_integer() for tick in ticks)
    assert drawn[0].axes[-1].get_xlabel() == "epoch"


def test_the_best_epoch_is_marked_where_early_stopping_sees_it(drawn, tmp_path):
    plot_history(tmp_path / "a.png", epochs(40))
    (star,) = [line for line in drawn[0].axes[0].lines if line.get_label().startswith("best")]
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([3], [10])
    assert star.get_label() == "best: epoch 3, 10"
    assert drawn[0].axes[0].get_yscale() == "log"
    assert drawn[0].axes[1].get_yscale() == "linear"


@pytest.mark.parametrize(("layers", "named"), [(3, True), (24, False)])
def test_the_monitors_layers_have_panels(drawn, tmp_path, layers, named):
    plot_history(tmp_path / "a.png", epochs(5, layers))
    gradient, activation = drawn[0].axes[2:4]
    assert (gradient.get_ylabel(), activation.get_ylabel()) == ("gradient, RMS", "activation, RMS")
    assert len(gradient.lines) == len(activation.lines) == layers
    assert list(gradient.lines[1].get_ydata()) == pytest.approx([10.0 ** (1 - layers) / k for k in range(1, 6)])
    assert gradient.get_yscale() == "log"
    assert (gradient.get_legend() is not None) is named
    bars = [axes for axes in drawn[0].axes if axes.get_ylabel() == "layer, from the input on"]
    assert len(bars) == (0 if named else 2)


def test_a_legend_covers_no_curve(drawn, tmp_path):
    plot_history(tmp_path / "a.png", epochs(5, 3))
    for panel in drawn[0].axes:
        assert not panel.get_legend().get_window_extent().overlaps(panel.get_window_extent().padded(-1))


# ---- a fitted curve


def fitted(mixed=(), second=False):
    """A fit of y = 2·x, or 2·x·z, by hand."""
    entries = [SimpleNamespace(name=name, shape=("N",), dtype="float64", classes=None) for name in ("x", "z", "y")]

    def predict(parameters, x, z=None):
        return parameters[0] * x * (1 if z is None else z)

    def predict_of_two(parameters, x, z):
        return predict(parameters, x, z)

    def predict_of_one(parameters, x):
        return predict(parameters, x)

    def residuals(parameters, y, **inputs):
        return predict(parameters, **inputs) - y

    x = np.array([3.0, 1.0, 2.0, 2.5])
    inputs = {"x": x, "y": 2 * x + [0.1, -0.1, 0.2, 0.0]} | ({"z": np.array([1.0, 4.0, 1.0, 2.0])} if second else {})
    module = ModuleType("fitted")
    vars(module).update(
        CONTRACT=1,
        INPUTS=[entry for entry in entries if entry.name in inputs],
        SAMPLE_AXIS="N",
        MIXED_AXES=mixed,
        predict=predict_of_two if second else predict_of_one,
        residuals=residuals,
        real=np.float64,
        jacobian_vector_product=None,
        COMPILING=SimpleNamespace(tell=None),
    )

    def band(data, level):
        value = module.predict(np.array([2.0]), *(data[name] for name in ("x", "z") if name in data))
        return value - 1, value, value + 1

    start = np.array([2.0])
    objective = SimpleNamespace(module=module, inputs=inputs, draws={}, start=start)
    return SimpleNamespace(objective=objective, parameters=start, factor=np.eye(1), band=band)


def line_named(panel, label):
    (line,) = [line for line in panel.lines if line.get_label() == label]
    return line


def test_a_curve_of_single_rows_is_drawn_between_them(drawn, tmp_path):
    curve_picture.draw_fit(tmp_path / "a.png", fitted(), None, None, 0.9)
    main, below = drawn[0].axes
    assert len(line_named(main, "fit").get_xdata()) == curve_picture.POINTS
    assert [c.get_label() for c in main.collections] == ["90 % band"]
    assert (main.get_ylabel(), below.get_ylabel(), below.get_xlabel()) == ("y", "data - fit", "x")
    residuals = below.lines[-1]
    assert list(residuals.get_xdata()) == [3, 1, 2, 2.5]
    assert list(residuals.get_ydata()) == pytest.approx([0.1, -0.1, 0.2, 0])


def test_rows_that_depend_on_one_another_are_drawn_at_the_data(drawn, tmp_path):
    curve_picture.draw_fit(tmp_path / "a.png", fitted(mixed=("N",)), None, None, 0.95)
    line = line_named(drawn[0].axes[0], "fit")
    assert list(line.get_xdata()) == [1, 2, 2.5, 3] and list(line.get_ydata()) == [2, 4, 5, 6]
    assert line.get_marker() == "o"


def test_a_second_input_of_each_row_has_points_and_bars_at_the_data(drawn, tmp_path):
    curve_picture.draw_fit(tmp_path / "a.png", fitted(second=True), "x", None, 0.95)
    main = drawn[0].axes[0]
    line = line_named(main, "fit")
    assert line.get_linestyle() == "None"
    assert list(line.get_xdata()) == [1, 2, 2.5, 3] and list(line.get_ydata()) == [8, 4, 10, 6]
    (bars,) = main.collections
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[7, 9], [3, 5], [9, 11], [5, 7]]


# ---- eigenvalues


def test_eigenvalues_by_rank_and_sign(drawn, tmp_path):
    values = np.array([100.0, 10.0, 1.0, 1e-9, -0.1])
    spectrum.Curvature("hessian", 5, values[:3], values[2:], 1e-6).plot(tmp_path / "a.png")
    (panel,) = drawn[0].axes
    shown = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.lines}
    expected = {"λ > 0": ([1, 2, 3], [100, 10, 1]), "λ < 0": ([5], [0.1]), "0 to rounding": ([4], [1e-6])}
    assert shown == expected
    assert panel.get_ylabel() == "|λ| of the Hessian" and panel.get_yscale() == "log"
    assert list(panel.get_xticks()) == [1, 2, 3, 4, 5]


def test_what_lies_between_the_largest_and_the_smallest_is_left_out(drawn, tmp_path):
    found = spectrum.Curvature("gauss_newton", 1000, np.array([3.0, 2.0]), np.array([1.5, 1.0]), 1e-9)
    found.plot(tmp_path / "a.png")
    left, right = drawn[0].axes
    assert (list(left.get_xticks()), list(right.get_xticks())) == ([1, 2], [999, 1000])
    assert left.get_yscale() == "linear" and left.get_ylabel() == "λ of the Gauss-Newton matrix"


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_eigenvalues_are_the_same_bytes(tmp_path, kind):
    found = spectrum.Curvature("hessian", 3, np.array([3.0, 2.0, 1.0]), np.zeros(0), 1e-9)
    for name in ("a", "b"):
        found.plot(tmp_path / f"{name}.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_a_scale_of_decades_is_for_positive_values_that_span_some():
    panel = figures.Figure().subplots()
    for values in ([], [1.0, 9.0], [0.0, 100.0], [-1.0, 100.0]):
        pictures.scale_by_decades(panel, values)
        assert panel.get_yscale() == "linear"
    pictures.scale_by_decades(panel, [1.0, 100 * math.pi])
    assert panel.get_yscale() == "log"
