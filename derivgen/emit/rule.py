"""The update rule → one fused loop over the flat vector."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derivgen.emit.elementary import local_name
from derivgen.emit.layout import bracketed, indented
from derivgen.emit.products import FACTORS
from derivgen.emit.scalar import ScalarText
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


def update_kernel(rule: UpdateRule, in_parts: bool, parallel: bool = False) -> RuleText:
    """The kernel of a rule: what depends on the step only is computed before the loop; `in_parts`: over a range.

    `parallel`: the loop runs in threads, where it is over all parameters.
    """
    parallel = parallel and not in_parts
    # What a loop in threads writes to the arrays of a tuple is lost (numba 0.68): a function takes them one by one.
    arrays = {str(slot): local_name(str(slot)) if parallel else f"state.{slot}" for slot, _ in rule.slots}
    slots = {slot: f"{array}[i]" for slot, array in arrays.items()}
    places = {"theta": "parameters[i]", "g": "gradient[i]", **slots}
    order = term_order(rule)

    def access(read: Read) -> str:
        return places.get(read.tensor, local_name(read.tensor))

    once = ScalarText(order, access, str, general_power="np.power")  # not worth a function of the module
    text = ScalarText(order, access, str)
    fixed, assignments = hoisted(rule)
    before = [f"{name.tensor} = {once.real(node)}" for node, name in fixed.items()]
    loop = [line(str(target), text, e, places) for target, e in assignments]
    uses_step = any(t in e.free_symbols for _, e in rule.assignments)
    step = ["t = real(state.step[0])"] if uses_step else []
    names = [local_name(name) for name, _ in rule.hyperparameters]
    formula = rule_formula(rule)
    doc, over = f'"""{formula}"""', "parameters.shape[0]"
    if in_parts:
        arguments = ["parameters", "gradient", "state", "start", "stop", *names]
        body = [
            f'"""{formula}, from start to before stop"""',
            *step,
            *before,
            "for i in range(start, stop):",
            *indented(loop),
        ]
        functions = ["\n".join(["@internal", *bracketed("def update_range(", arguments, "):"), *indented(body)])]
        rest = bracketed("update_range(", ["parameters", "gradient", "state", "0", over, *names], ")", depth=1)
    elif parallel:
        once_a_step = [*(["t"] if uses_step else []), *names]
        functions = [in_threads([*arrays.values(), *once_a_step], [doc, *before], over, loop)]
        passed = ["parameters", "gradient", *(f"state.{slot}" for slot in arrays), *once_a_step]
        rest = [*step, *bracketed("update_in_threads(", passed, ")", depth=1)]
    else:
        functions, rest = [], [*step, *before, f"for i in range({over}):", *indented(loop)]
    signature = bracketed("def update_kernel(", ["parameters", "gradient", "state", *names], "):")
    functions.append("\n".join(["@kernel", *signature, *indented([doc, "state.step[0] += 1", *rest])]))
    scales = factors_of(rule) if in_parts else None
    read = {x: Read(x.name) for e in scales or () for x in e.free_symbols}
    factors = [f"{FACTORS}[{k}] = {once.real(substitute(e, read))}" for k, e in enumerate(scales or ())]
    steps = ["t = real(state.step[0])"] if any(t in e.free_symbols for e in scales or ()) else []
    used = frozenset(once.used | text.used)
    return RuleText(tuple(functions), formula, used, (*steps, *factors))


def in_threads(arguments: list[str], start: list[str], over: str, loop: list[str]) -> str:
    """The function whose loop over all parameters runs in threads."""
    signature = bracketed("def update_in_threads(", ["parameters", "gradient", *arguments], "):")
    return "\n".join(
        ["@parallel_kernel", *signature, *indented([*start, f"for i in prange({over}):", *indented(loop)])]
    )


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


def line(target: str, text: ScalarText, expression: sp.Expr, places: dict[str, str]) -> str:
    """target = expression, or target += its change."""
    own = Read(target)
    if isinstance(expression, sp.Add) and own in expression.args:
        change = expression - own
        if not any(n == own for n in subexpressions(change)):
            sign, change = ("-=", -change) if change.could_extract_minus_sign() else ("+=", change)
            return f"{places[target]} {sign} {text.real(change)}"
    return f"{places[target]} = {text.real(expression)}"


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
