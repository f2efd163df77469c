"""The second derivatives of a model's objective: the blocks of the Hessian, and formulas of those that are not 0."""

from __future__ import annotations

from dataclasses import dataclass

from derivgen.declare.model import Model
from derivgen.derive.blocks import blocks_of
from derivgen.derive.second_order import hessian_blocks, hessian_vector_product, without_objective
from derivgen.explain.pages import Block, Heading, Prose, Table, TextPage, page_for
from derivgen.form.places import names_in_order
from derivgen.form.program import Program, reached
from derivgen.pipeline import declared_program, stable_program
from derivgen.prepare.modes import in_training
from derivgen.simplify.simplify import simplify


@names_in_order()
def explain_hessian(model: Model, form: str = "text") -> str:
    """The Hessian of a model's objective by blocks, and its product with a vector; form is "text" or "markdown".

    Raises SpecError with every problem of the spec.
    """
    stable = stable_program(in_training(declared_program(model)))
    page = page_for(form, stable.order)
    return page.write([Heading(1, f"Second derivatives of `{model.name}`"), *hessian_page(stable, page)])


@dataclass(frozen=True, slots=True)
class HessianBlock:
    """∂²objective/∂A∂B: the tensors that hold its parts, the first of B's axes and then A's; none where it is 0."""

    by: tuple[str, str]
    parts: tuple[str, ...]


def hessian_page(stable: Program, page: TextPage) -> list[Block]:
    program, blocks = blocks_of_hessian(stable)
    varying = varying_tensors(program)
    written = {s.target for s in program.statements if s.expression != 0}
    loss = str(stable.objective)
    names = [p.name for p in stable.parameters]
    note = (
        f"`A_bar` is ∂{loss}/∂A, and `A_bar_by_B` is ∂A_bar/∂B, with the axes of B before those of A that B's do not "
        "fix."
    )
    made: list[Block] = [Prose(note), Heading(2, "Blocks of the Hessian")]
    rows = []
    for k, a in enumerate(names):
        for b in names[k:]:
            parts = next((block.parts for block in blocks if block.by == (a, b)), ())
            rows.append((a, b, what_it_is([p for p in parts if p in written], varying)))
    made.append(Table("ttt", tuple(rows), 3))
    made.append(Prose(""))
    zeros = sum(row[2].startswith("0") for row in rows)
    made.append(Prose(f"{zeros} of {len(rows)} blocks are 0 by the structure of the program: nothing computes them."))
    if not varying & {p for block in blocks for p in block.parts}:
        made.append(
            Prose(
                f"The Hessian depends on no parameter: `{loss}` is quadratic, and Newton's method takes one step to "
                "its minimum, where it has one."
            )
        )
    products = simplify(hessian_vector_product(stable))
    made += [
        *program_blocks(f"Program of the Hessian, simplified, after the forward pass of `{loss}`", program, page),
        *program_blocks("Program of its product with a vector; `A_dot` is the tangent of A along it", products, page),
    ]
    answer = ", ".join(f"`{dot}` by `{name}`" for name, dot in products.gradients)
    return [*made, Prose(""), Prose(f"Parts of the product: {answer or 'all are 0'}.")]


def blocks_of_hessian(stable: Program) -> tuple[Program, list[HessianBlock]]:
    """(the program whose results are the parts of the Hessian, the blocks that it has)"""
    program, sweeps = hessian_blocks(stable)
    parts: dict[tuple[str, str], list[str]] = {}
    for parameter, bars in sweeps:
        for block in blocks_of(bars, stable):
            parts.setdefault((parameter, block.of), []).append(block.cotangent.name)
    results = tuple(name for names in parts.values() for name in names)
    return simplify(without_objective(program, results=results)), [
        HessianBlock(by, tuple(p)) for by, p in parts.items()
    ]


def varying_tensors(program: Program) -> set[str]:
    """The tensors that depend on a parameter, also through a condition or a subscript."""
    parameters = [p.name for p in program.parameters]
    return reached(parameters, program.statements, lambda s: s.sources)


def what_it_is(parts: list[str], varying: set[str]) -> str:
    if not parts:
        return "0, by the structure of the program"
    names = " + ".join(parts)
    return names if varying & set(parts) else f"{names}, constant"


def program_blocks(title: str, program: Program, page: TextPage) -> list[Block]:
    """The statements beside those of the forward pass."""
    own = type(page)(program.order)
    statements = [s for s in program.statements if s.direction != "forward"]
    return [Heading(2, title), Table("m", tuple((own.statement(s),) for s in statements), 3)] if statements else []
