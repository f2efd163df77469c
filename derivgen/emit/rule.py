"""The update rule → one fused loop over the flat vector."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derivgen.emit.elementary import local_name
from derivgen.emit.layout import STEP, WIDTH, bracketed, docstring, indented
from derivgen.emit.products import FACTORS
from derivgen.emit.scalar import ScalarText
from derivgen.emit.statements import StatementText
from derivgen.expressions import Read, subexpressions, substitute
from derivgen.notation import Plain
from derivgen.optimizers import UpdateRule, factors_of, t, theta


@dataclass(frozen=True, slots=True)
class RuleText:
    """The update's functions, its formula, and the elementary functions that it calls.

    `factors`: lines that give what a gradient and a parameter are multiplied by, where the update is their sum.
    """

    functions: tuple[str, ...]
    formula: str
    used: frozenset[str]
    factors: tuple[str, ...]


def update_kernel(rule: UpdateRule, in_parts: bool, parallel: bool = False, trained: int | None = None) -> RuleText:
    """The kernel of a rule: what depends on the step only is computed before the loop; `in_parts`: over a range.

    `parallel`: the loop runs in threads, where it is over all parameters. `trained`: how many of the flat vector those
    are, where not all.
    """
    threads = parallel and not in_parts
    stop = "parameters.shape[0]" if trained is None else str(trained)
    # What a loop in threads writes to the arrays of a tuple is lost (numba 0.68): a function takes them one by one.
    arrays = {str(slot): local_name(str(slot)) if threads else f"state.{slot}" for slot, _ in rule.slots}
    places = {"theta": "parameters[i]", "g": "gradient[i]", **{slot: f"{name}[i]" for slot, name in arrays.items()}}
    order = term_order(rule)

    def access(read: Read) -> str:
        return places.get(read.tensor, local_name(read.tensor))

    once = ScalarText(order, access, str, general_power="np.power")  # not worth a function of the module
    text = ScalarText(order, access, str)
    fixed, assignments = hoisted(rule)
    before = [f"{name.tensor} = {once.real(node)}" for node, name in fixed.items()]
    taken = {*places, *(name for name, _ in rule.hyperparameters)}
    statements = StatementText(text, lambda name: f"{name}_" if name in taken else name)
    loop = [line for target, e in assignments for line in lines_of(str(target), statements, e, places)]
    t_line = ["t = real(state.step[0])"] if any(t in e.free_symbols for _, e in rule.assignments) else []
    names = [local_name(name) for name, _ in rule.hyperparameters]
    formula = rule_formula(rule)
    functions: list[str] = []
    if in_parts:
        functions.append(
            over_a_range(names, [*docstring([f"{formula}, from start to before stop"]), *t_line, *before], loop)
        )
        passed = ["parameters", "gradient", "state", "0", stop, *names]
        rest = bracketed("update_range(", passed, ")", depth=1)
    elif threads:
        steps = ["t"] if t_line else []
        start = [*docstring([formula]), *before]
        functions.append(in_threads([*arrays.values(), *steps, *names], start, loop, stop))
        passed = ["parameters", "gradient", *(f"state.{slot}" for slot in arrays), *steps, *names]
        rest = [*t_line, *bracketed("update_in_threads(", passed, ")", depth=1)]
    else:
        rest = [*t_line, *before, f"for i in range({stop}):", *indented(loop)]
    signature = bracketed("def update_kernel(", ["parameters", "gradient", "state", *names], "):")
    body = [*docstring([formula]), "state.step[0] += 1", *rest]
    functions.append("\n".join(["@kernel", *signature, *indented(body)]))
    used = frozenset(once.used | text.used)
    return RuleText(tuple(functions), formula, used, tuple(factor_lines(rule, once) if in_parts else []))


def factor_lines(rule: UpdateRule, text: ScalarText) -> list[str]:
    """Lines that set the factors of products that are added to parameters."""
    scales = factors_of(rule)
    assert scales is not None
    symbols = {x for e in scales for x in e.free_symbols}
    read = {x: Read(x.name) for x in symbols}
    lines = [f"{FACTORS}[{k}] = {text.real(substitute(e, read))}" for k, e in enumerate(scales)]
    return ["t = real(state.step[0])", *lines] if t in symbols else lines


def over_a_range(names: list[str], start: list[str], loop: list[str]) -> str:
    """The function that updates some of the parameters."""
    signature = bracketed("def update_range(", ["parameters", "gradient", "state", "start", "stop", *names], "):")
    return "\n".join(["@internal", *signature, *indented([*start, "for i in range(start, stop):", *indented(loop)])])


def in_threads(arguments: list[str], start: list[str], loop: list[str], stop: str) -> str:
    """The function whose loop over all parameters runs in threads."""
    signature = bracketed("def update_in_threads(", ["parameters", "gradient", *arguments], "):")
    body = [*start, f"for i in prange({stop}):", *indented(loop)]
    return "\n".join(["@parallel_kernel", *signature, *indented(body)])


def hoisted(rule: UpdateRule) -> tuple[dict[sp.Expr, Read], list[tuple[sp.Symbol, sp.Expr]]]:
    """(what depends on the step only, each with its name; the assignments for every parameter in terms of them)."""
    symbols = {s: Read(s.name) for _, e in rule.assignments for s in e.free_symbols}
    assignments = [(target, substitute(e, symbols)) for target, e in rule.assignments]
    varying = {Read(name) for name in ("theta", "g", *(str(slot) for slot, _ in rule.slots))}
    fixed: dict[sp.Expr, Read] = {}
    for _, expression in assignments:
        for node in subexpressions(expression):
            if is_fixed(node, varying) and not any(node in subexpressions(done) for done in fixed):
                fixed[node] = Read(f"factor_{len(fixed) + 1}")
    return fixed, [(target, substitute(e, fixed)) for target, e in assignments]


def is_fixed(node: sp.Basic, varying: set[Read]) -> bool:
    """Whether a compound part is the same for every parameter."""
    compound = isinstance(node, sp.Expr) and bool(node.args) and not isinstance(node, Read) and not node.is_number
    signed = isinstance(node, sp.Expr) and isinstance(-node, Read)  # costs nothing in the loop
    return compound and not signed and not any(v in subexpressions(node) for v in varying)


def lines_of(target: str, statements: StatementText, expression: sp.Expr, places: dict[str, str]) -> list[str]:
    """target = expression, or target += its change, inside a kernel's loop."""
    own, room = Read(target), WIDTH - 2 * len(STEP)
    if isinstance(expression, sp.Add) and own in expression.args:
        change = expression - own
        if not any(n == own for n in subexpressions(change)):
            sign, change = ("-=", -change) if change.could_extract_minus_sign() else ("+=", change)
            return statements.line(places[target], sign, change, room)
    return statements.line(places[target], "=", expression, room)


def term_order(rule: UpdateRule) -> dict[str, int]:
    """Hyperparameters before slots before θ and g, in sums and products."""
    names = [
        *(name for name, _ in rule.hyperparameters),
        *(str(slot) for slot, _ in rule.slots),
        "theta",
        "θ",
        "g",
        "t",
    ]
    return {name: position for position, name in enumerate(names)}


def rule_formula(rule: UpdateRule) -> str:
    plain = Plain(term_order(rule))
    names = {
        s: Read("θ" if s == theta else s.name) for target, e in rule.assignments for s in (target, *e.free_symbols)
    }
    return ", ".join(
        f"{plain.expression(names[target])} = {plain.expression(substitute(e, names))}"
        for target, e in rule.assignments
    )
