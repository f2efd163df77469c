"""The random specs mix what they are to mix: else a change of the strategy could leave a feature out unseen."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from random_specs import AWKWARD_NAMES, FUNCTIONS, Spec, for_each_spec

TEXTS = 300

# feature → the least share of the specs that have it
SHARES = {
    "dense: a sum over a product of two reads": 0.3,
    "dense: a product of three reads": 0.05,
    "elementwise: a function of a let": 0.1,
    "reduction: Sum": 0.5,
    "reduction: Sum over several indices": 0.2,
    "reduction: MaxOver": 0.05,
    "reduction: limits narrower than the range": 0.1,
    "reduction: limits that depend on an outer index": 0.05,
    "read: affine, of two indices": 0.1,
    "read: strided": 0.1,
    "read: reversed": 0.05,
    "read: at a number": 0.1,
    "read: along a diagonal": 0.05,
    "read: through labels": 0.1,
    "read: through a constant": 0.05,
    "read: through labels that may be ignored": 0.015,
    "guard: of a read": 0.2,
    "guard: of a product": 0.1,
    "guard: around a sum": 0.03,
    "nested: a sum inside a function inside a sum": 0.05,
    "nested: three sums deep": 0.02,
    "branch: on an index": 0.2,
    "branch: on data": 0.05,
    "branch: on an integer tensor": 0.01,
    "branch: And, Or, Not": 0.03,
    "branch: a value that is neither 0 nor 1 elsewhere": 0.05,
    "softmax": 0.1,
    "logarithm of a sum of exponentials": 0.02,
    "integer power with an index or size as exponent": 0.05,
    "an index as a number": 0.2,
    "KroneckerDelta": 0.02,
    "stop_gradient": 0.02,
    "a let that two others read": 0.1,
    "an index that hides another": 0.005,
    "a let of no axes": 0.05,
    "a parameter of no axes": 0.05,
    "no data": 0.05,
    "two sizes known at run time": 0.1,
    "an axis of one element": 0.1,
    "an awkward name": 0.02,
    "an objective that is a let": 0.02,
    "a prediction": 0.3,
}


def test_strategy_mixes_every_feature() -> None:
    seen: Counter[str] = Counter()

    def count(spec: Spec) -> None:
        seen.update(features(spec))

    for_each_spec(count, TEXTS, start=300)
    rare = {name: seen[name] / TEXTS for name, share in SHARES.items() if seen[name] < share * TEXTS}
    assert not rare, "\n".join(f"{name}: {share}" for name, share in rare.items())
    assert not {*seen} - {*SHARES} - {row.text for row in FUNCTIONS}
    # Most rows of the table of functions are drawn; a spec holds a few of them.
    assert sum(seen[row.text] > 0 for row in FUNCTIONS) >= 0.9 * len(FUNCTIONS)


def features(spec: Spec) -> set[str]:
    """The names of the features that a spec's text has."""
    tree = ast.parse(spec.text)
    reads = Counter(
        name for let in calls(tree, "let") for name in {n.id for n in ast.walk(let.args[2]) if isinstance(n, ast.Name)}
    )
    lets = {let.args[0].value: let for let in calls(tree, "let")}
    labels = {"y"} if "ignore=" in spec.text else set()
    found = {feature for node in ast.walk(tree) for feature in features_of(node, {*lets}, labels)}
    facts = {
        "a let that two others read": any(reads[name] > 1 for name in lets),
        "a let of no axes": any(not let.args[1].elts for let in lets.values()),
        "a parameter of no axes": any(len(p.args) == 1 for p in calls(tree, "parameter")),
        "no data": not spec.runtime,
        "two sizes known at run time": len(spec.runtime) == 2,
        "an axis of one element": bool(re.search(r"model.sizes\(.*=1\b", spec.text))
        or 1 in dict(spec.runtime).values(),
        "an awkward name": bool(lets.keys() & {*AWKWARD_NAMES}),
        "an objective that is a let": "model.minimize(total)" in spec.text,
        "a prediction": "model.predict(" in spec.text,
    }
    rows = {row.text for row in FUNCTIONS if occurs(row.text, spec.text)}
    return found | {name for name, holds in facts.items() if holds} | rows


def features_of(node: ast.AST, lets: set[str], ignored: set[str]) -> Iterator[str]:
    """The features that show at one node of the text."""
    match node:
        case ast.Call(func=ast.Name("Sum"), args=[body, *limits]):
            yield from features_of_sum(body, limits)
        case ast.Call(func=ast.Name("MaxOver")):
            yield "reduction: MaxOver"
        case ast.Call(func=ast.Name("stop_gradient" | "KroneckerDelta" as name)):
            yield name
        case ast.Call(func=ast.Name("Piecewise"), args=pairs):
            yield from features_of_branches(pairs)
        case ast.Call(
            func=ast.Name("log"), args=[ast.Call(func=ast.Name("Sum"), args=[ast.Call(func=ast.Name("exp")), *_])]
        ):
            yield "logarithm of a sum of exponentials"
        case ast.Call(func=ast.Name(), args=[ast.Subscript(value=ast.Name(name)), *_]) if name in lets:
            yield "elementwise: a function of a let"
        case ast.BinOp(op=ast.Div(), left=ast.Call(func=ast.Name("exp")), right=ast.Call(func=ast.Name("Sum"))):
            yield "softmax"
        case ast.BinOp(op=ast.Pow(), right=exponent) if any(
            isinstance(n, ast.Name) and len(n.id) < 3 for n in ast.walk(exponent)
        ):
            yield "integer power with an index or size as exponent"
        case ast.BinOp(op=ast.Mult(), right=ast.Name(name)) if name.islower() and name not in ("b", "g", *lets):
            yield "an index as a number"
        case ast.Subscript(value=ast.Name(), slice=subscript):
            yield from features_of_read(subscript, ignored)


def features_of_sum(body: ast.expr, limits: list[ast.expr]) -> Iterator[str]:
    yield "reduction: Sum"
    if len(limits) > 1:
        yield "reduction: Sum over several indices"
    indices = {names(limit)[0] for limit in limits}
    for limit in limits:
        if isinstance(limit, ast.Tuple):
            yield "reduction: limits narrower than the range"
            if any(name.islower() for bound in limit.elts[1:] for name in names(bound)):
                yield "reduction: limits that depend on an outer index"
    factors = [n for n in ast.walk(body) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mult)]
    for product in factors:
        if isinstance(product.right, ast.Subscript) and isinstance(product.left, ast.Subscript):
            yield "dense: a sum over a product of two reads"
        if isinstance(product.right, ast.Subscript) and isinstance(product.left, ast.BinOp) and product.left in factors:
            yield "dense: a product of three reads"
    inner = [n for n in ast.walk(body) if is_call(n, "Sum")]
    if any(is_call(n, *ELEMENTARY) and any(is_call(m, "Sum") for m in ast.walk(n)) for n in ast.walk(body)):
        yield "nested: a sum inside a function inside a sum"
    if any(is_call(m, "Sum") for n in inner for m in ast.walk(n.args[0])):
        yield "nested: three sums deep"
    if any(indices & {names(limit)[0] for limit in n.args[1:]} for n in inner):
        yield "an index that hides another"


def features_of_branches(pairs: list[ast.expr]) -> Iterator[str]:
    for pair in pairs[:-1]:
        value, condition = pair.elts
        parts = [n for n in ast.walk(condition) if isinstance(n, ast.Compare) or is_call(n, "Eq", "Ne")]
        subscripts = [n.slice for n in ast.walk(value) if isinstance(n, ast.Subscript)]
        texts = [ast.unparse(s) for s in subscripts]
        guarded = [p for p in parts if any(f"{side}" in t for t in texts for side in compared(p) if len(side) > 3)]
        if guarded and isinstance(value, ast.Subscript):
            yield "guard: of a read"
        if guarded and isinstance(value, ast.BinOp):
            yield "guard: of a product"
        if isinstance(value, ast.Call) and any(is_call(n, "Sum") for n in ast.walk(value)):
            yield "guard: around a sum"
        if is_call(condition, "And", "Or", "Not") and not guarded:
            yield "branch: And, Or, Not"
        for part in parts:
            tensors = [n.value.id for n in ast.walk(part) if isinstance(n, ast.Subscript)]
            if not tensors and any(name.islower() for name in names(part)):
                yield "branch: on an index"
            if any(name in INTEGERS for name in tensors):
                yield "branch: on an integer tensor"
            if any(name not in INTEGERS for name in tensors):
                yield "branch: on data"
    if not isinstance(pairs[-1].elts[0], ast.Constant):
        yield "branch: a value that is neither 0 nor 1 elsewhere"


def features_of_read(subscript: ast.expr, ignored: set[str]) -> Iterator[str]:
    subscripts = subscript.elts if isinstance(subscript, ast.Tuple) else [subscript]
    plain = [s.id for s in subscripts if isinstance(s, ast.Name)]
    if len(set(plain)) < len(plain):
        yield "read: along a diagonal"
    for s in subscripts:
        inner = [n.value.id for n in ast.walk(s) if isinstance(n, ast.Subscript)]
        indices = [name for name in names(s) if name.islower()]
        if isinstance(s, ast.Constant) or (not indices and not inner):
            yield "read: at a number"
        elif inner:
            yield "read: through labels" if "y" in inner else "read: through a constant"
            if ignored & {*inner}:
                yield "read: through labels that may be ignored"
        elif isinstance(s, ast.BinOp):
            if len(set(indices)) > 1:
                yield "read: affine, of two indices"
            if any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mult) for n in ast.walk(s)):
                yield "read: strided"
            if isinstance(s.op, ast.Sub) and isinstance(s.right, ast.Name | ast.BinOp):
                yield "read: reversed"


INTEGERS = ("y", "table")
ELEMENTARY = tuple({call for row in FUNCTIONS for call in re.findall(r"(\w+)\(", row.text)})


def is_call(node: ast.AST, *called: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in called


def names(node: ast.AST) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]


def compared(node: ast.expr) -> list[str]:
    """The two sides of a comparison."""
    sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else node.args
    return [ast.unparse(side) for side in sides]


def calls(tree: ast.Module, method: str) -> list[ast.Call]:
    """The calls of a method of the model."""
    found = (n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute))
    return [n for n in found if n.func.attr == method]


def occurs(row: str, text: str) -> bool:
    """Whether a row of the table of functions may stand in a text: its pieces do, in their order."""
    pieces = re.split(r"\{\w\}", row)
    return bool(re.search(".*?".join(map(re.escape, pieces)), text))
