"""The calls of kernels in order, and what a function that makes them readies before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import sympy as sp

from derivgen.code.routine import FACTORS, SIZE, Group, Linkage, Routine, Type, array, is_scaled, unknown_sizes
from derivgen.code.tree import (
    Arrays,
    Bind,
    Block,
    Borrowed,
    Bundle,
    Call,
    Code,
    Extent,
    For,
    Function,
    Item,
    Number,
    Return,
    View,
)
from derivgen.file.fixed_names import BESIDE_ARRAYS, BESIDE_SIZES, OF_MODES
from derivgen.form.expressions import Read, size_symbol, substitute
from derivgen.form.program import Tensor
from derivgen.plan.plan import Plan, field, fields_past
from derivgen.schedule.repeat import Run, arguments_of
from derivgen.schedule.schedule import Kernel
from derivgen.whole.places import Places, run_index

Names = tuple[str, ...]
After = Callable[[Sequence[Kernel]], Block]  # what follows the calls of these kernels

MEMORY, STATE, VIEWS, DATA, PREDICTION_DATA = "Memory", "State", "Views", "Data", "PredictionData"


def memory_of(t: Tensor) -> str:
    return "memory.integers" if t.integer else "memory.reals"


class Calls:
    """What functions with one set of buffers have in common.

    `inputs`: what a pass is given; `beside`: arguments that stand beside those of every module. `laid_out_by`,
    `work_of`: the function that lays the buffers out, and what they are for.
    """

    def __init__(
        self,
        plan: Plan,
        codes: Mapping[Kernel, Function],
        inputs: Callable[[str], Sequence[Tensor]],
        beside: Sequence[str] = (),
        laid_out_by: str = "buffers",
        work_of: str = "a step",
    ) -> None:
        self.plan, self.program, self.codes, self.inputs, self.beside = plan, plan.program, codes, inputs, beside
        self.laid_out_by, self.work_of = laid_out_by, work_of
        self.places = Places(plan)
        own = dict.fromkeys(k for schedule in plan.schedules for k in schedule.kernels)
        self.given = {k: arguments_of(plan.programs[k], k) for k in own}

    # ---- calls

    def of(self, word: str) -> Block:
        return self.of_kernels(self.plan.passes[word], word)

    def of_kernels(self, kernels: Sequence[Kernel], word: str, after: After | None = None) -> Block:
        """The first kernels of a pass in order, equal ones in a row as a loop; after each call, what is to follow."""
        runs = {run.start: run for run in self.plan.repeats.runs[[*self.plan.passes].index(word)]}
        found: list[Code] = []
        position = 0
        while position < len(kernels):
            run = runs.get(position, Run(position, 1, 1))
            blocks = [kernels[position + k * run.period :][: run.period] for k in range(run.count)]
            calls: list[Code] = []
            for same in zip(*blocks, strict=True):
                calls.append(self.call(same, self.inputs(word)))
                if after is not None:
                    calls += after(same)
            if run.count > 1:
                outcome = 0 if word == "backward" else -1  # the kernel of what a block gives
                layers = f"{blocks[0][outcome].layer}, …, {blocks[-1][outcome].layer}"
                found.append(For(run_index(), sp.Integer(run.count), tuple(calls), note=layers))
            else:
                found += calls
            position += run.count * run.period
        return tuple(found)

    def call(self, kernels: Sequence[Kernel], inputs: Sequence[Tensor]) -> Call:
        """The call of a kernel, or of equal ones in a loop; theta, bar, work and data of these inputs are at hand."""
        code = self.code(kernels[0])
        arguments: list[Arrays | Number] = [
            self.places.each(names) for names in zip(*(self.given[k] for k in kernels), strict=True)
        ]
        arguments += [FACTORS] if is_scaled(code) else []
        arguments += [Number(self.passed(code, size, inputs)) for size in unknown_sizes(code)]
        return Call(code.name, tuple(arguments))

    def passed(self, code: Function, size: str, inputs: Sequence[Tensor]) -> sp.Expr:
        """What a kernel is given as a size: its own integer, or that of the spec's run-time size."""
        if size in code.integers:
            return sp.Integer(code.integers[size])
        return self.size_of(code.named.get(size, size), inputs)

    def code(self, kernel: Kernel) -> Function:
        """The function of a kernel, or of the one that it shares one with."""
        return self.codes[self.plan.equal[kernel]]

    def bundles(self, kernels: Iterable[Kernel], inputs: Sequence[Tensor], buffers: bool = True) -> set[str]:
        """The bundles that calls of these kernels take their arguments from; `buffers`: these are laid out for them."""
        kernels = list(kernels)
        found = {self.places.owner(name) for k in kernels for name in self.given[k]}
        sizes = {size for k in kernels for size in spec_sizes(self.code(k))}
        sizes |= {*self.plan.runtime_sizes} if buffers else set()
        return found | {"data" for size in sizes if self.size_of(size, inputs) != 1}

    def size_of(self, size: str, inputs: Sequence[Tensor]) -> sp.Expr:
        """A run-time size, read off an input; 1 where none of them shows it, and so nothing depends on it."""
        t = next((t for t in inputs if size_symbol(size) in t.shape), None)
        return Extent(f"data.{field(t.name)}", t.shape.index(size_symbol(size))) if t is not None else sp.S.One

    def scalar(self, name: str) -> Read:
        """The one element of a tensor of rank 0."""
        match self.places.one(name):
            case Item(stack, index):
                return Read(stack, index, 0)
            case View(flat, start, _):
                return Read(flat, start)
            case place:
                return Read(str(place), 0)

    # ---- what is readied

    def names_of(self, tensors: Sequence[Tensor]) -> list[str]:
        """Names for arrays as arguments, past all that the functions refer to.

        Arrays come one by one from Python, since numba takes a NamedTuple for microseconds to look at.
        """
        taken = {
            *BESIDE_ARRAYS,
            *(code.name for code in self.codes.values()),
            *({*OF_MODES} if self.plan.has_modes else ()),
            *(f"i{axis}" for t in self.plan.labels for axis, _ in enumerate(t.shape)),
            *self.beside,
        }
        taken |= {*(name for name, _ in self.plan.rule.hyperparameters), *(str(s) for s, _ in self.plan.rule.slots)}
        return fields_past(tensors, taken)

    def arguments(self, tensors: Sequence[Tensor]) -> dict[str, Type]:
        """These tensors as arguments."""
        return dict(zip(self.names_of(tensors), tensors, strict=True))

    def data(self, kind: str, tensors: Sequence[Tensor]) -> Bind:
        """What is given, gathered under one name."""
        names = zip(tensors, self.names_of(tensors), strict=True)
        return Bind("data", Bundle(kind, tuple((field(t.name), Borrowed(name)) for t, name in names)))

    def memory(self) -> Bind:
        return Bind("memory", Bundle(MEMORY, tuple((name, Borrowed(name)) for name in self.plan.memories)))

    @property
    def memories(self) -> dict[str, Type]:
        """The arrays that buffers lie in, as arguments."""
        extents = {"reals": self.plan.storage.reals, "integers": self.plan.storage.integers}
        more = 2 if self.plan.schedule.in_place else 0  # the factors of products
        extents["reals"] += more
        return {name: array(name, extents[name], integer=name == "integers") for name in self.plan.memories}

    def work(self, inputs: Sequence[Tensor], known: Mapping[str, sp.Expr] | None = None) -> Bind:
        """The buffers for run-time sizes as the inputs show them, but those that are known."""
        sizes = [(known or {}).get(size, self.size_of(size, inputs)) for size in self.plan.runtime_sizes]
        return Bind("work", Call(self.laid_out_by, ("memory", *map(Number, sizes))))

    def buffers(self) -> Routine:
        """The views of a workspace's memory that a step works in."""
        storage, named = self.plan.storage, {size_symbol(s): argument_symbol(s) for s in self.plan.runtime_sizes}
        parts = []
        for t in self.plan.workspace:
            memory = memory_of(t)
            start, *shape = (substitute(e, named) for e in (storage.starts[t.name], *t.shape))
            parts.append((field(t.name), View(memory, start, tuple(shape))))
        shared = len({*storage.starts.values()}) < len(storage.starts)
        sharing = "; those of one line, which are never needed at once, share a part of it" if shared else ""
        slots = tuple((memory_of(users[0]), tuple(field(t.name) for t in users)) for users in storage.slots)
        memory_type = in_sizes(self.memory_type, named)
        sizes = {argument_symbol(s).name: SIZE for s in self.plan.runtime_sizes}
        return Routine(
            self.laid_out_by,
            {"memory": memory_type, **sizes},
            (Return((Bundle(VIEWS, tuple(parts), slots),)),),
            (f"The buffers of {self.work_of}, as views of memory{sharing}.",),
            Linkage.LAYOUT,
            in_sizes(self.work_type, named),
        )

    # ---- types

    @property
    def memory_type(self) -> Group:
        return Group(MEMORY, self.memories, loose=True)  # type: ignore[arg-type]

    @property
    def work_type(self) -> Group:
        return Group(VIEWS, {field(t.name): t for t in self.plan.workspace})

    def data_type(self, kind: str, tensors: Sequence[Tensor]) -> Group:
        return Group(kind, {field(t.name): t for t in tensors})


def spec_sizes(code: Function) -> list[str]:
    """The run-time sizes that a kernel is given, as the spec calls them."""
    return [code.named.get(size, size) for size in unknown_sizes(code) if size not in code.integers]


def in_sizes(group: Group, named: Mapping[sp.Symbol, sp.Symbol]) -> Group:
    fields = {name: tensor_in(t, named) for name, t in group.fields.items()}
    return Group(group.kind, fields, group.loose)


def tensor_in(t: Tensor, named: Mapping[sp.Symbol, sp.Symbol]) -> Tensor:
    return array(t.name, *(substitute(e, named) for e in t.shape), integer=t.integer)


def size_argument(size: str | sp.Symbol) -> str:
    """A run-time size as an argument, past the names that functions of sizes have besides."""
    name = str(size)
    return f"{name}_" if name.rstrip("_") in BESIDE_SIZES else name


def argument_symbol(size: str) -> sp.Symbol:
    return size_symbol(size_argument(size))
