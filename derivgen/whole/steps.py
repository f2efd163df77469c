"""The functions of the whole model: the forward pass, a step, the loops over batches and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy as sp

from derivgen.code.extents import UNROLLED
from derivgen.code.routine import ASSIGN, FACTORS, TRUTH, Group, Linkage, Routine, Type, array
from derivgen.code.tree import (
    Arrays,
    Assign,
    Bind,
    Block,
    Borrowed,
    Break,
    Bundle,
    Call,
    Code,
    Copied,
    Extent,
    Fill,
    For,
    Function,
    If,
    Kind,
    Let,
    Number,
    Receive,
    Return,
    View,
)
from derivgen.form.expressions import Read, index_symbol, size_symbol
from derivgen.form.program import Tensor
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.plan import count, field
from derivgen.plan.ranges import in_step
from derivgen.schedule.schedule import Kernel
from derivgen.whole.calls import DATA, PREDICTION_DATA, STATE, VIEWS, Calls
from derivgen.whole.labels import label_check
from derivgen.whole.library import PARTS
from derivgen.whole.modes import ROW, STEP_NUMBER, Modes
from derivgen.whole.rule import Rule, range_calls

# What an epoch returns where a row number or a label is out of range.
REFUSED = Return((sp.true, sp.S.Zero))

PARAMETERS, GRADIENT, STEPS = "parameters", "gradient", "steps"
OBJECTIVE, MEAN, SEEN, ROWS, SHARE = "objective", "mean", "seen", "rows", "share"


def rows_in_order() -> Extent:
    return Extent("order", 0)


def batch_size() -> Read:
    return Read("batch_size")


def row_index() -> sp.Symbol:
    """The position of a row in the order of rows."""
    return index_symbol("i")


def batch_start() -> sp.Symbol:
    """The position of a batch's first row."""
    return index_symbol("start")


class Steps:
    """Makes them."""

    def __init__(self, plan: ModulePlan, codes: Mapping[Kernel, Function], rule: Rule) -> None:
        self.plan, self.program, self.rule = plan, plan.program, rule
        self.calls, self.modes = Calls(plan, codes, self.inputs_of), Modes(plan)
        self.in_place = plan.training.in_place
        self.vector = (sp.Integer(plan.parameter_count),)

    def inputs_of(self, word: str) -> Sequence[Tensor]:
        return self.plan.prediction_inputs if word == "prediction" else self.plan.inputs

    # ---- types of arguments

    def flat(self, *names: str) -> dict[str, Type]:
        return {name: array(name, *self.vector) for name in names}

    @property
    def tensors(self) -> Group:
        whole = {self.plan.flat: array(self.plan.flat, *self.vector)}
        return Group(VIEWS, {t.name: t for t in self.program.vector} | whole)

    @property
    def passed(self) -> dict[str, Type]:
        """What the passes over the kernels are given."""
        return {"data": self.calls.data_type(DATA, self.plan.given), "work": self.calls.work_type}

    @property
    def slots(self) -> dict[str, Tensor]:
        return {STEPS: array(STEPS, 1, integer=True), **self.rule.slots}

    @property
    def hyperparameters(self) -> dict[str, Type]:
        return dict.fromkeys((name for name, _ in self.plan.rule.hyperparameters), Kind.DOUBLE)

    def outside(self, *more: dict[str, Type]) -> dict[str, Type]:
        """Arguments from callers in Python: parameters, some more, then the inputs and the memory."""
        arguments = self.flat(PARAMETERS)
        for part in (*more, self.calls.arguments(self.plan.given), self.calls.memories):
            arguments |= part
        return arguments

    # ---- passes

    def split(self) -> Routine:
        words = ("The parts of a flat vector, shape (P,), as views, by the names of PARAMETERS.",)
        body = (Return((Call(PARTS, ("flat",)),)),)
        return Routine("split", self.flat("flat"), body, words, Linkage.LAYOUT, self.tensors)

    def forward(self, name: str = "forward", word: str = "forward") -> Routine:
        words = ("The forward pass; returns the objective.",)
        if name != "forward":
            words = ("The forward pass of `loss`, outside training; returns the objective.",)
        body = (*self.calls.of(word), Return((self.calls.scalar(str(self.program.objective)),)))
        return Routine(name, {"theta": self.tensors, **self.passed}, body, words, Linkage.PASTED)

    def step(self) -> Routine:
        written = {name for k in self.plan.training.kernels for name in k.written}
        unused = [bar for _, bar in self.program.gradients if bar not in written]
        fills = (cleared(self.calls.places.one(bar)) for bar in unused)
        forward: Block = (Receive(Read(OBJECTIVE), "=", Call("forward", ("theta", "data", "work"))),)
        result = Read(OBJECTIVE)
        if self.plan.objective is not None:  # what the step computes itself
            forward, result = self.calls.of("first"), self.calls.scalar(str(self.program.objective))
        words = "The forward and the backward pass; fills the parts of the gradient, and returns the objective."
        if self.in_place:
            words = "The forward and the backward pass; products of matrices go to `into`, other gradients to bar."
        body = (*forward, *self.calls.of("backward"), *fills, Return((result,)))
        direct: dict[str, Type] = {"into": self.tensors, FACTORS: array(FACTORS, 2)} if self.in_place else {}
        arguments = {"theta": self.tensors, "bar": self.tensors, **direct, **self.passed}
        return Routine("step", arguments, body, (words,), Linkage.PASTED)

    def step_call(self, into: str, factors: str, data: str) -> Call:
        """The call of a step; where products go, and by which factors, is said where that is not always the same."""
        direct = (into, factors) if self.in_place else ()
        return Call("step", ("theta", "bar", *direct, data, "work"))

    def update(self, target: Read, data: str) -> Block:
        """A step and the update after it, or in part in it."""
        step = Receive(target, "=", self.step_call("theta", FACTORS, data))
        rates = tuple(Number(Read(name), Kind.DOUBLE) for name in self.hyperparameters)
        draws, taking = self.modes.drawing(Read("state.step", 0)), self.modes.taking()
        if not self.in_place:
            return (*draws, step, Call("update_kernel", (PARAMETERS, GRADIENT, "state", *rates)), *taking)
        counted = Assign(Read("state.step", 0), "+=", sp.S.One)
        calls = (c for starts, length in in_step(self.ranges_of_bars()) for c in range_calls(starts, length, rates))
        return (*draws, counted, *self.rule.factors, step, *calls, *taking)

    def ranges_of_bars(self) -> list[tuple[int, int]]:
        """The stretches of the flat vector that a step does not update itself."""
        ranges: list[tuple[int, int]] = []
        offset = 0
        bars = dict(self.program.gradients)
        for t in self.program.parameters:
            stop = offset + count(t)
            if bars[t.name] not in self.in_place:
                joined = ranges.pop()[0] if ranges and ranges[-1][1] == offset else offset
                ranges.append((joined, stop))
            offset = stop
        return ranges

    # ---- for callers in Python

    def prediction(self) -> Routine:
        assert self.plan.prediction is not None
        schedule, inputs = self.plan.prediction, self.plan.prediction_inputs
        name = str(self.plan.prediction_name)
        result: Copied | Read = Copied(self.calls.places.one(name))
        if not schedule.program.tensor(name).shape:
            result = self.calls.scalar(name)
        given = (*inputs, *self.plan.constants)
        needed = self.calls.bundles(self.plan.passes["prediction"], inputs)
        body = (
            *((self.theta(),) if "theta" in needed else ()),
            *((self.calls.data(PREDICTION_DATA, given),) if "data" in needed else ()),
            self.calls.memory(),
            self.calls.work(inputs),
            *self.modes.draws(schedule, sp.S.Zero, Read(ROW)),
            *self.calls.of("prediction"),
            Return((result,)),
        )
        arguments = self.flat(PARAMETERS) | self.calls.arguments(given) | self.calls.memories
        arguments |= self.modes.arguments(self.modes.prediction_arguments())
        words = ("The forward pass as far as the prediction needs it; returns the prediction.",)
        return Routine("prediction_kernel", arguments, body, words)

    def theta(self) -> Bind:
        return Bind("theta", Call("split", (Borrowed(PARAMETERS),)))

    def loss(self) -> Routine:
        forward: Block = (
            *self.modes.drawing(sp.S.Zero, Read(ROW)),
            *returned(Call("forward", ("theta", "data", "work"))),
        )
        if (evaluation := self.plan.evaluation) is not None:
            own = returned(Call("evaluate", ("theta", "data", "work")))
            forward = (If(sp.Symbol("training"), forward), *self.modes.draws(evaluation, sp.S.Zero, Read(ROW)), *own)
        body = (self.theta(), *self.whole_data(), *forward)
        arguments = self.outside() | self.modes.arguments(self.modes.loss_arguments())
        words = ("The objective, for callers in Python.",)
        return Routine("loss_kernel", arguments, body, words, loose=self.memories)

    def gradient(self) -> Routine:
        bar = Bind("bar", Call("split", (Borrowed(GRADIENT),)))
        before = (*self.modes.without_gradient(GRADIENT), *self.whole_data())
        draws = self.modes.drawing(Read(STEP_NUMBER), Read(ROW))
        body = (self.theta(), bar, *before, *draws, *returned(self.step_call("bar", ASSIGN, "data")))
        arguments = self.outside(self.flat(GRADIENT)) | self.modes.arguments(self.modes.gradient_arguments())
        words = ("A step, for callers in Python.",)
        return Routine("gradient_kernel", arguments, body, words, loose=self.memories)

    @property
    def memories(self) -> frozenset[str]:
        """The arguments that are as long as the largest block of rows needs."""
        return frozenset(self.calls.memories)

    def whole_data(self) -> Block:
        """What readies data and memory for a step on all the data."""
        return (self.calls.data(DATA, self.plan.given), self.calls.memory(), self.calls.work(self.plan.inputs))

    # ---- loops over batches

    def gather(self) -> Routine:
        n, first = index_symbol("n"), self.plan.gathered[0]
        rows = Extent(f"work.{field(first.name)}", 0)
        row = Let("row", Read("order", Read("start") + n), Kind.INTEGER)
        copies = (self.copied_row(t, n) for t in self.plan.gathered)
        axis = size_symbol(str(self.plan.sample_axis))
        gathered = {field(t.name) for t in self.plan.gathered}
        work = self.calls.work_type
        fields = {
            name: array(t.name, *(rows if e == axis else e for e in t.shape), integer=t.integer)
            for name, t in work.fields.items()
            if name in gathered
        }
        rest = {name: t for name, t in work.fields.items() if name not in gathered}
        arguments: dict[str, Type] = {"data": self.calls.data_type(DATA, self.plan.given), "order": order_array()}
        arguments |= {"start": Kind.INTEGER, "work": Group(work.kind, fields | rest, loose=True)}
        return Routine(
            "gather",
            arguments,
            (For(n, rows, (row, *copies)),),
            ("The rows order[start], order[start + 1], … of the inputs, into the workspace.",),
            Linkage.INTERNAL,
            below={"order": axis},
            given=(sp.Ge(Read("start"), 0), sp.Le(Read("start") + rows, rows_in_order())),
        )

    def copied_row(self, t: Tensor, n: sp.Symbol) -> Code:
        """A row of an input, element by element."""
        name, rank = field(t.name), len(t.shape)
        names = ["i", "j", "k"][: rank - 1] if rank <= 4 else [f"i{axis}" for axis in range(1, rank)]
        inner = [index_symbol(i) for i in names]
        code: Code = Assign(Read(f"work.{name}", n, *inner), "=", Read(f"data.{name}", Read("row"), *inner))
        for axis in reversed(range(1, rank)):
            extent, shown = t.shape[axis], None
            if not extent.is_Integer:
                extent = Extent(f"work.{name}", axis)
            elif extent > UNROLLED:
                shown = (f"data.{name}", axis)  # whose length LLVM does not know: else it calls a function for each row
            code = For(inner[axis - 1], extent, (code,), shown=shown)
        return code

    def epoch(self) -> Routine:
        last = If(sp.And(sp.Symbol("drop_last"), sp.Lt(rows_in_order() - batch_start(), batch_size())), (Break(),))
        body = (
            self.calls.data(DATA, self.plan.given),
            *self.range_checks(),
            *self.readied(Bind("state", self.state())),
            *self.batches((last,), (*self.update(Read(OBJECTIVE), "batch"), *mean_of_rows())),
            Return((sp.false, Read(MEAN))),
        )
        slots: dict[str, Type] = dict(self.slots)
        more: dict[str, Type] = {"order": order_array(), "batch_size": Kind.INTEGER, "drop_last": TRUTH}
        arguments = self.outside(self.flat(GRADIENT), slots, more)
        arguments |= self.modes.arguments(self.modes.step_arguments()) | self.hyperparameters
        words = ("(whether a row number or a label is out of range, else the mean loss by rows)",)
        return Routine("epoch", arguments, body, words, given=(sp.Ge(batch_size(), 1),))

    def batches(self, before: Block, each: Block) -> Block:
        """The loop over batches, the last of which may be smaller, with what is done for each, and before."""
        rows = Let(ROWS, sp.Min(batch_size(), rows_in_order() - batch_start()), Kind.INTEGER)
        loop = (*before, rows, *self.gathered(Read(ROWS), batch_start()), *each)
        start = Let(MEAN, sp.S.Zero), Let(SEEN, sp.S.Zero, Kind.INTEGER)
        return (*start, For(batch_start(), rows_in_order(), loop, step=batch_size()))

    def gathered(self, rows: sp.Expr, first: sp.Expr) -> Block:
        """What readies so many rows as a batch, from this place of their order on."""
        owners = ((field(t.name), "work" if t in self.plan.gathered else "data") for t in self.plan.given)
        return (
            self.calls.work(self.plan.inputs, {str(self.plan.sample_axis): rows}),
            Call("gather", ("data", "order", Number(first), "work")),
            Bind("batch", Bundle(DATA, tuple((name, f"{owner}.{name}") for name, owner in owners))),
        )

    def gradient_by_batches(self) -> Routine:
        """The mean gradient of several batches, for callers in Python."""
        step = Receive(Read(OBJECTIVE), "=", self.step_call("bar", ASSIGN, "batch"))
        total = Read("total", row_index())
        stop = sp.Integer(self.plan.trained_count) if self.plan.untrained else Extent("total", 0)
        adding = For(row_index(), stop, (Assign(total, "+=", (Read(GRADIENT, row_index()) - total) * Read(SHARE)),))
        number = Read("number")
        drawing = self.modes.drawing(number)
        counted = ((Let(number.tensor, Read("first_step"), Kind.INTEGER),), (Assign(number, "+=", sp.S.One),))
        first, then = counted if drawing else ((), ())
        each = (*drawing, *then, step, *self.modes.taking(), *mean_of_rows(), adding)
        body = (
            self.calls.data(DATA, self.plan.given),
            *self.range_checks(),
            *self.readied(),
            *first,
            *self.batches((), each),
            Return((sp.false, Read(MEAN))),
        )
        more: dict[str, Type] = {"order": order_array(), "batch_size": Kind.INTEGER}
        arguments = self.outside(self.flat(GRADIENT, "total"), more)
        arguments |= self.modes.arguments(self.modes.batch_arguments())
        words = "(whether a row number or a label is out of range, the mean loss); total becomes the mean gradient"
        return Routine("gradient_by_batches", arguments, body, (words,), given=(sp.Ge(batch_size(), 1),))

    def range_checks(self, refused: Return = REFUSED) -> Block:
        """What ends the epoch where a row number, or a label that it will read, is out of range."""
        gathered = [t for t in self.plan.gathered if t.integer]
        row, rows = Read("order", row_index()), Extent(f"data.{field(self.plan.gathered[0].name)}", 0)
        checks: list[Code] = [If(sp.Or(sp.Lt(row, 0), sp.Ge(row, rows)), (refused,))]
        for t in gathered:
            checks.append(label_check(t, f"data.{field(t.name)}", refused, row))
        whole = [t for t in self.plan.labels if t not in gathered]
        loops = (label_check(t, f"data.{field(t.name)}", refused) for t in whole)
        return (*loops, For(row_index(), rows_in_order(), tuple(checks)))

    def readied(self, *more: Code) -> Block:
        """What readies parameters and gradient for steps that change them."""
        factors = View("memory.reals", Extent("memory.reals", 0) - 2, (sp.Integer(2),))
        return (
            Bind(PARAMETERS, Borrowed(PARAMETERS)),
            Bind(GRADIENT, Borrowed(GRADIENT)),
            *more,
            self.calls.memory(),
            Bind("theta", Call("split", (PARAMETERS,))),
            Bind("bar", Call("split", (GRADIENT,))),
            *((Bind(FACTORS, factors),) if self.in_place and more else ()),
        )

    def state(self) -> Bundle:
        fields = (("step", STEPS), *((slot, slot) for slot in self.plan.slots))
        return Bundle(STATE, tuple((own, Borrowed(name)) for own, name in fields))

    def descent(self) -> Routine:
        body = (
            self.calls.data(DATA, self.plan.given),
            *self.readied(Bind("state", self.state())),
            self.calls.work(self.plan.inputs),
            For(row_index(), Extent("losses", 0), self.update(Read("losses", row_index()), "data")),
        )
        slots: dict[str, Type] = dict(self.slots)
        arguments = self.outside(self.flat(GRADIENT), slots, {"losses": array("losses", Extent("losses", 0))})
        arguments |= self.modes.arguments(self.modes.step_arguments()) | self.hyperparameters
        return Routine("descent", arguments, body, ("As many steps as there are losses, on all the data.",))


def cleared(place: Arrays) -> Fill:
    if not isinstance(place, View):
        return Fill(str(place), sp.S.Zero)
    return Fill(place.flat, sp.S.Zero, place.start, place.start + sp.Mul(*place.shape))


def order_array() -> Tensor:
    return array("order", rows_in_order(), integer=True)


def mean_of_rows() -> Block:
    """The mean by rows so far, in which a batch has the share of its rows."""
    return (
        Assign(Read(SEEN), "+=", Read(ROWS)),
        Let(SHARE, Read(ROWS) / Read(SEEN)),
        Assign(Read(MEAN), "+=", (Read(OBJECTIVE) - Read(MEAN)) * Read(SHARE)),
    )


def returned(call: Call) -> Block:
    """A function's number, returned in turn."""
    return (Return((call,)),)
