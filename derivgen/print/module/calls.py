"""Functions that call kernels: the calls in order, and what such a function readies before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import sympy as sp

from derivgen.file.fixed_names import BESIDE_ARRAYS, BESIDE_SIZES
from derivgen.form.expressions import size_symbol
from derivgen.form.program import Tensor
from derivgen.plan.plan import Plan, field, fields_past
from derivgen.print.kernels import ALPHA_BETA, KernelText, integer_text
from derivgen.print.layout import bracketed, indented
from derivgen.print.module.modes import taken_names
from derivgen.print.module.places import Places, view_lines
from derivgen.print.text import compiled
from derivgen.schedule.repeat import Run
from derivgen.schedule.schedule import Kernel

After = Callable[[Sequence[Kernel], int], list[str]]  # (the kernels of a call, depth) → lines


class KernelCalls:
    """Writes what all functions that call kernels have."""

    # What holds the buffers, the function that makes it, and what they are for.
    workspace, laid_out_by, work_of = "Workspace", "buffers", "a step"
    # Arguments that stand beside those of every module.
    beside: Sequence[str] = ()

    def __init__(self, plan: Plan, kernels: Mapping[Kernel, KernelText]) -> None:
        self.plan, self.program, self.kernels = plan, plan.program, kernels
        self.places = Places(plan)

    def calls(self, word: str) -> list[str]:
        return self.calls_of(self.plan.passes[word], word)

    def calls_of(self, kernels: Sequence[Kernel], word: str, after: After | None = None) -> list[str]:
        """The first kernels of a pass in order, equal ones in a row as a loop; after each call, lines of one's own."""
        runs = {run.start: run for run in self.plan.repeats.runs[[*self.plan.passes].index(word)]}
        lines, position = [], 0
        while position < len(kernels):
            run = runs.get(position, Run(position, 1, 1))
            blocks = [kernels[position + k * run.period :][: run.period] for k in range(run.count)]
            depth = 1 if run.count == 1 else 2
            calls = []
            for same in zip(*blocks, strict=True):
                calls += self.kernel_call(same, self.inputs_of(word), depth)
                if after is not None:
                    calls += after(same, depth)
            if run.count > 1:
                layers = f"{blocks[0][-1].layer}, …, {blocks[-1][-1].layer}"
                calls = [f"for k in range({run.count}):  # {layers}", *indented(calls)]
            lines += calls
            position += run.count * run.period
        return lines

    def kernel_call(self, kernels: Sequence[Kernel], inputs: Sequence[Tensor], depth: int) -> list[str]:
        """The call of a kernel, or of equal ones in a loop; theta, bar, work and data of these inputs are at hand."""
        texts = [self.kernels[k] for k in kernels]
        arguments = [self.places.each(names) for names in zip(*(text.arguments for text in texts), strict=True)]
        arguments += [ALPHA_BETA] if texts[0].scaled else []
        arguments += [self.size_of(size, inputs) for size in texts[0].sizes]
        return bracketed(f"{texts[0].name}(", arguments, ")", depth)

    def tuples_for(self, kernels: Sequence[Kernel], inputs: Sequence[Tensor], buffers: bool = True) -> set[str]:
        """The tuples that calls of these kernels take their arguments from; `buffers`: these are laid out for them."""
        texts = [self.kernels[k] for k in kernels]
        found = {self.places.owner(name) for text in texts for name in text.arguments}
        sizes = {size for text in texts for size in text.sizes} | ({*self.plan.runtime_sizes} if buffers else set())
        return found | {"data" for size in sizes if self.size_of(size, inputs) != "1"}

    def inputs_of(self, word: str) -> Sequence[Tensor]:
        """The inputs that a pass is given."""
        return self.plan.inputs

    def size_of(self, size: str, inputs: Sequence[Tensor]) -> str:
        """A run-time size, read off an input; 1 where none of them shows it, and so nothing depends on it."""
        t = next((t for t in inputs if size_symbol(size) in t.shape), None)
        return f"data.{field(t.name)}.shape[{t.shape.index(size_symbol(size))}]" if t is not None else "1"

    def scalar_result(self, name: str) -> str:
        """The one element of a rank-0 tensor."""
        return f"{self.places.one(name)}[0]"

    def arguments(self, tensors: Sequence[Tensor]) -> list[str]:
        """Names for arrays as arguments, past all that the functions refer to.

        Arrays come one by one from Python, since numba takes a NamedTuple for microseconds to look at.
        """
        rule = self.plan.rule
        taken = {
            *BESIDE_ARRAYS,
            *(text.name for text in self.kernels.values()),
            *taken_names(self.plan),
            *(f"i{axis}" for t in self.plan.labels for axis, _ in enumerate(t.shape)),
            *self.beside,
        }
        taken |= {*(name for name, _ in rule.hyperparameters), *(str(slot) for slot, _ in rule.slots)}
        return fields_past(tensors, taken)

    def tuple_of(self, target: str, kind: str, tensors: Sequence[Tensor]) -> list[str]:
        """Lines that gather arguments."""
        names = zip(tensors, self.arguments(tensors), strict=True)
        return bracketed(
            f"{target} = {kind}(", [f"{field(t.name)}=borrowed({name})" for t, name in names], ")", depth=1
        )

    def memory(self) -> list[str]:
        return [f"memory = Memory({', '.join(f'borrowed({name})' for name in self.plan.memories)})"]

    def buffers_for(self, inputs: Sequence[Tensor], known: Mapping[str, str] | None = None) -> list[str]:
        """Lines that lay out the buffers for run-time sizes as the inputs show them, but those that are known."""
        texts = [(known or {}).get(size) or self.size_of(size, inputs) for size in self.plan.runtime_sizes]
        return bracketed(f"work = {self.laid_out_by}(", ["memory", *texts], ")", depth=1)

    def buffers(self) -> str:
        """The views of a workspace's memory that a step works in."""
        storage = self.plan.storage
        parts = []
        for t in self.plan.workspace:
            memory = "memory.integers" if t.integer else "memory.reals"
            start = integer_text(storage.starts[t.name], size_argument)
            shape = [integer_text(extent, size_argument) for extent in t.shape]
            parts += view_lines(field(t.name), memory, start, shape, depth=2)
        shared = len({*storage.starts.values()}) < len(storage.starts)
        sharing = "; those that are never needed at once share it" if shared else ""
        doc = f'"""The buffers of {self.work_of}, as views of memory{sharing}."""'
        sizes = [size_argument(size) for size in self.plan.runtime_sizes]
        signature = bracketed(f"def {self.laid_out_by}(", ["memory", *sizes], "):")
        body = [f"return {self.workspace}(", *indented(parts), ")"]
        return compiled(signature, doc, body)


def size_argument(size: str | sp.Symbol) -> str:
    """A run-time size as an argument, past the names that functions of sizes have besides."""
    name = str(size)
    return f"{name}_" if name.rstrip("_") in BESIDE_SIZES else name
