"""Costs by hand, by running the text over numbers that count, and by walking the loops over numbered elements."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from click.testing import CliRunner
from counting import CountingModule
from example_files import EXAMPLES, NAMES
from generated import execute, module_text
from random_specs import IMPORTS, Spec, for_each_spec, many
from sampled import some

from derivgen import Model, layers, optimizers, pipeline
from derivgen.command.main import main
from derivgen.form.expressions import Read, size_symbol
from derivgen.form.places import names_in_order
from derivgen.form.program import Role, Statement
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program, module_codes, plan_module
from derivgen.plan.cost_report import Report, cost_report, with_sizes
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.plan import Plan
from derivgen.project.spec import load_target
from derivgen.schedule.cost import Cost
from derivgen.schedule.nests import Compute, Fill, Loop, Node
from derivgen.schedule.schedule import Kernel

# They take minutes, element by element; what counts has no running tensors. soft_decision_tree is the forest's one
# tree.
LARGE = {
    "characters_gpt",
    "characters_lstm",
    "characters_transformer",
    "digits_convolutional",
    "soft_forest",
    "wavenet",
}
COUNTED = [name for name in NAMES if name not in LARGE]
# Those of which a count is a bound: a branch counts as its costliest, a table as read whole where it has few rows, and
# a root in a divisor as taken in each step of a loop before which it is taken.
BOUNDED = {
    "denoising",
    "family_trees",
    "matrix_factorization",
    "option_greeks",
    "pendulum",
    "pharmacokinetics",
    "robot_arm",
    "soft_decision_tree",
    "support_vector_machine",
}
N = size_symbol("N")


def plan_of(model: Model, dtype: str = "float64") -> ModulePlan:
    return plan_module(model, declared_program(model), dtype)


def report_of(plan: ModulePlan) -> Report:
    return cost_report(plan, module_codes(plan))


def example(name: str) -> Model:
    return load_target(str(EXAMPLES / name / f"{name}.py")).model


@cache
def planned(name: str, dtype: str) -> tuple[ModulePlan, str, Report]:
    """An example's plan, the text of its module, and what it costs."""
    plan = plan_of(example(name), dtype)
    codes = module_codes(plan)
    report = cost_report(plan, codes)
    return plan, pipeline.module_text(declared_program(example(name)), plan, codes, report.block), report


def row(report: Report, name: str, part: str) -> Cost:
    """Of a layer, or of the totals, which a layer's name can't hide."""
    rows = report.totals if name == "total" else report.layers
    return next(r.cost for r in rows if (r.name, r.part) == (name, part))


def of_a_gradient(plan: ModulePlan, report: Report) -> Cost:
    """What values and adjoints cost, computed together or one after the other."""
    if plan.objective is not None:
        return row(report, "total", "gradient")
    return row(report, "total", "forward") + row(report, "total", "backward")


# ---- by hand


@pytest.fixture(scope="module")
def digits() -> Report:
    return report_of(plan_of(example("digits"), "float32"))


D, H, C = 64, 32, 10


@pytest.mark.parametrize(
    ("layer", "part", "flops", "calls"),
    [
        ("a1", "forward", 2 * N * D * H + N * H, N * H),  # the product, the bias, tanh
        ("z2", "forward", 2 * N * H * C + N * C, 0),
        # Maximum, difference, sum of exponentials; log of it, less the label's difference, onto the block's sum; that
        # onto the loss; over N.
        ("loss", "forward", 3 * N * C + 3 * N + 2, N * C + N),
        ("loss", "backward", 2 * N + N * C + 2 * N, 0),  # 1/(N·p_sum), times p_exp, less 1/N at the label
        ("z2", "backward", N * C + 2 * (2 * N * H * C), 0),  # bias; weights, and what goes on
        ("a1", "backward", 3 * N * H + N * H + 2 * N * D * H, 0),  # a1_bar·(1 - a1²), bias, weights
    ],
)
def test_operations_of_digits(digits: Report, layer: str, part: str, flops: sp.Expr, calls: sp.Expr) -> None:
    found = row(digits, layer, part)
    assert (found.flops, found.calls) == (sp.expand(flops), sp.expand(calls))


def test_bytes_of_digits(digits: Report) -> None:
    product, activation = N * D + D * H + N * H, N * H + H + N * H
    assert row(digits, "a1", "forward").moved == sp.expand(4 * (product + activation))
    labels, logits, loss = 8 * N, 4 * N * C, 4
    # z2 is read and p_max written; z2 and p_max are read, p_exp and p_sum written; of each row the label, its logit,
    # the sum and the maximum are read.
    three_loops = (logits + 4 * N) + (2 * logits + 2 * 4 * N) + (labels + 3 * 4 * N)
    assert row(digits, "loss", "forward").moved == sp.expand(three_loops + loss)
    # The bias gradient is set to 0, then read and written; a1 and a1_bar are read, a1_sum_bar is written.
    sweep = H + (2 * H + 3 * N * H)
    assert row(digits, "a1", "backward").moved == sp.expand(4 * (sweep + N * D + N * H + D * H))


def test_totals_of_digits(digits: Report) -> None:
    parameters = D * H + H + H * C + C
    assert row(digits, "total", "update") == Cost(2 * parameters, 0, 3 * 4 * parameters)
    for part in ("flops", "calls", "moved"):
        parts = {name: getattr(row(digits, "total", name), part) for name in ("forward", "backward", "update")}
        assert sp.expand(sum(parts.values()) - getattr(digits.step, part)) == 0
        for direction in ("forward", "backward"):
            rows = [getattr(r.cost, part) for r in digits.layers if r.part == direction]
            assert sp.expand(sum(rows) - parts[direction]) == 0
    assert [r.kernels for r in digits.totals] == [3, 3, 1, 7]


def network(depth: int, width: int) -> Model:
    model = Model("network")
    rows = model.batch("N")
    units = model.sizes(D=width)
    n, d = model.indices(n=rows, d=units)
    a = model.input("x", rows, units)
    for k in range(depth):
        a = layers.dense(a, units, sp.tanh, name=f"a{k}")
    model.predict(a)
    model.minimize(sp.Sum(a[n, d] ** 2, n, d) / rows)
    return model


@pytest.mark.parametrize("depth", [1, 4, 9])
def test_backward_costs_twice_the_forward(depth: int) -> None:
    """Of products: two for each layer, but no gradient of the data; the leading term in the width."""
    width = 50
    report = report_of(plan_of(network(depth, width)))
    product = 2 * N * width**2
    forward, backward = (row(report, "total", part).flops for part in ("forward", "backward"))
    assert 0 <= (forward - depth * product).coeff(N) <= 10 * depth * width
    assert 0 <= (backward - (2 * depth - 1) * product).coeff(N) <= 10 * depth * width


# ---- by counting while the module runs


@names_in_order()
def assert_counts_as_text(
    model: Model, sizes: Mapping[str, int], values: Mapping[str, np.ndarray], bounded: bool = False
) -> None:
    plan = plan_of(model)
    report = with_sizes(report_of(plan), sizes)
    module = CountingModule(module_text(model), plan.program, values, sizes)
    forward, step, update = module.forward(), module.step(), module.update()
    counted = {"forward": forward, "update": update}
    if plan.objective is not None:  # values and adjoints together
        counted["gradient"] = step
    else:
        counted["backward"] = tuple(b - f for b, f in zip(step, forward, strict=True))
    for part, count in counted.items():
        cost = row(report, "total", part)
        if bounded:
            assert (count[0] <= cost.flops, count[1] <= cost.calls) == (True, True), (part, count, cost)
        else:
            assert (cost.flops, cost.calls) == count, part


OPERATIONS = f"""{IMPORTS}
model = Model("operations")
N, D = model.batch("N"), model.sizes(D=4)
n, d, d2 = model.indices(n=N, d=D, d2=D)
x = model.input("x", N, D)
y = model.labels("y", N, classes=D)
w = model.parameter("w", D)
V = model.parameter("V", D, D)
a = model.let("a", (n, d), {{expression}})
model.minimize(Sum(a[n, d]*(d + 2), n, d)/N)
"""


@pytest.mark.parametrize(
    "expression",
    [
        "Abs(x[n, d]) - 3*w[d]/(2*exp(w[d]))",
        "x[n, d]**5*w[d]**2 + (1 + w[d])**3",
        "exp(w[d])/(1 + exp(w[d])) + exp(w[d])*sin(exp(w[d]))",
        "sqrt(1 + w[d]**2) + w[d]*n*(d + 1)",
        "Sum(V[d, d2]*x[n, d2]*w[d2], d2)",
        "MaxOver(x[n, d2] + V[d, d2], d2)",
        "Sum(x[n, d2]*V[d2, d], d2) + Sum(w[d2], d2)/7",
        "tanh(w[d])*w[y[n]]",
        "(x[n, d] - w[d])**-2 - w[d]",
    ],
)
def test_counts_as_the_text_does(expression: str) -> None:
    spec = Spec(OPERATIONS.format(expression=expression), (("N", 3),), seed=2)
    assert_counts_as_text(spec.model(), {"N": 3}, spec.values(declared_program(spec.model())))


@pytest.mark.parametrize("name", some(COUNTED))
def test_examples_count_as_their_text_does(name: str) -> None:
    model = example(name)
    declared = declared_program(model)
    sizes = tuple((size, 3) for size, value in declared.sizes if not value.is_Integer)
    assert_counts_as_text(model, dict(sizes), Spec("", sizes, seed=2).values(declared), name in BOUNDED)


def test_batched_and_added_products() -> None:
    """A product for each of N samples, two products into one gradient; one block's sum onto the loss."""
    model = Model("batched")
    rows, units = model.batch("N"), model.sizes(D=16)
    n, i, j, k = model.indices(n=rows, i=units, j=units, k=units)
    x = model.input("x", rows, units, units)
    W = model.parameter("W", units, units)
    a = model.let("a", (n, i, k), sp.Sum(x[n, i, j] * W[j, k], j))
    b = model.let("b", (n, i, k), sp.Sum(a[n, i, j] * x[n, j, k], j))
    c = model.let("c", (n, i, k), sp.Sum(b[n, i, j] * W[j, k], j))
    model.minimize(sp.Sum(c[n, i, j] ** 2, n, i, j))
    product, each = 2 * N * 16**3, N * 16**2
    report = report_of(plan_of(model))
    found = [row(report, "total", part).flops for part in ("forward", "backward")]
    assert found == [sp.expand(3 * product + 2 * each) + 1, sp.expand(4 * product + each)]
    assert_counts_as_text(model, {"N": 2}, {"x": np.ones((2, 16, 16))})


@pytest.mark.parametrize("rule", [optimizers.gradient_descent(), optimizers.momentum(), optimizers.adam()])
def test_update_rules_count_as_their_text_does(rule: optimizers.UpdateRule) -> None:
    model = network(2, 3)
    model.update(rule)
    assert_counts_as_text(model, {"N": 3}, {"x": np.ones((3, 3))})


def test_bytes_of_adam() -> None:
    """θ, m and v are read and written, g is read."""
    model = network(1, 3)
    model.update(optimizers.adam())
    assert row(report_of(plan_of(model, "float32")), "total", "update").moved == 4 * 7 * (3 * 3 + 3)


# ---- by walking the loops


class Walk:
    """The elements that a node touches, found by running its loops over numbers; guards are taken as holding."""

    def __init__(self, plan: Plan, sizes: Mapping[str, int], values: Mapping[str, np.ndarray]) -> None:
        self.program = plan.program
        self.sizes = {size_symbol(name): size for name, size in sizes.items()}
        self.held = run(self.program, values)  # for subscripts that read
        self.loaded: set[tuple[str, tuple[int, ...]]] = set()
        self.stored: set[tuple[str, tuple[int, ...]]] = set()

    def bytes_of(self, node: Node, scalars: frozenset[str]) -> int:
        self.loaded.clear()
        self.stored.clear()
        self.walk(node, dict(self.sizes))
        return sum(8 for name, _ in (*self.loaded, *self.stored) if name not in scalars)  # float64 and int64

    def __call__(self, kernel: Kernel) -> int:
        """The bytes of a kernel; a tensor that takes over the memory of another one is that one."""
        self.heirs = dict(kernel.heirs)
        return sum(self.bytes_of(node, kernel.scalars | {name for name, _ in kernel.rows}) for node in kernel.body)

    def walk(self, node: Node, at: dict[sp.Symbol, int]) -> None:
        match node:
            case Loop():
                for k in range(int(node.extent.subs(self.sizes))):
                    for inner in node.body:
                        self.walk(inner, {**at, node.index: k})
            case Fill():
                self.stored |= {(node.tensor, i) for i in np.ndindex(self.shape(node.tensor))}
            case Compute():
                for s in node.statements:
                    self.touch(s, at, accumulates=s.operator != "=" and not node.first)
            case _:
                extents = [range(int(r.extent.subs(self.sizes))) for r in node.statement.domain]
                for point in itertools.product(*extents):
                    indices = {r.index: k for r, k in zip(node.statement.domain, point, strict=True)}
                    self.touch(node.statement, {**at, **indices}, accumulates=not node.first)

    def shape(self, tensor: str) -> tuple[int, ...]:
        return tuple(int(e.subs(self.sizes)) for e in self.program.tensor(tensor).shape)

    def touch(self, s: Statement, at: dict[sp.Symbol, int], accumulates: bool) -> None:
        target = list(self.elements(s.write, at))
        for element in (*(e for read in s.reads for e in self.elements(read, at)), *(target if accumulates else [])):
            if element not in self.stored:
                self.loaded.add(element)
        self.stored.update(target)

    def elements(self, access: Read, at: dict[sp.Symbol, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The element, where it is inside its tensor."""
        place = tuple(self.value(subscript, at) for subscript in access.subscripts)
        if all(0 <= i < extent for i, extent in zip(place, self.shape(access.tensor), strict=True)):
            yield self.heirs.get(access.tensor, access.tensor), place

    def value(self, subscript: sp.Expr, at: dict[sp.Symbol, int]) -> int:
        reads = {read: self.integer_at(read, at) for read in subscript.atoms(Read)}
        return int(subscript.xreplace(reads).xreplace(at))

    def integer_at(self, read: Read, at: dict[sp.Symbol, int]) -> sp.Integer:
        place = tuple(self.value(subscript, at) for subscript in read.subscripts)
        inside = all(0 <= i < extent for i, extent in zip(place, self.shape(read.tensor), strict=True))
        return sp.Integer(int(self.held[read.tensor][place])) if inside else sp.Integer(-1)


def bytes_by_walking(plan: Plan, sizes: Mapping[str, int], values: Mapping[str, np.ndarray]) -> int:
    walk = Walk(plan, sizes, values)
    return sum(map(walk, plan.schedule.kernels))


@pytest.mark.parametrize("name", some(COUNTED))
def test_bytes_of_the_examples_by_walking_their_loops(name: str) -> None:
    plan, _, report = planned(name, "float64")
    sizes = {size: 3 for size, value in plan.program.sizes if not value.is_Integer}
    values = Spec("", tuple(sizes.items()), seed=2).values(declared_program(example(name)))
    report = with_sizes(report, sizes)
    moved = of_a_gradient(plan, report).moved
    walked = bytes_by_walking(plan, sizes, values)
    assert walked <= moved if name in BOUNDED else walked == moved


DERIVATIVES = ("hessian_vector_product", "hessian", "hessian_diagonal", "gauss_newton_vector_product")
DERIVATIVES += ("jacobian", "jacobian_vector_product", "vector_jacobian_product", "per_sample_gradients")


def with_derivatives() -> Model:
    """A network of which each function of derivatives can be asked for."""
    model = network(3, 2)
    model.second_order(*DERIVATIVES, "loss_and_input_gradients")
    return model


def calls_of(plan: ModulePlan, sizes: Mapping[str, int]) -> dict[str, Cost]:
    """What a call of each function of derivatives costs."""
    return {row.name: row.cost for row, _ in with_sizes(report_of(plan), sizes).functions}


@pytest.mark.parametrize(
    "model", [with_derivatives(), example("logistic_regression"), example("decay_curve")], ids=lambda model: model.name
)
def test_bytes_of_functions_of_derivatives_by_walking_their_loops(model: Model) -> None:
    plan = plan_of(model)
    sizes = {size: 3 for size, value in plan.program.sizes if not value.is_Integer}
    values = Spec("", tuple(sizes.items()), seed=2).values(declared_program(model))
    calls = calls_of(plan, sizes)
    assert [*calls] == list(model.requests)
    numbers, parameters = {size_symbol(name): size for name, size in sizes.items()}, plan.parameter_count
    for part in plan.parts:
        given = {t.name: values[t.name] for t in part.program.tensors if t.name in values}
        shapes = {t.name: [int(e.subs(numbers)) for e in t.shape] for t in part.program.of_role(Role.SEED)}
        seeds = {name: np.ones(shape) for name, shape in shapes.items()}
        walked, moved = bytes_by_walking(part, sizes, {**given, **seeds}), calls[part.function].moved
        # Elements that two writes of a node reach count twice: those of a Hessian's halves.
        twice = 8 * parameters * (parameters + 1) if part.function == "hessian" else 0
        assert walked <= moved <= walked + twice, part.function


def test_a_tangent_by_hand() -> None:
    """z_dot = x·w_dot for z = x·w: two products and two sums a row, of which a first sum counts too."""
    model = Model("linear")
    rows, features = model.batch("N"), model.sizes(D=2)
    n, d = model.indices(n=rows, d=features)
    x, w = model.input("x", rows, features), model.parameter("w", features)
    z = model.let("z", (n,), sp.Sum(x[n, d] * w[d], d))
    model.predict(z)
    model.minimize(sp.Sum(z[n] ** 2, n))
    model.second_order("jacobian_vector_product")
    found = calls_of(plan_of(model), {})["jacobian_vector_product"]
    assert (found.flops, found.calls, found.moved) == (4 * N, 0, 8 * (2 * N + 2 + N))


def test_elements_are_at_most_the_whole_tensor() -> None:
    """x[n + r] reaches N elements at 2·(N - 1) points; w[0] is one of 5."""
    model = Model("window")
    rows = model.batch("N")
    n, r = model.indices(n=rows, r=2)
    x, w = model.input("x", rows), model.parameter("w", 5)
    model.minimize(sp.Sum(x[n + r] * w[0], (n, 0, rows - 2), r))
    report = report_of(plan_of(model))
    assert row(report, "loss", "forward").moved == 8 * N + 8 * 1 + 8 * 1


# ---- on random specs


def test_random_specs_cost_at_most_what_is_said() -> None:
    """Where a line is so long that a part of it gets a name, the text may have an operation more than its formula."""
    seen: Counter[str] = Counter()

    def check(spec: Spec) -> None:
        model = spec.model()
        plan, text, values = plan_of(model), module_text(model), spec.values(declared_program(model))
        sizes = dict(spec.runtime)
        report = with_sizes(report_of(plan), sizes)
        passes = of_a_gradient(plan, report)
        assert bytes_by_walking(plan, sizes, values) <= passes.moved
        seen["bytes"] += 1
        if "term_1" not in text:
            flops, calls = CountingModule(text, plan.program, values, sizes).step()
            assert (flops <= passes.flops, calls <= passes.calls) == (True, True), (flops, calls, passes)
            seen["operations"] += 1

    for_each_spec(check, many(10), start=1, lets=2)
    assert seen["operations"] >= many(2)


# ---- workspace


def test_workspaces_of_functions_are_what_the_module_allocates() -> None:
    model, sizes = with_derivatives(), {"N": 3}
    module = execute(module_text(model))
    for row, workspace in with_sizes(report_of(plan_of(model)), sizes).functions:
        memory = getattr(module, f"{row.name}_memory", None)
        assert workspace == (sum(a.nbytes for a in memory(3)) if memory else 0), row.name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", some(COUNTED))
def test_workspace_is_what_the_module_allocates(name: str, dtype: str) -> None:
    plan, text, report = planned(name, dtype)
    sizes = {size: 3 for size, value in plan.program.sizes if not value.is_Integer}
    memory = execute(text).new_memory(**sizes)
    assert with_sizes(report, sizes).workspace == sum(array.nbytes for array in memory)


# ---- the command, and the header


SPEC = """
from sympy import Sum, {function}
from derivgen import Model

model = Model("{name}")
{size} = model.batch("{size}")
D = model.sizes(D=2)
n, d = model.indices(n={size}, d=D)
x = model.input("x", {size}, D)
w = model.parameter("w", D)
z = model.let("z", (n,), {function}(Sum(x[n, d]*w[d], d)))
model.minimize(Sum(z[n]**2, n)/{size})
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_spec()


def write_spec(path: str = "wave.py", size: str = "N", function: str = "sin", name: str = "wave") -> None:
    Path(path).write_text(SPEC.format(size=size, function=function, name=name))


def command(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["cost", *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output if code else result.stdout


def test_the_table() -> None:
    """z: 2 products and 2 sums a row, then a sine; the square of it and a sum; 2·z/N; cos(z_sum)·z_bar.

    loss: the block's sum onto the total, over N; backward: the product of x with what a row gives. Nanoseconds, of
    float32: 0.02 an operation of a product of matrices, 0.075 any other, 2.5 a call, 0.0375 a byte.
    """
    assert command("wave.py").splitlines() == [
        "wave, float32: at most",
        "layer  direction  kernels     flops  calls  bytes moved               ns",
        "z      forward          1       4*N      0     12*N + 8     0.53*N + 0.3",
        "z      gradient         1   5*N + 1    2*N      8*N + 4  5.675*N + 0.225",
        "loss   forward          1         1      0            8            0.375",
        "z      backward         1       4*N      0     12*N + 8     0.53*N + 0.3",
        "",
        "total  forward          2   6*N + 2      N    24*N + 12     3.63*N + 0.6",
        "total  gradient         4  13*N + 2    2*N    32*N + 28    6.735*N + 1.2",
        "total  update           1         4      0           24              1.2",
        "total  step             5  13*N + 6    2*N    32*N + 52    6.735*N + 2.4",
        "",
        "workspace: 16*N + 264 bytes",
    ]


def test_sizes_give_the_polynomials_values() -> None:
    table, numbers = command("wave.py"), command("wave.py", "--size", "N=7")
    values = re.sub(r"([\d.]+\*)?\bN\b( \+ [\d.]+)?", lambda m: f"{eval(m[0], {}, {'N': 7}):.12g}", table)
    assert [line.split() for line in numbers.splitlines()] == [line.split() for line in values.splitlines()]
    assert not re.search(r"\bN\b", numbers)


def test_a_size_that_is_left_out_stays_a_symbol() -> None:
    model = Model("grid")
    rows, columns = model.batch("N"), model.batch("M")
    n, m = model.indices(n=rows, m=columns)
    x, w = model.input("x", rows, columns), model.parameter("w")
    model.minimize(sp.Sum((x[n, m] - w) ** 2, n, m))
    report = report_of(plan_of(model))
    M = size_symbol("M")
    assert row(report, "total", "forward").flops == 3 * N * M + 1  # the sum of a block
    assert row(with_sizes(report, {"M": 5}), "total", "forward").flops == 15 * N + 1


def test_dtype_halves_the_bytes() -> None:
    single, double = (command("wave.py", "--size", "N=7", "--dtype", dtype) for dtype in ("float32", "float64"))
    moved = [
        [int(line.split()[-2]) for line in text.splitlines() if line.startswith("total")] for text in (single, double)
    ]
    assert [2 * value for value in moved[0]] == moved[1]


def test_several_models_and_one_of_them() -> None:
    texts = [SPEC.format(size=size, function="sin", name=name) for size, name in (("N", "small"), ("M", "large"))]
    Path("pair.py").write_text(texts[0] + texts[1].replace("model", "other"))
    assert [t.splitlines()[0] for t in command("pair.py").split("\n\n")[::3]] == [
        "small, float32: at most",
        "large, float32: at most",
    ]
    assert "*M" not in command("pair.py", "--size", "M=2")
    assert "its run-time sizes are N, M" in command("pair.py", "--size", "L=2", code=2)
    assert "small" not in command("pair.py:large")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "M=3"], "wave.py has no run-time size M; its run-time sizes are N"),
        (["--size", "D=3"], "wave.py has no run-time size D; its run-time sizes are N"),
        (["--size", "N=0"], "a whole number of at least 1; found 'N=0'"),
        (["--size", "N=2.5"], "found 'N=2.5'"),
        (["--size", "N"], "found 'N'"),
        (["--size", "=3"], "found '=3'"),
        (["--size", "N=" + "9" * 5000], "a whole number"),
        (["--dtype", "float16"], "float16"),
    ],
)
def test_errors(arguments: list[str], message: str) -> None:
    assert message in command("wave.py", *arguments, code=2)


def test_a_model_without_runtime_sizes_says_so() -> None:
    rosenbrock = str(EXAMPLES / "rosenbrock" / "rosenbrock.py")
    assert "all its sizes are fixed by the spec" in command(rosenbrock, "--size", "N=3", code=2)


def cost_in_header(text: str) -> str:
    return " ".join(text[: text.index("spec sha256")].split("\ncost ")[1].split())


def test_the_header_has_the_totals() -> None:
    model = load_target("wave.py").model
    line = cost_in_header(module_text(model, "float32"))
    assert line == ("a step: at most 13*N + 6 flops, 2*N calls, 32*N + 52 bytes moved; workspace: 16*N + 264 bytes")


def test_functions_of_derivatives_in_the_table_and_in_the_header() -> None:
    """z_dot = cos(x·w)·(x·w_dot): two products of matrices, each of 3·N + 2 elements, then cosine and product a row."""
    asked = SPEC + 'model.predict(z)\nmodel.second_order("jacobian_vector_product")\n'
    Path("wave.py").write_text(asked.format(size="N", function="sin", name="wave"))
    assert command("wave.py").splitlines()[-5:] == [
        "",
        "jacobian_vector_product  call             2       9*N      N    36*N + 16    4.085*N + 0.6",
        "",
        "workspace: 16*N + 264 bytes",
        "workspace of jacobian_vector_product: 4*N bytes",
    ]
    line = cost_in_header(module_text(load_target("wave.py").model, "float32"))
    assert line.endswith(
        " jacobian_vector_product: at most 9*N flops, N calls, 36*N + 16 bytes moved; workspace: 4*N bytes"
    )


def test_a_change_of_cost_shows_in_the_diff() -> None:
    invoke = CliRunner().invoke
    assert invoke(main, ["generate", "wave.py"]).exit_code == 0
    write_spec(function="tanh")  # its derivative needs no second call
    changed = [line for line in invoke(main, ["diff", "wave.py"]).stdout.splitlines() if line[1:].startswith("cost")]
    assert [line[0] for line in changed] == ["-", "+"]
    assert ["2*N calls" in changed[0], " N calls" in changed[1]] == [True, True]
    assert invoke(main, ["check", "wave.py"]).exit_code == 1
