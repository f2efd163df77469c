"""Derivatives with their reasons: each statement, its adjoints, and the rules of calculus that lead to each.

`explain_model` takes a model through its stages; `expression.py` takes bare expressions apart.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import sympy as sp

from derivgen.declare.model import Model
from derivgen.derive.differentiate import adjoints_of, assuming, cotangents, seeds
from derivgen.explain.kernels import kernel_blocks
from derivgen.explain.pages import (
    Block,
    Formula,
    Heading,
    Item,
    Prose,
    Table,
    TextPage,
    page_kind,
)
from derivgen.explain.rules import Step, letters, paths
from derivgen.form.as_written import as_written
from derivgen.form.expressions import TRUE, Read, bottom_up, indicator, reads_of, subexpressions, substitute
from derivgen.form.functions import derivative, stop_gradient
from derivgen.form.places import names_in_order
from derivgen.form.program import Origin, Program, Statement, differentiable_reads
from derivgen.pipeline import declared_program, stable_program, training_program, unused_parameters
from derivgen.prepare.modes import in_training
from derivgen.simplify.guarded import compare
from derivgen.update.notation import equations, remarks, term_order


@as_written()
@names_in_order()
def explain_model(model: Model, form: str = "text") -> str:
    """The statements of a model with their adjoints and the rules behind them; form is "text" or "markdown".

    Raises SpecError with every problem of the spec.
    """
    declared = declared_program(model)
    training = in_training(declared)
    used = {s.target for s in declared.live(declared.outputs).statements}
    return ModelExplanation(model, training, stable_program(training), page_kind(form), used).text()


class ModelExplanation:
    """The state of one explanation: the stable program, and the adjoint statements of each of its statements."""

    def __init__(self, model: Model, declared: Program, stable: Program, kind: type[TextPage], used: set[str]) -> None:
        self.model, self.declared, self.stable, self.used = model, declared, stable, used
        self.objective = str(stable.objective)
        live = stable.live([self.objective])
        self.bars = cotangents(live, self.objective, [p.name for p in live.parameters])
        program = self.bars.program
        self.needed = set(program.statements)
        seeds(self.bars)
        self.adjoints = dict(adjoints_of(self.bars))
        self.argmaxima = [s for s in program.statements if s.operator == "argmax="]
        made = [t for t in program.tensors if t.name not in stable.table]
        tensors = (*stable.tensors, *made, *self.bars.tensors)
        self.page = kind(replace(stable, tensors=tensors).order)
        indices = {r.index.name for s in stable.statements for r in s.domain}
        self.taken = {t.name for t in tensors} | {name for name, _ in stable.sizes} | indices
        self.reasons = Reasons(self.page, self.taken)
        self.right_side = self.reasons.right_side

    def text(self) -> str:
        blocks: list[Block] = [Heading(1, f"Derivatives of `{self.model.name}`"), *self.introduction()]
        blocks.append(Heading(2, "Statements, each with its adjoints"))
        for number, (s, former) in enumerate(self.statements(), 1):
            blocks += self.statement(number, s, former)
            blocks += [block for _, own in self.contributions(s) for block in own]
        rule = [] if self.is_fitted else self.update_rule()
        return self.page.write([*blocks, *self.backward_program(), *kernel_blocks(self.model), *rule])

    def statements(self) -> Iterator[tuple[Statement, Statement | None]]:
        """The statements of the stable program in order, each with what was declared of its tensor."""
        declared = defaultdict(list)
        for s in self.declared.statements:
            declared[s.target].append(s)
        for s in self.stable.statements:
            yield s, declared[s.target].pop(0) if declared[s.target] else None

    def introduction(self) -> list[Block]:
        f, loss = self.right_side, self.objective
        blocks: list[Block] = []
        if self.adjoints:
            blocks.append(
                Prose(
                    f"`{f}` is the right side of a statement, under its sum or maximum. Every tensor `A` that it "
                    f"reads, and that depends on a parameter, takes `A_bar += target_bar·∂{f}/∂A`; `A_bar` is "
                    f"∂{loss}/∂A."
                )
            )
            blocks.append(
                Prose(
                    f"The sweep runs from the last statement to the first; it starts at `{self.bars.of(loss).name}` = "
                    "1."
                )
            )
        else:
            blocks.append(Prose(f"`{loss}` depends on no parameter: there is nothing to differentiate."))
        blocks += [Prose(f"Note: {warning.message}.") for warning in unused_parameters(self.model, self.declared)]
        unused = [d.name for d in self.model.definitions if d.name not in self.used]
        if unused:
            blocks.append(Prose(f"Note: neither the objective nor the prediction needs {', '.join(unused)}."))
        return blocks

    # ---- statements

    def statement(self, number: int, s: Statement, declared: Statement | None) -> list[Block]:
        """The statement, and what it was as declared where that differs."""
        written = self.page.statement
        blocks: list[Block] = [Item(number, s.target, written(s))]
        if declared is None:
            of = self.stable.tensor(s.target).of
            rule = (
                f"a derivative of `{of}`, the sum over what it reads of ∂{self.right_side}/∂A times A's own derivative"
            )
            blocks.append(Prose(f"New: {rule if of else f'part of the stable form of `{s.layer}`'}.", 3))
        elif replace(declared, scan=s.scan) != s:
            blocks.append(Formula(written(declared), 3, "Stable form of the declared"))
            largest = self.shift_of(s, declared)
            if largest is not None:
                power, target = self.page.plain.expression(sp.exp(-largest)), self.page.code(s.write)
                blocks.append(
                    Prose(f"{target} holds the declared sum times `{power}`, which cancels where it is read.", 3)
                )
        for argmax in self.argmaxima:
            if s.operator == "max=" and argmax.subscripts == s.subscripts and argmax.expression == s.expression:
                blocks.append(Formula(written(argmax), 3, "The maximum stands at"))
        if s.scan is not None:
            first, last = ("the last", "the first") if s.scan.reverse else ("the first", "the last")
            order = f"from {first} `{s.scan.index}` to {last}; its adjoints go the other way"
            blocks.append(Prose(f"It goes step by step, with all of `{s.scan.name}`, {order}.", 3))
        return blocks

    def shift_of(self, s: Statement, declared: Statement) -> Read | None:
        """The maximum by which a sum of exponentials was scaled, where it was."""
        if s.operator != "+=" or declared.operator != "+=" or not declared.expression.has(sp.exp):
            return None
        known = self.declared.table
        new = {t.target: t for t in self.stable.statements if t.target not in known and t.layer == s.layer}
        powers = [new[r.tensor] for r in reads_of(s.expression) if r.tensor in new]
        shifts = [new[r.tensor] for t in powers for r in reads_of(t.expression) if r.tensor in new]
        maxima = [r for t in shifts for r in reads_of(t.expression) if r.tensor in new]
        return maxima[0] if maxima else None

    def contributions(self, s: Statement) -> list[tuple[Statement | None, list[Block]]]:
        """Each adjoint statement of a statement with its reasons; None where there is no adjoint, with the reason."""
        if s not in self.needed:
            return [(None, [Prose(f"`{self.objective}` does not read it: no adjoint.", 3)])]
        if s not in self.adjoints:
            smooth = s.target in self.bars.active
            why = (
                "No adjoint reaches it: what reads it holds it constant."
                if smooth
                else "It depends on no parameter: no adjoint."
            )
            return [(None, [Prose(why, 3)])]
        found: list[tuple[Statement | None, list[Block]]] = []
        by_read = {read: a for a in self.adjoints[s] if a.origin for read in a.origin.reads}
        for read in sorted(differentiable_reads(s), key=lambda r: r.subscripts != tuple(d.index for d in s.domain)):
            if read.tensor not in self.bars.active:
                continue
            if read in by_read:
                heading = Heading(4, f"Adjoint of `{read.tensor}`")
                found.append((by_read[read], [heading, *self.reasons.of(by_read[read])]))
            else:
                found.append((None, [self.no_adjoint(s, read)]))
        held = [r for r in reads_of(s.expression) if r in stopped_reads(s.expression) - set(differentiable_reads(s))]
        for r in held:
            found.append((None, [self.no_adjoint(s, r)]))
        return found

    def no_adjoint(self, s: Statement, read: Read) -> Prose:
        return Prose(f"{self.page.code(read)} takes no adjoint: {self.why_constant(s, read)}.", 3)

    def why_constant(self, s: Statement, read: Read) -> str:
        ends = [path[-1] for path in paths(s.expression, read, self.taken) if path and path[-1].locals[0] == 0]
        conventions = dict.fromkeys(step.convention for step in ends if step.convention)
        return "; ".join(conventions) or "its contributions cancel"

    # ---- the end

    def backward_program(self) -> list[Block]:
        """The statements after simplification, and the names of the gradients."""
        if not self.adjoints:
            return []
        program = training_program(self.stable)
        page = type(self.page)(program.order)
        backward = [s for s in program.statements if s.direction == "backward"]
        blocks: list[Block] = [Heading(2, "Backward program, simplified")]
        blocks.append(Table("m", tuple((page.statement(s),) for s in backward), 3))
        gradients = ", ".join(f"`{bar}` by `{name}`" for name, bar in program.gradients)
        return [*blocks, Prose(""), Prose(f"Gradients of `{self.objective}`: {gradients}.")]

    @property
    def is_fitted(self) -> bool:
        """Whether solvers search for the parameters, which take no update rule, and the spec says none."""
        return bool(self.model.residuals) and self.model.update_place is None

    def update_rule(self) -> list[Block]:
        """The step that the update rule takes with the gradient g, by parameter θ."""
        rule, page = self.model.rule, type(self.page)(term_order(self.model.rule))
        blocks: list[Block] = [
            Heading(2, f"Update rule `{rule.name}`, in order, for each parameter θ and its gradient g")
        ]
        assignments = (f"{page.math(target)} = {page.math(e)}" for target, e in equations(rule))
        blocks.append(Table("m", tuple((assignment,) for assignment in assignments), 3))
        blocks.append(Prose(""))
        for what, values in (("By default", rule.hyperparameters), ("At first", rule.slots)):
            if values:
                given = ", ".join(f"`{name} = {value!r}`" for name, value in values)
                blocks.append(Prose(f"{what}: {given}."))
        said = remarks(rule, self.model.groups, [p.name for p in self.declared.parameters])
        return [*blocks, *(Prose(f"`{names}`: {words}.") for names, words in said)]


class Reasons:
    """The rules by which statements of derivatives were made; `taken`: names that letters of rules must not have."""

    def __init__(self, page: TextPage, taken: set[str]) -> None:
        self.page, self.taken, self.right_side = page, taken, free_name(taken)

    def of(self, made: Statement) -> list[Block]:
        """A statement of a derivative; by each read its rules as a table, then where its sum, guard and conventions
        come from.
        """
        assert made.origin is not None
        s, blocks, conventions = made.origin.statement, list[Block](), list[str]()
        blocks.append(Formula(self.page.statement(made), 6))
        for read in made.origin.reads:
            every = paths(s.expression, read, self.taken)
            ways = [way for way in every if all(step.locals[0] != 0 for step in way)]
            blocks.append(Table("tmm", tuple(self.rows(read, made, made.origin, ways)), 10))
            if made.reduced:
                over = ", ".join(f"`{r.index.name}`" for r in made.reduced)
                blocks.append(Prose(f"{self.page.code(read)} is read for every {over}: the contributions add up.", 10))
            if made.guard != TRUE:
                condition = self.page.plain.condition(made.guard)
                blocks.append(Prose(f"It is read where `{condition}` only: elsewhere nothing is added.", 10))
            conventions += [step.convention for way in every for step in way if step.convention]
        if s.operator == "max=":
            conventions.append("maximum over an index: all of the derivative goes to the first maximum")
        return blocks + [Prose(f"Convention: {c}.", 10) for c in dict.fromkeys(conventions)]

    def rows(self, read: Read, made: Statement, origin: Origin, ways: list[tuple[Step, ...]]) -> list[tuple[str, ...]]:
        """(rule, local derivative, meaning of its letter) along each way from the right side to the read."""
        s, f = origin.statement, sp.Symbol(self.right_side, real=True)
        rows = [self.reduction_row(origin, f)] if s.reduced else []
        for number, way in enumerate(ways, 1):
            if len(ways) > 1:
                rows.append((f"place {number} of {len(ways)}", "", ""))
            rows += [step_row(self.page, step) for step in way]
        local = substitute(derivative(s.expression, read), dict(origin.winner))
        total = f"{self.page.ratio(self.page.math(f), self.page.math(read), True)} = "
        total += self.page.math(compared(assuming(local, made.guard)))
        if s.expression == read or len(rows) > 1:
            rows.append(("together" if len(rows) > 1 else "identity", total, ""))
        return rows

    def reduction_row(self, origin: Origin, f: sp.Symbol) -> tuple[str, ...]:
        page, s = self.page, origin.statement
        over = ", ".join(r.index.name for r in s.reduced)
        what = f"{page.math(f)} = {page.math(s.expression)}"
        if s.operator == "max=":
            first = indicator(sp.And(*(sp.Eq(k, read) for k, read in origin.winner)))
            whole = page.parenthesized(f"{page.notation.maximum(s.reduced)} {page.math(f)}")
            return f"maximum over {over}", f"{page.ratio(whole, page.math(f), True)} = {page.math(first)}", what
        whole = page.parenthesized(f"{page.notation.sum(s.reduced)} {page.math(f)}")
        return f"sum over {over}", f"{page.ratio(whole, page.math(f), True)} = {page.math(sp.Integer(1))}", what


def step_row(page: TextPage, step: Step) -> tuple[str, ...]:
    (name,), (meaning,), (local,) = step.names, step.meanings, step.locals
    where = "" if name == meaning else f"{page.math(name)} = {page.math(meaning)}"
    return step.rule, f"{page.derivative(step.whole, name)} = {page.math(compared(local))}", where


def stopped_reads(e: sp.Expr) -> set[Read]:
    """The reads under stop_gradient."""
    return {read for node in subexpressions(e) if isinstance(node, stop_gradient) for read in reads_of(node)}


def compared(e: sp.Expr) -> sp.Expr:
    """As it is emitted: max(u, 0) > 0 is u > 0."""
    return bottom_up(e, compare)


def free_name(taken: set[str]) -> str:
    """A name for a right side: f where that is free."""
    return next(name for name in itertools.chain("fghFGH", letters(())) if name not in taken)
