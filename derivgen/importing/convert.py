"""From a graph to a draft of a spec: one operation after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from derivgen.errors import Problem, SpecError
from derivgen.importing.attention import take_in_attention
from derivgen.importing.draft import DYNAMIC, LONGEST, Constant, Draft, LayerStatement, LetStatement, Operand
from derivgen.importing.elements import Read, Tensor, Value, is_condition
from derivgen.importing.graph import Graph, Node, Refusal, evaluated
from derivgen.importing.names import identifier, is_given
from derivgen.importing.operators import OPERATORS
from derivgen.importing.operators.sizes import TABLE as SIZES
from derivgen.importing.operators.sizes import tidy
from derivgen.importing.operators.views import TABLE as VIEWS
from derivgen.importing.refusals import ADVICE, OTHERWISE, refused_uses
from derivgen.importing.tidy import leave_out_unread, take_in_activations, take_in_norms, take_in_sums

RUN_TIME = ("N", "T", "U", "L", "M", "P", "Q", "R")  # names of sizes
# What leaves a weight the weight that it was.
SAME_WEIGHT = {"Cast", "Concat", "Expand", "Gather", "Identity"}
SAME_WEIGHT |= {"Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}


def converted(graph: Graph, frozen: Iterable[str] = ()) -> tuple[Draft, Tensor]:
    """(the draft, the tensor that is predicted). Raises SpecError with all that is not covered.

    The first axis of the inputs is the batch, also in a file that has a number there; where its operations need that
    number, the batch keeps it.
    """
    rows = rows_of(graph)
    try:
        return drafted(graph, frozen, rows)
    except SpecError as error:
        if rows:
            with suppress(SpecError):
                draft, prediction = drafted(graph, frozen, 0)
                draft.notes.append(f"Its batch has {rows} rows, as in the file: {DYNAMIC}.")
                return draft, prediction
        raise error


def rows_of(graph: Graph) -> int:
    """The number that all inputs have as their first axis, or 0."""
    first = {given.shape[0] if given.shape else "" for given in graph.inputs}
    rows = first.pop() if len(first) == 1 else 0
    return rows if isinstance(rows, int) else 0


def drafted(graph: Graph, frozen: Iterable[str], rows: int) -> tuple[Draft, Tensor]:
    """The draft; `rows`: of a file that has a number for the batch, otherwise 0."""
    draft, problems = Draft(graph, frozen), uncovered(graph)
    draft.rows_of_file = rows
    values = all_values(draft, problems)
    raise_if_any(problems)
    prediction = predicted(draft, values[graph.outputs[0]])
    raise_if_any(refused_shape(prediction))
    made_tidy(draft, prediction)
    return draft, prediction


def all_values(draft: Draft, problems: list[str]) -> dict[str, Operand]:
    """What the graph computes, by name; what can't be computed is added to the problems."""
    values = starting_values(draft)
    for node in draft.graph.nodes:
        try:
            values |= results(draft, node, values)
        except Refusal as error:
            problems.append(f"{described(node)}: {error}")
    return values


def raise_if_any(problems: list[str]) -> None:
    if problems:
        raise SpecError([Problem(None, text) for text in dict.fromkeys(problems)])


def made_tidy(draft: Draft, prediction: Tensor) -> None:
    """Layers where a person would write them, and no statement that nobody reads."""
    leave_out_unread(draft, prediction)
    take_in_norms(draft)
    leave_out_unread(draft, prediction)
    take_in_activations(draft)
    take_in_attention(draft)
    take_in_sums(draft)
    note_shared(draft)


def refused_shape(prediction: Tensor) -> list[str]:
    if prediction.shape and all(size.is_Integer or size.is_Symbol for size in prediction.shape):
        return []
    why = "and a target needs sizes of inputs or numbers: pad, or cut it"
    return [f"the output has the shape {prediction.shape}, {why}"]


def uncovered(graph: Graph) -> list[str]:
    """What no table covers: whole operators, and uses of them."""
    problems = []
    for node in graph.nodes:
        if node.operator not in OPERATORS and node.operator not in SIZES and not folds(graph, node):
            problems.append(f"{described(node)} is not covered: {ADVICE.get(node.operator, OTHERWISE)}")
        problems += [f"{described(node)}: {text}" for text in refused_uses(node, graph.uses)]
    if len(graph.outputs) > 1:
        problems.append(f"the graph has the outputs {', '.join(graph.outputs)}, and a model predicts one: export one")
    return problems


def folds(graph: Graph, node: Node) -> bool:
    """Whether an operation is one of sizes or of constants alone, which is computed here."""
    if node.operator in ("Constant", "Shape", "Size"):
        return True
    made = {name: other for other in graph.nodes for name in other.outputs}
    return all(
        not name or name in graph.constants or (name in made and folds(graph, made[name])) for name in node.inputs
    )


def described(node: Node) -> str:
    return f"{node.operator} ({node.name})"


def starting_values(draft: Draft) -> dict[str, Operand]:
    """The constants and the inputs."""
    values: dict[str, Operand] = {name: Constant(array, name) for name, array in draft.graph.constants.items()}
    for given in draft.graph.inputs:
        sizes = list(given.shape)
        if draft.rows_of_file:
            sizes[0] = "the batch"
        values[given.name] = draft.input(given, [run_time(draft, size) for size in sizes])
    return values


def run_time(draft: Draft, name: int | str) -> sp.Expr:
    """A size, as a symbol where it has a name."""
    if isinstance(name, int):
        return sp.Integer(name)
    if name not in draft.runtime:
        count = len(draft.runtime)
        symbol = RUN_TIME[count] if count < len(RUN_TIME) else f"S{count}"
        draft.runtime[name] = sp.Symbol(symbol, integer=True, positive=True)
    return draft.runtime[name]


def results(draft: Draft, node: Node, values: dict[str, Operand]) -> dict[str, Operand]:
    """The outputs of a node, by name; none where an operand is missing, because of a problem before."""
    if any(name and name not in values for name in node.inputs):
        return {}
    operands = [values[name] if name else None for name in node.inputs]
    if node.operator in ("Shape", "Size"):
        return {node.outputs[0]: shape_of(draft, node, operands[0])}
    if all(x is None or isinstance(x, Constant) for x in operands) and (found := folded(draft, node, operands)):
        return dict(zip(node.outputs, found, strict=False))
    if node.operator not in OPERATORS:
        if node.operator in SIZES:
            raise Refusal(f"it is covered for sizes alone: {OTHERWISE}")
        return {}
    try:
        found = OPERATORS[node.operator](draft, node, *operands)
    except (TypeError, AttributeError, AssertionError, ValueError, LookupError) as error:
        raise Refusal(f"it has operands that are not covered: {OTHERWISE}") from error
    made = found if isinstance(found, tuple) else (found,)
    return {name: settled(draft, node, name, v, operands) for name, v in zip(node.outputs, made, strict=False) if name}


def shape_of(draft: Draft, node: Node, x: Operand) -> Constant:
    sizes = x.array.shape if isinstance(x, Constant) else draft.shape(x)  # type: ignore[arg-type]
    start, end = node.get("start", 0), node.get("end")
    if node.operator == "Size":
        return Constant(tidy(np.array(sp.Mul(*sizes), object)))
    return Constant(tidy(np.array([*sizes][start:end], object)))


def folded(draft: Draft, node: Node, operands: list[Any]) -> list[Constant] | None:
    """What an operation on constants gives; None where it needs the sizes of a run, or is no operation of these."""
    arrays = [x.array if x else None for x in operands]
    name = next((x.name for x in operands if x and x.name), "") if node.operator in SAME_WEIGHT else ""
    if node.operator == "Identity" and is_given(node.outputs[0]):
        name = node.outputs[0]
    if any(map(is_symbolic, arrays)):
        if node.operator not in SIZES or (node.operator == "Expand" and not is_symbolic(arrays[0])):
            return None
        return [Constant(tidy(SIZES[node.operator](node, *arrays)))]
    if node.operator == "Dropout":
        return [operands[0]]
    return [Constant(np.asarray(array), name) for array in evaluated(node, arrays, draft.graph.opset)]


def is_symbolic(array: np.ndarray | None) -> bool:
    """Whether sizes that are known at run time are among the numbers."""
    return array is not None and array.dtype == object


def settled(draft: Draft, node: Node, name: str, value: Any, operands: Sequence[Operand]) -> Any:
    """A value with its name; one that is read more than once, or that has become long, gets a let."""
    if not isinstance(value, Value):
        return value  # a constant, or a list of values
    uses, parts = draft.graph.uses[name], sum(1 for _ in value.element.walk())
    tensors = [x for x in operands if isinstance(x, Value) and not isinstance(x.element, Read)]
    scaling = node.operator in ("Mul", "Div", "Where") and sum(isinstance(x, Value) for x in operands) == 1
    before = tensors[0].name if tensors and (node.operator in VIEWS or scaling) else ""
    called = before or value.name or draft.called(node, word(node, value))
    value = draft.merged(value) if isinstance(value.element, Read) else value
    value = replace(value, name=called, alone=value.alone and uses == 1)
    needs = parts > 1 and (uses > 1 or parts > LONGEST) and not is_condition(value.element)
    return draft.named(value) if needs else value


WORDS = {
    "Abs": "magnitude",
    "Add": "added",
    "Cos": "cosine",
    "Div": "quotient",
    "Exp": "exponential",
    "Log": "logarithm",
    "MatMul": "product",
    "Max": "maximum",
    "Min": "minimum",
    "Mul": "product",
    "Pow": "power",
    "ReduceL2": "norm",
    "ReduceMax": "maximum",
    "ReduceMin": "minimum",
    "ReduceSum": "total",
    "Sin": "sine",
    "Sqrt": "root",
    "Sub": "difference",
    "Tan": "tangent",
    "Where": "masked",
}


def word(node: Node, value: Value) -> str:
    """What a formula is called after: its activation, or its operation."""
    form = getattr(value.element, "form", "")
    if form.startswith("activations."):
        return str(form[12 : form.index("(")])
    return WORDS.get(node.operator) or identifier(node.operator.removeprefix("Reduce")).lower()


def predicted(draft: Draft, output: Operand) -> Tensor:
    """The tensor of the graph's output, a let of the graph's axes."""
    if not isinstance(output, Value):
        what = "a constant" if isinstance(output, Constant) else "a list of tensors"
        raise SpecError([Problem(None, f"the output is {what}, and a model predicts one tensor: export that")])
    value = draft.value(output)
    tensor = draft.tensor(value)
    if isinstance(tensor.statement, LayerStatement | LetStatement):
        return tensor
    return draft.let("output", value.axes, value.element, whole=True)


def note_shared(draft: Draft) -> None:
    """Say which weights are one tensor in the graph, and several here."""
    for name, count in draft.shared.items():
        if count > 1:
            draft.notes.append(f"{name} is one tensor of {count} layers in the file; here each layer trains a copy.")


def weights_of(draft: Draft) -> dict[str, np.ndarray]:
    """The values of all parameters, by their names in the spec."""
    found: dict[str, np.ndarray] = {}
    for statement in draft.statements:
        name = statement.tensor.name
        if isinstance(statement, LayerStatement):
            found |= {f"{name}{ending}": array for ending, array in statement.weights.items()}
        elif hasattr(statement, "array"):
            found[name] = statement.array
    return found
