"""Stable program → the programs of what `model.second_order` asks for, each by the rules of `differentiate`.

A product with a vector is the tangent of a gradient; a matrix is the cotangent of an output with axes, element by
element, in which only what is not 0 by the structure of the program is stored and computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.derive.blocks import blocks_of, dense_rows, is_sparse, sparse_rows
from derivgen.derive.by_row import by_row
from derivgen.derive.cotangents import Cotangents, active_tensors
from derivgen.derive.differentiate import adjoint, derivatives_by, reverse_sweep, tangent
from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import Read, index_symbol, reads_of
from derivgen.form.functions import derivative, stop_gradient
from derivgen.form.program import Names, Program, Range, Role, Statement, Tensor, names_of
from derivgen.form.sizes import flat_size, offsets, row_major, typical
from derivgen.form.squares import with_roots
from derivgen.simplify.simplify import simplify


@dataclass(frozen=True, slots=True)
class Request:
    """A function of derivatives in the module: its name, what it gives, and the program for it."""

    function: str
    meaning: str  # of what it returns, with its shape
    build: Callable[[Program], Program]
    of_prediction: bool = False  # of what `predict` returns, from what that needs
    of_evaluation: bool = False  # of what `loss` returns, outside training
    vector: str = "product"  # what a flat vector that it returns is called
    by_offset: bool = False  # it has an axis of the flat vector, in which kernels write by number
    by_rows: bool = False  # what it returns is one array whose first axis is that of all residuals

    @property
    def in_training(self) -> bool:
        """Whether what it differentiates is what a step computes."""
        return not (self.of_prediction or self.of_evaluation)


def derived_program(request: Request, stable: Program) -> Program:
    """The simplified program of a request."""
    return simplify(check_program(request.build(stable)))


# ---- products


@as_written()
def hessian_vector_product(stable: Program) -> Program:
    """The tangents of the gradient: Σ_j ∂²loss/∂θ_i∂θ_j · v_j"""
    names = [p.name for p in stable.parameters]
    program, dots = tangent(gradient_program(stable), names)
    products = tuple((p, dots[bar]) for p, bar in program.gradients if bar in dots)
    program = with_directions(program, backward="backward_tangent")
    return without_objective(program, gradients=products)


@as_written()
def jacobian_vector_product(stable: Program) -> Program:
    """The tangent of the prediction: Σ_j ∂prediction/∂θ_j · v_j"""
    program = stable.live([str(stable.prediction)])
    program, dots = tangent(program, [p.name for p in program.parameters])
    if program.prediction not in dots:
        return constant_tangent(program, str(program.prediction))
    return without_objective(with_directions(program), results=(dots[str(program.prediction)],))


def constant_tangent(program: Program, output: str) -> Program:
    """0 for what depends on no parameter."""
    last = next(s for s in reversed(program.statements) if s.target == output)
    own = Tensor(names_of(program).fresh(f"{output}_dot"), program.tensor(output).shape, Role.ADJOINT, of=output)
    domain = tuple(Range(index_symbol(f"i{axis}"), extent) for axis, extent in enumerate(own.shape))
    zero = Statement(own.name, tuple(r.index for r in domain), "=", sp.Integer(0), domain, layer=last.layer)
    return without_objective(program.with_statements([zero], [own]), results=(own.name,))


@as_written()
def vector_jacobian_product(stable: Program) -> Program:
    """The gradient of Σ_i u_i · prediction_i"""
    program = stable.live([str(stable.prediction)])
    output = program.tensor(str(program.prediction))
    weights = Tensor(names_of(program).fresh("u"), output.shape, Role.SEED, of=output.name)
    program = weighted_sum(replace(program, tensors=(*program.tensors, weights)), [(output.name, weights.name)])
    program = adjoint(program)
    return without_objective(program, gradients=program.gradients)


@as_written()
def gauss_newton_vector_product(stable: Program) -> Program:
    """Jᵀ·H·J·v: J the Jacobian of the outputs by the parameters, H the Hessian of the objective by the outputs."""
    stable = stable.live([str(stable.objective)])
    tail, outputs = loss_of_outputs(stable)
    names = [p.name for p in stable.parameters]
    forward, _ = tangent(stable, names)
    given = dict.fromkeys(outputs, Role.INPUT)
    loss = replace(
        stable,
        tensors=tuple(replace(t, role=given.get(t.name, t.role)) for t in stable.tensors),
        statements=tuple(stable.statements[k] for k in tail),
    )
    curved, curved_dots = tangent(with_roots(adjoint(loss, outputs)), outputs)
    own = {t.name for t in forward.tensors}
    merged = forward.with_statements(
        [*forward.statements, *(s for s in curved.statements if s not in forward.statements)],
        [t for t in curved.tensors if t.name not in own and t.role is not Role.SEED],
    )
    seeds = [(name, curved_dots[bar]) for name, bar in curved.gradients if bar in curved_dots]
    program = adjoint(weighted_sum(with_directions(merged, backward="backward_tangent"), seeds))
    return without_objective(program, gradients=program.gradients)


def gradient_program(stable: Program) -> Program:
    """Objective and gradients, short, and ready to be differentiated again."""
    program = simplify(with_roots(adjoint(stable.live([str(stable.objective)]))), differentiated_again=True)
    return program.with_statements(replace(s, origin=None) for s in program.statements)


def weighted_sum(program: Program, weights: Sequence[tuple[str, str]]) -> Program:
    """The program with a new objective: the sum of tensors times weights, which are held."""
    objective = names_of(program).fresh("weighted")
    statements = []
    for name, weight in weights:
        last = next((s for s in reversed(program.statements) if s.target == name), program.statements[-1])
        letters = Names([t.name for t in program.tensors])
        domain = tuple(
            Range(index_symbol(letters.fresh(f"i{axis}")), extent)
            for axis, extent in enumerate(program.tensor(name).shape)
        )
        at = [r.index for r in domain]
        term = stop_gradient(Read(weight, *at)) * Read(name, *at)
        statements.append(Statement(objective, (), "+=", term, domain, layer=last.layer))
    tensors = (*program.tensors, Tensor(objective, (), Role.HELPER))
    extended = replace(program, tensors=tensors, statements=(*program.statements, *statements))
    return replace(extended, objective=objective, prediction=None, gradients=(), results=()).live([objective])


def loss_of_outputs(stable: Program) -> tuple[list[int], list[str]]:
    """(the statements of the objective as a function of the model's outputs, by position; those outputs)

    Going back from the objective, an output is the first let in which it is not linear, or the first sum that has
    weights in it. What depends on parameters alone, as a penalty, belongs to the objective, of which these are outputs.
    """
    active = active_tensors(stable, [p.name for p in stable.parameters])
    inside, count = {str(stable.objective)}, 0
    while count < len(inside):
        count = len(inside)
        readers = [s for s in stable.statements if s.target in inside]
        for name in {r.tensor for s in readers for r in s.reads}:
            if opens(stable, name, active, readers):
                inside.add(name)
    tail = [k for k, s in enumerate(stable.statements) if s.target in inside]
    read = dict.fromkeys(r.tensor for k in tail for r in stable.statements[k].reads)
    return tail, [name for name in read if name in active and name not in inside]


def opens(stable: Program, name: str, active: set[str], readers: Sequence[Statement]) -> bool:
    """Whether a tensor that the objective's statements read is a part of the objective, not of the model."""
    writers = [s for s in stable.statements if s.target == name]
    if name not in active or not writers:
        return bool(writers)
    sources = {r.tensor for s in writers for r in s.reads} & active
    parameters = {t for t in sources if stable.tensor(t).role is Role.PARAMETER}
    if parameters and parameters != sources:
        return False
    return stable.tensor(name).role is Role.HELPER or all(is_linear_in(s, name, active) for s in readers)


def is_linear_in(s: Statement, name: str, active: set[str]) -> bool:
    """Whether the derivatives of a statement by a tensor depend on no parameter."""
    locals_of = [derivative(s.expression, read) for read in reads_of(s.expression) if read.tensor == name]
    return s.operator in ("=", "+=") and not any(r.tensor in active for e in locals_of for r in reads_of(e))


# ---- matrices


@as_written()
def hessian(stable: Program) -> Program:
    """∂²loss/∂θ_i∂θ_j, from the cotangents of each part of the gradient by the parameters from its own on."""
    program, sweeps = hessian_blocks(stable)
    matrix = Tensor(names_of(program).fresh("hessian"), 2 * (sp.Integer(flat_size(stable)),), Role.LET)
    starts, made = offsets(stable), []
    for parameter, bars in sweeps:
        rows = starts[parameter] + row_major([r.index for r in bars.axes], program.tensor(parameter).shape)
        for block in blocks_of(bars, stable):
            columns = starts[block.of] + row_major(block.subscripts, program.tensor(block.of).shape)
            made.append(block.copied(matrix.name, (rows, columns)))
            if block.of != parameter:
                made.append(block.copied(matrix.name, (columns, rows)))
    return asked(program, matrix, made)


@as_written()
def hessian_diagonal(stable: Program) -> Program:
    """∂²loss/∂θ_i²"""
    program, sweeps = hessian_blocks(stable, diagonal=True)
    tensors, made, diagonals = [], [], []
    names = names_of(program)
    for parameter, bars in sweeps:
        shape = program.tensor(parameter).shape
        own = Tensor(names.fresh(f"{parameter}_diagonal"), shape, Role.ADJOINT, of=parameter)
        tensors.append(own)
        diagonals.append((parameter, own.name))
        for block in blocks_of(bars, stable):
            made.append(block.diagonal(own.name))
    program = program.with_statements([*program.statements, *made], tensors)
    return without_objective(program, gradients=tuple(diagonals))


@as_written()
def jacobian(stable: Program) -> Program:
    """∂prediction/∂θ_j, with the axes of the prediction first."""
    output = str(stable.prediction)
    program = without_objective(stable.live([output]))
    extended, bars = reverse_sweep(program, output, [p.name for p in program.parameters], bare=False)
    tensors, made = dense_rows(program, bars, "jacobian")
    return cheaper(asked(extended, tensors[0], made), by_elements(stable, program, {output: "jacobian"}))


@as_written()
def residuals(stable: Program) -> Program:
    """The residuals themselves."""
    return without_objective(stable.live(stable.residuals), results=stable.residuals)


@as_written()
def residual_jacobian(stable: Program) -> Program:
    """∂residual/∂θ_j, for each of the residuals: a matrix; or, where most of it is 0, entries and their columns.

    The matrix lies column by column: residuals are many and parameters few, and solvers take it so.
    """
    residuals = program = replace(stable.live(stable.residuals), prediction=None, running=())
    single = len(stable.residuals) == 1
    sweeps: list[tuple[str, Cotangents]] = []
    for name in stable.residuals:
        program, bars = reverse_sweep(program, name, [p.name for p in stable.parameters], bare=False)
        sweeps.append((name, bars))
    sparse = is_sparse(stable, [bars for _, bars in sweeps])
    tensors, made = [], []
    for name, bars in sweeps:
        prefix = "" if single else f"{name}_"
        found = (
            sparse_rows(stable, bars, prefix)
            if sparse
            else dense_rows(stable, bars, f"{prefix}jacobian", columns_first=True)
        )
        tensors += found[0]
        made += found[1]
    extended = program.with_statements([*program.statements, *made], tensors)
    swept = without_objective(extended, results=tuple(t.name for t in tensors))
    if sparse:
        return swept
    matrices = {name: "jacobian" if single else f"{name}_jacobian" for name in stable.residuals}
    return cheaper(swept, by_elements(stable, residuals, matrices, columns_first=True))


def by_elements(stable: Program, program: Program, matrices: Mapping[str, str], columns_first: bool = False) -> Program:
    """The same Jacobians of some outputs, forward: each tensor's derivatives by each element of a parameter."""
    wrt, starts = [p.name for p in program.parameters], offsets(stable)
    extended, dots = derivatives_by(program, wrt)
    names, tensors, made = names_of(extended), [], []
    for output, called in matrices.items():
        own, last = program.tensor(output), next(s for s in reversed(program.statements) if s.target == output)
        flat = sp.Integer(flat_size(stable))
        matrix = Tensor(names.fresh(called), (flat, *own.shape) if columns_first else (*own.shape, flat), Role.LET)
        tensors.append(matrix)
        rows = tuple(Range(index_symbol(names.fresh(f"o{axis}")), e) for axis, e in enumerate(own.shape))
        for parameter in wrt:
            if (dot := dots.get((output, parameter))) is None:
                continue
            extents = stable.tensor(parameter).shape
            axes = tuple(Range(index_symbol(names.fresh(f"i{axis}")), e) for axis, e in enumerate(extents))
            elements, places = [r.index for r in axes], [r.index for r in rows]
            column = starts[parameter] + row_major(elements, extents)
            at = (column, *places) if columns_first else (*places, column)
            value = Read(dot, *elements, *places)
            made.append(Statement(matrix.name, at, "=", value, (*rows, *axes), layer=last.layer, direction="tangent"))
    extended = with_directions(extended.with_statements([*extended.statements, *made], tensors))
    return without_objective(extended, results=tuple(t.name for t in tensors))


def cheaper(backward: Program, forward: Program) -> Program:
    """The forward program where its loops have less than half as many points: where few elements drive many steps."""

    def points(program: Program) -> sp.Expr:
        return sp.Add(*(typical(sp.Mul(*(r.extent for r in s.domain))) for s in program.statements))

    return forward if points(backward) > 2 * points(forward) else backward


@as_written()
def per_sample_gradients(stable: Program) -> Program:
    """The gradient of the objective with one row as its only one, for each row."""
    program = by_row(stable.live([str(stable.objective)]))
    output = str(program.objective)
    program, bars = reverse_sweep(without_objective(program), output, [p.name for p in stable.parameters], bare=False)
    tensors, made = dense_rows(stable, bars, "gradients")
    return asked(program, tensors[0], made)


@as_written()
def gradient(stable: Program) -> Program:
    """The objective and its gradient."""
    return replace(adjoint(stable.live([str(stable.objective)])), prediction=None, running=())


@as_written()
def loss_and_input_gradients(stable: Program) -> Program:
    """The objective and its derivatives by the inputs of real numbers."""
    inputs = [t.name for t in stable.of_role(Role.INPUT)]
    program = adjoint(stable.live([str(stable.objective)]), inputs)
    return replace(program, prediction=None, gradients=(), running=(), results=tuple(b for _, b in program.gradients))


def hessian_blocks(stable: Program, diagonal: bool = False) -> tuple[Program, list[tuple[str, Cotangents]]]:
    """The gradient's program, then for each parameter the cotangents of its gradient by it and those after it."""
    program = gradient_program(stable)
    names, sweeps = [p for p, _ in program.gradients], []
    for k, (parameter, bar) in enumerate(program.gradients):
        wrt = [parameter] if diagonal else names[k:]
        if any(s.target == bar for s in program.statements):
            program, bars = reverse_sweep(program, bar, wrt, bare=False)
            sweeps.append((parameter, bars))
    return program, sweeps


# ---- parts


def with_directions(program: Program, backward: str = "backward") -> Program:
    """The program with its tangents in kernels of their own, and what is backward in kernels of this name."""
    dots = {t.name for t in program.tensors if t.role is Role.ADJOINT}
    statements = []
    for s in program.statements:
        if s.direction == "forward" and s.target in dots:
            s = replace(s, direction="tangent")
        elif s.direction == "backward":
            s = replace(s, direction=backward)
        statements.append(s)
    return program.with_statements(statements)


def without_objective(
    program: Program, gradients: tuple[tuple[str, str], ...] = (), results: tuple[str, ...] = ()
) -> Program:
    """The program of which only these are asked."""
    return replace(program, objective=None, prediction=None, running=(), gradients=gradients, results=results)


def asked(program: Program, matrix: Tensor, statements: Sequence[Statement]) -> Program:
    """The program with a matrix made of blocks, of which only that is asked."""
    extended = program.with_statements([*program.statements, *statements], [matrix])
    return without_objective(extended, results=(matrix.name,))


RESIDUAL_JACOBIAN = "residual_jacobian"
REQUESTS = (
    Request("hessian_vector_product", "∂²loss/∂θ²·v, shape (P,)", hessian_vector_product),
    Request("hessian", "∂²loss/∂θ², shape (P, P)", hessian, by_offset=True),
    Request("hessian_diagonal", "The diagonal of ∂²loss/∂θ², shape (P,)", hessian_diagonal, vector="diagonal"),
    Request("residuals", "The residuals, one after another, shape (R,)", residuals, by_rows=True),
    Request(RESIDUAL_JACOBIAN, "∂residual/∂θ, shape (R, P)", residual_jacobian, by_offset=True, by_rows=True),
    Request(
        "per_sample_gradients",
        "Shape (N, P): in row n the gradient of the loss with row n as its only one",
        per_sample_gradients,
        by_offset=True,
    ),
    Request(
        "jacobian",
        "∂prediction/∂θ, the axes of the prediction before that of the parameters",
        jacobian,
        True,
        by_offset=True,
    ),
    Request("jacobian_vector_product", "∂prediction/∂θ·v, of the prediction's shape", jacobian_vector_product, True),
    Request("vector_jacobian_product", "uᵀ·∂prediction/∂θ, shape (P,)", vector_jacobian_product, True),
    Request(
        "gauss_newton_vector_product",
        "Jᵀ·H·J·v, shape (P,): J of the model's outputs by θ, H of the loss by them",
        gauss_newton_vector_product,
    ),
    Request(
        "loss_and_input_gradients",
        "(objective, dict from an input's name to the derivatives by it)",
        loss_and_input_gradients,
    ),
    Request(
        "evaluation_gradient",
        "(objective, its gradient) outside training: what `loss` returns, and a flat vector, shape (P,)",
        gradient,
        of_evaluation=True,
        vector="gradient",
    ),
    Request(
        "evaluation_input_gradients",
        "(objective, dict from an input's name to the derivatives by it) outside training",
        loss_and_input_gradients,
        of_evaluation=True,
    ),
)


def request_for(name: str, program: Program) -> Request:
    """The request by its name; `jacobian` is of the residuals where the program has some."""
    wanted = RESIDUAL_JACOBIAN if name == "jacobian" and program.residuals else name
    found = next(r for r in REQUESTS if r.function == wanted)
    return replace(found, function=name)
