"""The functions of derivatives that `model.second_order` asks for, as callers in Python have them."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.file.contract import EVALUATION_GRADIENT
from derivgen.form.program import Tensor
from derivgen.form.sizes import element_count
from derivgen.plan.derivative_plan import DerivativePlan
from derivgen.print.kernels import integer_text
from derivgen.print.layout import STEP, WIDTH, bracketed, indented
from derivgen.print.module.public import block
from derivgen.print.templates import environment
from derivgen.print.text import tuple_lines, wrapped
from derivgen.whole.calls import size_argument
from derivgen.whole.derivatives import VECTOR
from derivgen.whole.modes import SEED


class Derivative:
    """Writes the function of one kind of derivatives for callers in Python."""

    def __init__(self, plan: DerivativePlan) -> None:
        self.plan, self.program, self.function, self.vector = plan, plan.program, plan.function, plan.request.vector
        self.draws = [SEED] if plan.drawn(plan.schedule) else []
        # Names of their own among the arguments: what is given, then what is returned.
        self.given = [*([VECTOR] if plan.directions else []), *(plan.local_names[t.name] for t in plan.weights)]
        self.returned = [plan.local_names[t.name] for t in plan.results] or [plan.request.vector]

    def public(self) -> list[str]:
        plan = self.plan
        inputs = plan.given_inputs
        entries = self.entries(inputs)
        constants = [f"CONSTANT_{t.name}" for t in plan.constants]
        memory = ["*memory"] if plan.workspace else []
        passed = ["parameters", *self.given, *self.returned, "*arrays", *constants, *memory, *self.draws]
        call = bracketed(f"{self.function}_kernel(", passed, ")", depth=1)
        if self.program.objective is not None:
            call = bracketed(f"loss = {self.function}_kernel(", passed, ")", depth=1)
        weights, made = [self.weight_check(t) for t in plan.weights], [*self.kept_memory(), *self.allocated()]
        return [
            environment()
            .get_template("functions/derivative.py.jinja")
            .render(
                signature="\n".join(bracketed(f"def {self.function}(", self.signature(inputs), "):")),
                summary=f"\n{STEP}".join(wrapped(f'"""{plan.request.meaning}.', WIDTH - len(STEP), "")),
                drawing=block(["Random numbers are those of seed and step 0."] if self.draws else []),
                arrays=block(tuple_lines("arrays = ", [t.name for t in inputs]) if inputs else ["arrays = ()"]),
                vectors=[VECTOR] if plan.directions else [],
                seed=block([f'{SEED} = check_count("{SEED}", {SEED}, 0)'] if self.draws else []),
                entries=entries,
                sizes="sizes" if any("sizes" in line for line in (*weights, *made)) else "_",
                labels=block([f"check_labels({entries}, arrays)"] if any(t.integer for t in inputs) else []),
                weights=block(weights),
                made=block(made),
                call=block([*call, *(self.gathered() if self.is_sparse else [])]),
                result=self.result(),
            )
            .rstrip("\n"),
            *([self.new_memory()] if plan.workspace else []),
        ]

    def signature(self, inputs: Sequence[Tensor]) -> list[str]:
        seed = ["*", f"{SEED}=0"] if self.draws else []
        return ["parameters", *self.given, *(t.name for t in inputs), *seed]

    def entries(self, inputs: Sequence[Tensor]) -> str:
        """The rows of INPUTS that are passed."""
        if list(inputs) == list(self.plan.whole.inputs):
            return "INPUTS"
        rows = [f"INPUTS[{self.plan.whole.inputs.index(t)}]" for t in inputs]
        return f"({', '.join(rows)}{',' if len(rows) == 1 else ''})"

    def weight_check(self, t: Tensor) -> str:
        shape = ", ".join(str(e) if e.is_Integer else f'"{e}"' for e in t.shape)
        entry = f'Input("{t.name}", ({shape}{"," if len(t.shape) == 1 else ""}), "{self.plan.dtype}", None, None)'
        name = self.plan.local_names[t.name]
        return f"{name} = check_input({entry}, {name}, dict(sizes))"

    @property
    def is_sparse(self) -> bool:
        """Whether entries come with their columns."""
        return any(t.integer for t in self.plan.results)

    @property
    def memories(self) -> list[str]:
        return self.plan.memories if self.plan.workspace else []

    def kept_memory(self) -> list[str]:
        """The line that has the memory for the buffers at hand."""
        sizes = [f'sizes["{size}"]' for size in self.plan.runtime_sizes]
        given = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        return [f"memory = kept_memory({self.function}_memory, {given})"] if self.plan.workspace else []

    def allocated(self) -> list[str]:
        """Lines that make what is returned; zeros, where kernels write parts of it only."""
        written = {name for k in self.plan.schedule.kernels for name in k.written}
        lines = []
        for t in self.plan.results:
            extents = [integer_text(extent, 'sizes["{}"]'.format) for extent in t.shape or (sp.Integer(1),)]
            shape = f"({', '.join(extents)}{',' if len(extents) == 1 else ''})"
            name, filled = self.plan.local_names[t.name], self.fills(t)
            if t.integer:
                made = f"np.empty({shape}, np.int64)" if filled else f"np.full({shape}, -1, np.int64)"
            else:
                made = f"np.{'empty' if filled else 'zeros'}({shape}, real)"
            lines.append(f"{name} = {made}")
        if not lines:
            bars = dict(self.program.gradients)
            whole = all(bars.get(t.name) in written for t in self.plan.whole.program.vector)
            lines.append(f"{self.vector} = np.{'empty' if whole else 'zeros'}_like(parameters)")
        return lines

    def fills(self, t: Tensor) -> bool:
        """Whether what is assigned to a result, each element once, is all of it."""
        writes = [s for k in self.plan.schedule.kernels for s in k.statements if s.target == t.name]
        plain = all(s.operator == "=" and s.guard == sp.true for s in writes)
        counts = (sp.Mul(*(r.extent for r in s.domain)) for s in writes)
        return plain and sp.expand(sp.Add(*counts) - element_count(t)) == 0

    def result(self) -> str:
        """What is returned: a dict by input beside an objective, and a float of a single number."""
        values = [
            name if t.shape else f"float({name}[0])"
            for name, t in zip(self.returned, self.plan.results or [None], strict=True)
            if t is not None
        ]
        if self.plan.request.by_rows:
            return self.rows()
        if self.program.objective is None:
            return ", ".join(values or self.returned)
        if self.function == EVALUATION_GRADIENT:
            return f"float(loss), {self.vector}"
        items = ", ".join(f'"{t.of}": {v}' for t, v in zip(self.plan.results, values, strict=True))
        return f"float(loss), {{{items}}}"

    def gathered(self) -> list[str]:
        """The line that puts entries and columns together."""
        names = self.returned
        pairs = [f"({entries}, {columns})" for entries, columns in zip(names[::2], names[1::2], strict=True)]
        return tuple_lines("parts = ", pairs)

    def rows(self) -> str:
        """One array along the axis of all residuals, sparse where entries come with their columns."""
        names = self.returned
        if self.is_sparse:
            return "sparse_rows(parts)"
        shape = "-1)" if self.function == "residuals" else f"{self.plan.whole.parameter_count}, -1).T"
        flat = [f"{name}.reshape({shape}" for name in names]
        return flat[0] if len(flat) == 1 else f"np.concatenate(({', '.join(flat)}))"

    def new_memory(self) -> str:
        storage, sizes = self.plan.storage, list(self.plan.runtime_sizes)
        counts = [f"aligned({integer_text(storage.reals, size_argument)})"]
        if len(self.plan.memories) > 1:
            counts.append(f"np.empty({integer_text(storage.integers, size_argument)}, np.int64)")
        head = bracketed(f"def {self.function}_memory(", [size_argument(size) for size in sizes], "):")
        doc = f'"""Memory for the buffers of `{self.function}` for these sizes."""'
        return "\n".join([*head, *indented([doc, *bracketed("return Memory(", counts, ")", depth=1)])])
