"""The functions of derivatives that `model.second_order` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sympy as sp

from derivgen.code.names import Locals
from derivgen.code.routine import Group, Linkage, Routine, Type, array
from derivgen.code.tree import Arrays, Bind, Block, Borrowed, Call, Function, Kind, Return
from derivgen.form.program import Tensor
from derivgen.plan.derivative_plan import DerivativePlan
from derivgen.schedule.schedule import Kernel
from derivgen.whole.calls import DATA, PREDICTION_DATA, Calls
from derivgen.whole.modes import SEED, draws

WHOLE = ("forward", "backward")  # passes over the whole model
VECTOR = "v"  # a flat vector that is given


class Derivative:
    """The functions of one kind of derivatives.

    `given`: what callers pass besides inputs, by its name; `returned`: the arrays that become the results.
    """

    def __init__(
        self, plan: DerivativePlan, codes: Mapping[Kernel, Function], tensors: Group, functions: Locals
    ) -> None:
        """`tensors`: the type of a flat vector's parts; `functions`: the names of the module's functions."""
        self.plan, self.tensors, self.functions = plan, tensors, functions
        self.function, self.vector = plan.function, plan.request.vector
        own = plan.local_names
        count = plan.whole.parameter_count
        self.given: dict[str, Type] = {VECTOR: array(VECTOR, count)} if plan.directions else {}
        self.given |= {own[t.name]: t for t in plan.weights}
        self.returned: dict[str, Type] = {own[t.name]: t for t in plan.results}
        self.returned = self.returned or {self.vector: array(self.vector, count)}
        self.seed = [SEED] if plan.drawn(plan.schedule) else []
        self.calls = Calls(
            plan,
            codes,
            lambda word: plan.given_inputs,
            (*self.given, *self.returned),
            f"{self.function}_buffers",
            f"`{self.function}`",
        )

    def routines(self) -> list[Routine]:
        outputs = self.outputs if self.is_split else []
        buffers = [self.calls.buffers()] if self.plan.workspace else []
        return [*buffers, *map(self.of_output, outputs), self.kernel()]

    @property
    def is_split(self) -> bool:
        """Whether each output's derivatives have a function of their own, which keeps all of them short."""
        return len(self.plan.passes) > len(WHOLE) + 1

    def of_output(self, output: str) -> Routine:
        """The function of one output's derivatives."""
        words = (f"The derivatives of {output}, for `{self.function}`.",)
        types = {**self.bundled, **self.returned}
        arguments = {name: types[name] for name in self.shared}
        return Routine(self.function_of(output), arguments, self.calls.of(output), words, Linkage.PASTED)

    def function_of(self, output: str) -> str:
        return self.functions.of((self.function, output), f"{self.function}_{output}")

    @property
    def outputs(self) -> list[str]:
        return [word for word in self.plan.passes if word not in WHOLE]

    @property
    def bundled(self) -> dict[str, Type]:
        """The bundles that calls of kernels may take their arguments from."""
        data = self.calls.data_type(self.kind, self.data)
        parts = dict.fromkeys(("theta", "dot", "bar"), self.tensors)
        return {"theta": parts["theta"], "data": data, "work": self.calls.work_type, **parts}

    @property
    def kind(self) -> str:
        return PREDICTION_DATA if self.plan.request.of_prediction else DATA

    @property
    def data(self) -> Sequence[Tensor]:
        return (*self.plan.given_inputs, *self.plan.constants)

    @property
    def shared(self) -> list[str]:
        """What the functions of the outputs are given."""
        bundles = self.bundles_of(self.outputs)
        own = [name for name in self.returned if name != self.vector] or ["bar"]
        return [*(name for name in ("theta", "data", "work") if name in bundles), *own]

    def bundles_of(self, words: Iterable[str], buffers: bool = False) -> set[str]:
        """The bundles that some passes take their arguments from."""
        kernels = [k for word in words for k in self.plan.passes[word]]
        return self.calls.bundles(kernels, self.plan.given_inputs, buffers)

    def all_calls(self) -> Block:
        if not self.is_split:
            return tuple(code for word in self.plan.passes for code in self.calls.of(word))
        calls = (code for word in WHOLE for code in self.calls.of(word))
        shared: tuple[Arrays, ...] = tuple(self.shared)
        return (*calls, *(Call(self.function_of(output), shared) for output in self.outputs))

    def kernel(self) -> Routine:
        plan = self.plan
        needed = self.bundles_of(plan.passes, buffers=bool(plan.workspace)) | {*(self.shared if self.is_split else ())}
        vectors = [("theta", "parameters"), ("dot", VECTOR), ("bar", self.vector)]
        alone = (name for name in (*self.given, *self.returned) if name not in (VECTOR, self.vector))
        objective = plan.program.objective
        body = (
            *(Bind(name, Call("split", (Borrowed(vector),))) for name, vector in vectors if name in needed),
            *(Bind(name, Borrowed(name)) for name in alone),
            *((self.calls.data(self.kind, self.data),) if "data" in needed else ()),
            *((self.calls.memory(), self.calls.work(plan.given_inputs)) if plan.workspace else ()),
            *draws(plan, self.calls.places, plan.schedule, sp.S.Zero),
            *self.all_calls(),
            *((Return((self.calls.scalar(objective),)),) if objective is not None else ()),
        )
        words = f"What `{self.function}` returns, for callers in Python."
        if plan.request.by_offset:
            starts = ", ".join(f"{t.name} {plan.whole.offsets[t.name]}" for t in plan.program.parameters)
            words = f"What `{self.function}` returns, for callers in Python, where parameters start at: {starts}"
        arguments: dict[str, Type] = {"parameters": array("parameters", plan.whole.parameter_count)}
        arguments |= self.given | self.returned | self.calls.arguments(self.data)
        arguments |= (self.calls.memories if plan.workspace else {}) | dict.fromkeys(self.seed, Kind.INTEGER)
        return Routine(f"{self.function}_kernel", arguments, body, (words,))
