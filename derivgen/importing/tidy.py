"""What is left to do when all operations have their lines: activations go into the layers before them."""

from __future__ import annotations

from collections import Counter

from derivgen.importing.draft import (
    Draft,
    InputStatement,
    LayerStatement,
    LetStatement,
    ParameterStatement,
    Statement,
    Tensors,
)
from derivgen.importing.elements import Element, Formula, Number, Over, Read, Tensor, number_text


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
        return [*statement.sources, *(tensor for given in statement.tensors.values() for tensor in leaves(given))]
    if isinstance(statement, LetStatement):
        return [part.tensor for part in statement.element.walk() if isinstance(part, Read)]
    return []


def take_in_norms(draft: Draft) -> None:
    """`x / sqrt(mean of x² + ε) * gain` becomes `layers.rms_norm(x)`, with the gain as its weight."""
    for k, let in enumerate(draft.statements):
        found = rms_norm(let.element) if isinstance(let, LetStatement) else None
        if found is None or not isinstance(let, LetStatement):
            continue
        x, gain, epsilon = found
        weights = {} if gain is None else {"_gain": gain.tensor.statement.array}
        options = {"scale": "False"} if gain is None else {}
        options |= {} if abs(epsilon - 1e-6) < 1e-12 else {"epsilon": number_text(epsilon)[0]}
        if [axis[0] for axis in let.axes] == [*x.subscripts] and let.tensor.shape == x.tensor.shape:
            let.tensor.name = norm_name(let.tensor.name, gain)
            made = LayerStatement(let.tensor, "layers.rms_norm", [x.tensor], options=options, weights=weights)
            draft.statements[k] = made.tensor.statement = made


def norm_name(name: str, gain: Read | None) -> str:
    """The module's name; that of the norm where the formula is called after its operation."""
    module = gain.tensor.name.removesuffix("_weight") if gain and gain.tensor.name.endswith("_weight") else ""
    return module or name.removesuffix("product").removesuffix("quotient") + "norm" * name.endswith(
        ("product", "quotient")
    )


def rms_norm(element: Element) -> tuple[Read, Read | None, float] | None:
    """(x, the gain, ε) of a formula that is a norm along the last axis."""
    match element:
        case Formula("{} * {}", (Read() as gain, Formula() as rest) | (Formula() as rest, Read() as gain)):
            found = rms_norm(rest)
            plain = isinstance(gain.tensor.statement, ParameterStatement) and gain.tensor.statement.trained
            return (
                (found[0], gain, found[2]) if found and plain and gain.subscripts == found[0].subscripts[-1:] else None
            )
        case Formula("{} / {}", (Read() as x, Formula("sqrt({})", (Formula("{} + {}", (mean, Number(epsilon))),)))):
            return (x, None, epsilon) if is_mean_of_squares(mean, x) else None
    return None


def is_mean_of_squares(mean: Element, x: Read) -> bool:
    """Whether this is the mean of x² along the last axis of x."""
    match mean:
        case Formula("{} / {}", (Over("Sum", Formula("{}**{}", (Read() as y, Number(2))), (i,)), Number(count))):
            return y == Read(x.tensor, (*x.subscripts[:-1], i)) and x.tensor.shape[-1] == int(count)
    return False


def leaves(given: Tensors) -> list[Tensor]:
    """The tensors of pairs of pairs."""
    return [given] if isinstance(given, Tensor) else [tensor for part in given for tensor in leaves(part)]


def made_by(statement: Statement) -> list[Tensor]:
    """The tensors that a statement defines."""
    return [statement.tensor, *getattr(statement, "states", {}).values()]


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
    kept = [s for s in draft.statements if isinstance(s, InputStatement) or found & set(map(id, made_by(s)))]
    draft.statements = kept
