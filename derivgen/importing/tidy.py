"""What is left to do when all operations have their lines: activations go into the layers before them."""

from __future__ import annotations

from collections import Counter

from derivgen.importing.draft import Draft, InputStatement, LayerStatement, LetStatement, Statement
from derivgen.importing.elements import Element, Formula, Read, Tensor


def take_in_activations(draft: Draft) -> None:
    """`a = dense(x, 4)` and `b = let(…, relu(a[n, k]))`, where nobody else reads a, become `b = dense(x, 4, relu)`."""
    readers: Counter[int] = Counter()
    for statement in draft.statements:
        readers.update({id(tensor) for tensor in read_by(statement)})
    for let in list(draft.statements):
        layer = activated_layer(let)
        if layer is not None and isinstance(let, LetStatement) and readers[id(layer.tensor)] == 1:
            form = str(getattr(let.element, "form", ""))
            layer.activation = form[: form.index("(")] if form.endswith("({})") else f"lambda z: {form.format('z')}"
            let.tensor.name, let.tensor.statement, layer.tensor = layer.tensor.name, layer, let.tensor
            draft.statements.remove(let)


def read_by(statement: Statement) -> list[Tensor]:
    """The tensors of which a statement speaks."""
    if isinstance(statement, LayerStatement):
        return list(statement.sources)
    if isinstance(statement, LetStatement):
        return [part.tensor for part in statement.element.walk() if isinstance(part, Read)]
    return []


def activated_layer(statement: Statement) -> LayerStatement | None:
    """The layer without an activation of which a let is all, by an activation."""
    if not isinstance(statement, LetStatement) or not isinstance(statement.element, Formula):
        return None
    read, *others = statement.element.arguments
    if others or not statement.element.form.startswith("activations.") or not isinstance(read, Read):
        return None
    layer = read.tensor.statement
    whole = tuple(axis[0] if len(axis) == 1 else None for axis in statement.axes) == read.subscripts
    if not whole or not isinstance(layer, LayerStatement) or statement.tensor.shape != read.tensor.shape:
        return None
    return layer if layer.takes_activation and not layer.activation else None


def take_in_sums(draft: Draft) -> None:
    """`let("b", (n, t), x[n, t] + a[n, t])` becomes `layers.add(x, a, name="b")`."""
    for k, statement in enumerate(draft.statements):
        if isinstance(statement, LetStatement):
            at = tuple(axis[0] if len(axis) == 1 else None for axis in statement.axes)
            terms = summands(statement.element)
            whole = all(isinstance(t, Read) and t.subscripts == at for t in terms) and len(terms) > 1
            tensors = [term.tensor for term in terms if isinstance(term, Read)]
            if whole and at and all(tensor.shape == statement.tensor.shape for tensor in tensors):
                made = LayerStatement(statement.tensor, "layers.add", tensors)
                draft.statements[k] = made.tensor.statement = made


def summands(element: Element) -> list[Element]:
    match element:
        case Formula("{} + {}", (a, b)):
            return [*summands(a), *summands(b)]
    return [element]


def leave_out_unread(draft: Draft, prediction: Tensor) -> None:
    """Statements that the prediction does not come from are left out; inputs stay."""
    needed, found = [prediction], {id(prediction)}
    while needed:
        read = [tensor for tensor in read_by(needed.pop().statement) if id(tensor) not in found]
        found |= set(map(id, read))
        needed += read
    draft.statements = [s for s in draft.statements if id(s.tensor) in found or isinstance(s, InputStatement)]
