"""Two states of a spec → what changed between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.form.formulas import NAME, renaming
from derivgen.form.program import Program, Role, Tensor
from derivgen.oracle.differences import Comparison, compare_gradients
from derivgen.oracle.interpreter import run
from derivgen.plan.cost_report import Report, with_sizes
from derivgen.prepare.modes import in_training
from derivgen.print.kernels import REFERRED_TO
from derivgen.project.gradcheck import finite_values
from derivgen.review.alike import Alike, alike, docstring
from derivgen.review.in_c import InC, lines_of
from derivgen.review.names import Names, words_in
from derivgen.review.sections import Section, behind
from derivgen.review.state import Formulas, State, by_target, tensor_of
from derivgen.stages import reached
from derivgen.update.notation import formulas as rule_formulas
from derivgen.update.notation import settings_by_tensor

KEPT = frozenset({*REFERRED_TO, "range", "max"})  # names that mean the same in all kernels
SAME, SIZES, BEHIND = "same bits", "other sizes", "other functions"  # the same except for these
REORDERED, CHANGED = "reordered", "changed"
TOLD = ("frame", "function", "elementary", "numbers", "fixed")  # sections that other_parts compares
SAMPLED = 200_000  # operations of a step up to which its derivatives are compared with differences
ROWS = 3
WRONG = 1e-15  # an error that is none of the differences


@dataclass(frozen=True, slots=True)
class Change:
    """A formula, or a fact, before and after; None where there is none."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that is there now: `numbers` says what becomes of its results, `how` what changed with them the same."""

    name: str
    numbers: str
    how: str
    lines: int
    before: str = ""  # the name that it had

    @property
    def is_to_read(self) -> bool:
        return self.numbers in (REORDERED, CHANGED)


@dataclass(frozen=True)
class Review:
    """All that a reviewer asks of an edit; `signed` has the digests of sections that somebody has approved."""

    model: str
    before: str
    after: str
    generators: tuple[str, str]
    renamed: Mapping[str, str] = field(default_factory=dict)
    formulas: tuple[Change, ...] = ()
    derivatives: tuple[Change, ...] = ()
    sampled: str = ""
    second: str = ""  # what is said of second derivatives, if the spec asks for some
    kernels: tuple[Kernel, ...] = ()
    gone: tuple[str, ...] = ()
    parts: tuple[Change, ...] = ()  # of the text that is no kernel: what reviewers read besides
    contract: tuple[Change, ...] = ()
    cost: tuple[Change, ...] = ()
    in_c: tuple[str, ...] = ()  # what is said of files of C
    unsigned: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()  # files that hold another text than one may think

    @property
    def to_read(self) -> tuple[Kernel, ...]:
        return tuple(kernel for kernel in self.kernels if kernel.is_to_read)

    @property
    def is_of_substance(self) -> bool:
        formulas, text = self.formulas or self.derivatives, self.to_read or self.gone or self.parts
        return bool(formulas or text or self.contract or self.remarks)


def compared(before: State, after: State, signed: Mapping[str, str]) -> Review:
    """What changed between two states of a model."""
    pairs = renames(before.formulas, after.formulas) | renamed_tensors(before.declared, after.declared)
    names = Names(pairs, words_in(after.text))
    kernels, gone = compared_kernels(before.sections, after.sections, names)
    called = Names(pairs | {k.before: k.name for k in kernels if k.before}, names.kept)
    derivatives = tuple(derivative_changes(before, after, names))
    return Review(
        model=str(after.model.name),
        before=before.words,
        after=after.words,
        generators=(before.header.by, after.header.by),
        renamed=pairs,
        formulas=tuple(changes(before.formulas, after.formulas, names)),
        derivatives=derivatives,
        sampled=sampled(after) if derivatives else "",
        second=second_order(after) if derivatives else "",
        kernels=kernels,
        gone=gone,
        parts=tuple(other_parts(before.sections, after.sections, called)),
        contract=tuple(contract_changes(before, after, names)),
        cost=tuple(cost_changes(before.cost, after.cost)),
        in_c=tuple(lines_of(before.in_c, after.in_c)),
        remarks=tuple(remarks(after, before)),
        unsigned=unsigned(after, signed),
    )


def new_model(state: State, signed: Mapping[str, str]) -> Review:
    """All of a model that was not there before."""
    return Review(
        model=str(state.model.name),
        before="nothing",
        after=state.words,
        generators=(state.header.by, state.header.by),
        formulas=tuple(changes({}, state.formulas, Names())),
        derivatives=tuple(changes({}, state.derivatives, Names())),
        sampled=sampled(state),
        second=second_order(state),
        kernels=tuple(Kernel(s.name, CHANGED, "new", s.lines) for s in state.sections if s.kind == "kernel"),
        in_c=tuple(lines_of(InC(), state.in_c)),
        remarks=tuple(remarks(state)),
        unsigned=unsigned(state, signed),
    )


def unsigned(state: State, signed: Mapping[str, str]) -> tuple[str, ...]:
    """The sections that nobody has signed, if there are approvals at all; those of C with their file."""
    own = [s.name for s in state.sections if s.digest not in signed]
    in_c = state.in_c.digests.items()
    own += [f"{file} {name}" for file, found in in_c for name, digest in found.items() if digest not in signed]
    return tuple(own) if signed else ()


def remarks(now: State, before: State | None = None) -> Iterator[str]:
    """Which files hold another text than their specs generate."""
    if now.remark:
        yield f"{now.remark}: this review is about what the spec generates, not about that file"
    yield from now.in_c.remarks
    if before is not None and before.remark:
        yield f"{before.remark}: the kernels before are those of that file, the formulas those of its spec"


# ---- names


def renames(before: Formulas, after: Formulas) -> dict[str, str]:
    """Tensors whose formulas are the same except for names, as pairs of old and new, in their order."""
    gone = [target for target in before if tensor_of(target) not in map(tensor_of, after)]
    new = [target for target in after if tensor_of(target) not in map(tensor_of, before)]
    there = {word for line in after.values() for word in NAME.findall(line)}
    found: dict[str, str] = {}
    for old in gone:
        twin = next((target for target in new if same_but_names(before[old], after[target], there)), None)
        if twin is not None:
            found[tensor_of(old)] = tensor_of(twin)
            new.remove(twin)
    return found


def renamed_tensors(before: Program, after: Program) -> dict[str, str]:
    """Parameters and inputs of one kind that stand at the same place of the declaration, under another name."""
    found: dict[str, str] = {}
    for roles in ((Role.PARAMETER, Role.RUNNING), (Role.INPUT, Role.LABELS)):
        old, new = before.of_role(*roles), after.of_role(*roles)
        if len(old) == len(new):
            pairs = zip(old, new, strict=True)
            same = {new.name for new in new} & {t.name for t in old}
            found |= {a.name: b.name for a, b in pairs if not {a.name, b.name} & same and shape_of(a) == shape_of(b)}
    return found


def same_but_names(before: str, after: str, there: Set[str]) -> bool:
    """Whether two formulas become one by other names, of none that is still there."""
    names = renaming([before], [after])
    return names is not None and all(old == new for old, new in names.items() if old in there)


# ---- formulas


def changes(before: Formulas, after: Formulas, names: Names) -> Iterator[Change]:
    """The formulas that differ, under the names of now."""
    old = {names.in_formula(target): names.in_formula(line) for target, line in before.items()}
    for target in dict.fromkeys([*after, *old]):
        if old.get(target) != after.get(target):
            yield Change(tensor_of(target), old.get(target), after.get(target))


def derivative_changes(before: State, after: State, names: Names) -> Iterator[Change]:
    """The adjoints that differ; of a parameter that still is one, but has none now, that its gradient is 0."""
    adjoint_of = {adjoint: parameter for parameter, adjoint in before.training.gradients}
    parameters = {p.name for p in after.declared.parameters}
    for c in changes(before.derivatives, after.derivatives, names):
        parameter = names.of(adjoint_of.get(c.name, ""))
        if c.after is None and parameter in parameters:
            yield replace(c, after=f"{c.name}: gone, the gradient with respect to {parameter} is 0")
        else:
            yield c


def sampled(state: State) -> str:
    """How far the derivatives are from differences of the declared formulas at 50 digits, at a random point."""
    compared = comparisons(state)
    if isinstance(compared, str):
        return compared
    worst = max((c.error for c in compared), default=0.0)
    if not worst < WRONG:
        return f"WRONG, by {worst:.0e} against differences at 50 digits: a bug of derivgen, please report it"
    return f"at a random point, against differences at 50 digits, {len(compared)} gradients: error {worst:.0e} at most"


def second_order(state: State) -> str:
    """What checks second derivatives: their kernels are compared as text, and no formulas of theirs."""
    if not any(name.startswith(("hessian", "gauss_newton")) for name in state.model.requests):
        return ""
    command = f"derivgen gradcheck {state.header.spec_file} --order 2"
    return f"second derivatives: not compared as formulas; run {command}"


def comparisons(state: State) -> list[Comparison] | str:
    """Each gradient against differences at 50 digits, at a random point, or why that was not done."""
    cost = with_sizes(state.cost, dict.fromkeys(state.cost.sizes, ROWS))
    flops = max(int(row.cost.flops) for row in cost.totals)
    if flops > SAMPLED:
        return f"not sampled here, a step has {flops:,} operations, of {SAMPLED:,} at most: derivgen gradcheck does it"
    reached("sample derivatives")
    declared, training = in_training(state.declared), state.training
    try:
        values = finite_values(state.declared, "float64", ROWS, seed=0)
        found = run(training, values)
        gradient = {p: np.asarray(found[bar]) for p, bar in training.gradients}
        return compare_gradients(declared, values, gradient)
    except DerivgenError as error:
        return f"not sampled: {error}"


# ---- the text


def compared_kernels(
    before: Sequence[Section], after: Sequence[Section], names: Names
) -> tuple[tuple[Kernel, ...], tuple[str, ...]]:
    """(the kernels of now, the names of those that are gone)"""
    left = {s.name: s for s in before if s.kind == "kernel"}
    mine = [s for s in after if s.kind == "kernel"]
    by_new_name = {names.of(name): name for name in left}
    found: dict[str, Kernel] = {}
    for s in mine:  # under its name, or the one that it had
        old = left.get(s.name) or left.get(by_new_name.get(s.name, ""))
        if old is not None and (kernel := kernel_of(old, s, names)).numbers in (SAME, SIZES):
            found[s.name] = kernel
            left.pop(old.name, None)
    for s in mine:  # one of another name that does the same
        if s.name not in found:
            twin = next((old for old in left.values() if kernel_of(old, s, names).numbers == SAME), None)
            if twin is not None:
                found[s.name] = kernel_of(left.pop(twin.name), s, names)
    for s in mine:
        if s.name not in found:
            old = left.pop(s.name, None) or left.pop(by_new_name.get(s.name, ""), None)
            found[s.name] = kernel_of(old, s, names) if old is not None else Kernel(s.name, CHANGED, "new", s.lines)
    return tuple(by_others(found[s.name], before, after) for s in mine), tuple(left)


def by_others(kernel: Kernel, before: Sequence[Section], after: Sequence[Section]) -> Kernel:
    """A kernel that is the same as before, unless what it refers to is not."""
    is_same = kernel.numbers in (SAME, SIZES)
    if is_same and behind(kernel.before or kernel.name, before) != behind(kernel.name, after):
        return replace(kernel, numbers=BEHIND)
    return kernel


def kernel_of(old: Section, new: Section, names: Names) -> Kernel:
    """A kernel of now beside one of before."""
    had = "" if old.name == new.name else old.name
    if old.text == new.text:
        return Kernel(new.name, SAME, "", new.lines, had)
    found = alike(old.text, new.text, Alike(KEPT))
    if found is not None:
        how = found.words([pair for pair in found.renamed if names.of(pair[0]) != pair[1]])
        return Kernel(new.name, SIZES if found.extents else SAME, how or "under the new names", new.lines, had)
    same = names.in_formula(docstring(old.text)) == docstring(new.text)
    return Kernel(new.name, REORDERED if same else CHANGED, "", new.lines, had)


def other_parts(before: Sequence[Section], after: Sequence[Section], names: Names) -> Iterator[Change]:
    """What is new, gone or other than before, besides kernels and what the contract tells."""
    old, new = ({s.name: s for s in sections if s.kind in TOLD} for sections in (before, after))
    old = {names.of(name): s for name, s in old.items()}
    for name in dict.fromkeys([*new, *old]):
        a, b = old.get(name), new.get(name)
        if a is None or b is None or not is_same(a, b, names):
            yield Change(name, *(None if s is None else size_of(s) for s in (a, b)))


def size_of(section: Section) -> str:
    """The lines of a function, which may tell two apart; of all else its digest, which does."""
    return f"{section.lines} lines" if section.kind == "function" else section.digest


def is_same(before: Section, after: Section, names: Names) -> bool:
    """Whether two texts are the same: those with names of the spec up to these, functions up to whole numbers too."""
    if after.kind in ("elementary", "fixed"):
        return before.text == after.text
    found = alike(before.text, after.text, Alike(known=names, numbers=after.kind == "function"))
    return found is not None and all(a == b or names.of(a) == b for a, b in found.names.items())


# ---- contract and cost


def contract_changes(before: State, after: State, names: Names) -> Iterator[Change]:
    """Inputs and parameters by name and in their order, the update rule, functions of derivatives, and the dtype."""
    for word, old, new in zip(("input", "parameter"), tensors(before.declared), tensors(after.declared), strict=True):
        moved = {a: b for a, b in names.pairs.items() if a in old and b in new}
        yield from (Change(f"{word} renamed", a, b) for a, b in moved.items())
        known = {moved.get(name, name): shape for name, shape in old.items()}
        yield from facts_changed(known, new, f"{word} ")
        order = [name for name in known if name in new], [name for name in new if name in known]
        if order[0] != order[1]:
            yield Change(f"order of {word}s", *map(", ".join, order))
    yield from facts_changed(
        {names.in_formula(k): names.in_formula(v) for k, v in rule_facts(before)}, dict(rule_facts(after))
    )
    yield from facts_changed(requests(before), requests(after))
    yield from facts_changed({"dtype": before.dtype}, {"dtype": after.dtype})


def facts_changed(old: Mapping[str, str], new: Mapping[str, str], word: str = "") -> Iterator[Change]:
    """The facts that differ, by what they are of."""
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield Change(f"{word}{name}", old.get(name), new.get(name))


def tensors(program: Program) -> tuple[dict[str, str], dict[str, str]]:
    """(inputs, parameters), each with its shape."""
    given = {t.name: shape_of(t) for t in program.of_role(Role.INPUT, Role.LABELS)}
    return given, {t.name: shape_of(t) for t in program.of_role(Role.PARAMETER, Role.RUNNING)}


def shape_of(t: Tensor) -> str:
    classes = f", labels 0 .. {t.classes - 1}" if t.classes is not None else ""
    ignored = f", {t.ignore} for rows to ignore" if t.ignore is not None else ""
    return f"({', '.join(map(str, t.shape))}){classes}{ignored}"


def requests(state: State) -> dict[str, str]:
    asked = ", ".join(state.model.requests)
    return {"functions of derivatives": asked} if asked else {}


def rule_facts(state: State) -> Iterator[tuple[str, str]]:
    """The update rule by name, its formulas, and what differs by tensor."""
    rule = state.model.rule
    yield "update rule", f"{rule.name}({', '.join(f'{name}={value:g}' for name, value in rule.hyperparameters)})"
    yield from ((f"update of {target}", line) for target, line in by_target(rule_formulas(rule)).items())
    settings = settings_by_tensor(rule, state.model.groups, [p.name for p in state.declared.parameters])
    yield from ((f"update of {names}", words) for names, words in settings)


def cost_changes(before: Report, after: Report) -> Iterator[Change]:
    """Operations, calls and bytes of a step, and its workspace."""
    yield from facts_changed(costs(before), costs(after))


def costs(report: Report) -> dict[str, str]:
    found = {f"{row.part}, operations": str(row.cost.flops) for row in report.totals if row.part != "update"}
    found |= {f"{row.part}, calls": str(row.cost.calls) for row in report.totals if row.part != "update"}
    return found | {"workspace, bytes": str(report.workspace)}
