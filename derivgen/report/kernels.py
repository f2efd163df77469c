"""The kernels of a module for its readers: each line with its cause, and what is known of each kernel."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from derivgen.code.common_kernels import for_its_kernel
from derivgen.code.cost import function_cost
from derivgen.print.elementary import BOUNDS, DTYPES, NUMPY
from derivgen.print.naming import KERNELS
from derivgen.report.causes import HOLDS, TARGET, Line, formulas_of, lines_of
from derivgen.report.evidence import docstring_verdicts
from derivgen.report.material import Material
from derivgen.schedule.cost import REAL_BYTES, Cost

NOT_VERIFIED = "not verified"
BY_NUMPY = "NumPy's, no bound stated"
ROUNDED = {"np.sqrt": "correctly rounded", "abs": "exact", "np.floor": "exact", "np.ceil": "exact"}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of a module. `labels`: a name for each formula of its docstring; `users`: what it is called for."""

    name: str
    lines: tuple[Line, ...]
    labels: tuple[str, ...]
    users: tuple[str, ...] = ()
    verdict: str = NOT_VERIFIED
    bounds: tuple[tuple[str, str], ...] = ()
    cost: str = ""

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def unexplained(self) -> int:
        """The lines without a cause."""
        return sum(not line.has_cause for line in self.lines)

    @property
    def missed(self) -> tuple[int, ...]:
        """The formulas for which no line of their own was found."""
        found = {i for line in self.lines if line.kind in ("computes", "clears", "part") for i in line.formulas}
        found |= {i for line in self.lines if HOLDS.search(line.text) for i in line.formulas}
        return tuple(i for i in range(len(self.labels)) if i not in found)


def kernels_in(text: str) -> dict[str, Kernel]:
    """The kernels of a module's text, by name, with the causes of their lines."""
    lines, found = text.splitlines(), dict[str, Kernel]()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and any(getattr(d, "id", "") in KERNELS for d in node.decorator_list):
            found[node.name] = Kernel(node.name, tuple(lines_of(node, lines)), labels(formulas_of(node)))
    return found


def kernels_of(material: Material) -> dict[str, Kernel]:
    """The kernels of a state's module, with what is known of each."""
    text, dtype = material.state.text, material.state.dtype
    verdicts, found = docstring_verdicts(text), kernels_in(text)
    users: dict[str, dict[str, None]] = {}
    costs = dict[str, Cost]()
    for code in map(for_its_kernel, material.codes.values()):
        costs.setdefault(code.name, function_cost(code, REAL_BYTES[dtype]))
    for _, kernel in sorted(material.plan.all_kernels, key=lambda item: material.position(item[1].layer)):
        users.setdefault(material.function(kernel), {})[f"{kernel.layer}, {kernel.direction}"] = None
    return {
        name: Kernel(
            name,
            kernel.lines,
            kernel.labels,
            tuple(users.get(name, ())),
            verdicts.get(name, NOT_VERIFIED),
            tuple(bounds_in(kernel.text, dtype)),
            cost_words(costs[name]) if name in costs else "",
        )
        for name, kernel in found.items()
    }


def cost_words(cost: Cost) -> str:
    return f"{cost.flops} operations, {cost.calls} calls, {cost.moved} bytes moved"


def labels(formulas: Sequence[str]) -> tuple[str, ...]:
    """What each formula defines; from the second of one name on, with a number."""
    counts, found = Counter[str](), []
    for formula in formulas:
        match = TARGET.match(formula) or HOLDS.match(formula)
        name = match[1] if match else "formula"
        counts[name] += 1
        found.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return tuple(found)


def bounds_in(text: str, dtype: str) -> list[tuple[str, str]]:
    """The functions that a kernel calls, each with how far it is off at most."""
    called = dict.fromkeys(ast.unparse(n.func) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call))
    stated = {name: f"{bound[DTYPES.index(dtype)]:g} ulp" for name, bound in BOUNDS.items()}
    numpy = dict.fromkeys(NUMPY.values(), BY_NUMPY) | ROUNDED
    known: Mapping[str, str] = numpy | stated
    return [(name, known[name]) for name in called if name in known]
