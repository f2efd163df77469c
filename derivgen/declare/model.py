"""Declaration of a model: what a spec calls. Nothing is computed here; `lower` turns it into a Program.

Mistakes are collected with their file and line, and shown together by `Model.refuse_problems`.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Mapping, Sequence
from inspect import isfunction
from typing import Any, TypeAlias

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike
from sympy.tensor.indexed import Idx, Indexed, IndexedBase

from derivgen import initializers, optimizers
from derivgen.declare.declarations import Declaration, Definition
from derivgen.declare.subscripts import indices_of_each, is_integer, mixed_radix
from derivgen.declare.suggestions import at_indices, product_text, subscript_text
from derivgen.declare.tables import table
from derivgen.errors import Place, Problem, SpecError, caller, nearest
from derivgen.file import contract
from derivgen.file.contract import DTYPES, TRAINING
from derivgen.form.functions import partial
from derivgen.form.program import Role
from derivgen.initializers import Initializer
from derivgen.update.groups import Group, groups_of
from derivgen.update.rule import UpdateRule

Size: TypeAlias = int | sp.Expr

MODEL_NUMBERS = itertools.count(1)
DEEPEST = 200  # levels of an expression
INT64 = range(-(2**63), 2**63)

KINDS = {Role.RUNNING: "running tensor", Role.RANDOM: "random tensor"}  # in messages, where the role is no noun
LOCAL = "·"  # starts the names of library indices, and no identifier
REFUSED = "′"  # ends the name of a tensor that was refused: no other tensor has such a name


def names_in(e: sp.Basic) -> set[str]:
    """The names of tensors and scalars in an expression."""
    return {node.name for node in e.atoms(IndexedBase, sp.Symbol) if not isinstance(node, Idx)}


class TensorSymbol(IndexedBase):
    """A declared tensor: `x[n, d]` in expressions, `x.shape`, `x.model`."""

    model: Model
    __iter__ = None  # else Python takes elements for ever: no subscript of a symbol is too large

    def _hashable_content(self) -> tuple[Any, ...]:
        # Equal names in two models are two tensors; without this, SymPy's cache would give one for the other.
        return (*super()._hashable_content(), self.model.number if hasattr(self, "model") else 0)

    def __getitem__(self, subscripts: Any, **_: Any) -> sp.Expr:
        """The element at these subscripts; rank and bounds are checked where the expression is declared."""
        given = subscripts if isinstance(subscripts, tuple | list) else (subscripts,)
        text = f"{self.name}[{', '.join(map(subscript_text, given))}]"
        return Indexed(self, *(self._subscript(s, text) for s in given))

    def _subscript(self, subscript: Any, text: str) -> sp.Expr:
        if is_integer(subscript) or (isinstance(subscript, sp.Expr) and not isinstance(subscript, IndexedBase)):
            return sp.sympify(subscript)
        declared, shown = self.model.declared_indices, subscript_text(subscript)
        if isinstance(subscript, TensorSymbol):
            advice = f"an index or an integer: read the tensor {shown} at indices, {at_indices(subscript, declared)}"
        else:
            advice = f"an index or an integer for each axis, such as {at_indices(self, declared)}"
            advice += ": Sum runs over an index" if isinstance(subscript, slice) or subscript is Ellipsis else ""
        self.model.problem(f"{text} has the subscript {shown}, expected {advice}")
        return sp.Integer(0)

    def refuse_derivative(self, element: sp.Expr, by: Sequence[Any]) -> None:
        """Note that SymPy's diff takes an element of a let for a number, though it depends on what it is asked for."""
        named = {name for variable in by if isinstance(variable, sp.Expr) for name in names_in(variable)}
        if found := (named - {self.name}) & self.model.behind(self.name):
            one = next(v for v in by if isinstance(v, sp.Expr) and found & names_in(v))
            self.model.problem(
                f"diff takes {element} for a number that does not depend on {one}, which it does: write "
                f"model.derivative({element}, {one})"
            )

    def __matmul__(self, other: Any) -> sp.Expr:
        return self._product(self, other)

    def __rmatmul__(self, other: Any) -> sp.Expr:
        return self._product(other, self)

    def _product(self, left: Any, right: Any) -> sp.Expr:
        """0, where a product of matrices was written, which is noted."""
        text = product_text(left, right, self.model.declared_indices)
        self.model.problem(f"products of matrices are written as sums: {text} for {left} @ {right}")
        return sp.Integer(0)


class Model:
    """A model under declaration: a spec makes one, and declares its tensors and formulas by its methods.

    `dtype` is that of the generated module, "float32" or "float64"; the command's option `--dtype` overrides it.
    """

    def __init__(self, name: str, dtype: str | None = None) -> None:
        self.name = name
        self.number = next(MODEL_NUMBERS)
        self.dtype = dtype
        self.place = caller()
        self.problems: list[Problem] = []
        self.fixed_sizes: dict[sp.Symbol, int] = {}
        self.runtime_sizes: list[sp.Symbol] = []
        self.declarations: dict[str, Declaration] = {}
        self.definitions: list[Definition] = []
        self.objective: Definition | None = None
        self.prediction: str | None = None
        self.residuals: tuple[str, ...] = ()
        self.objective_refused = self.prediction_refused = False
        self.requests: tuple[str, ...] = ()
        self.request_place: Place | None = None
        self.rule: UpdateRule = optimizers.gradient_descent()
        self.groups: tuple[Group, ...] = ()
        self.update_place: Place | None = None
        self.wanted_letters: dict[str, str] = {}  # of library indices, by their own names
        self.declared_indices: dict[Idx, None] = {}
        self.refused_names: set[str] = set()  # what formulas may speak of, and nothing more is said about
        self._names: dict[str, str] = {}
        self._local: list[Idx] = []
        if why := contract.refusal(self.name, "model"):
            self.problem(why)
        if dtype is not None and dtype not in DTYPES:
            self.problem(f"dtype must be one of {', '.join(DTYPES)}, found {dtype!r}")

    # ---- sizes and indices

    def batch(self, name: str) -> sp.Symbol:
        """Declare a size that is known only at run time; the first one is the sample axis, which `train_epoch` splits
        into batches.
        """
        size = sp.Symbol(str(name), integer=True, positive=True)
        if self._declare_name(name, "size"):
            self.runtime_sizes.append(size)
        return size

    def sizes(self, /, **values: int) -> Any:
        """Declare sizes that are fixed at generation, as integers; returns one symbol for one name, else a tuple."""
        symbols = []
        for name, value in values.items():
            size = sp.Symbol(name, integer=True, positive=True)
            if self._declare_name(name, "size"):
                self.fixed_sizes[size] = self._integer(
                    f"size {name} must be an integer of at least 1", value, lambda v: v >= 1
                )
            symbols.append(size)
        return symbols[0] if len(symbols) == 1 else tuple(symbols)

    def indices(self, /, **ranges: Size) -> Any:
        """Declare indices, each over 0 .. size - 1; returns one index for one name, else a tuple.

        A size may be affine in declared sizes, such as `T - 1`.
        """
        made = []
        for name, size in ranges.items():
            self._declare_name(name, "index")
            extent = self._extent(f"index {name} must range over an integer size", size)
            made.append(Idx(sp.Symbol(name, integer=True), extent))
        self.declared_indices |= dict.fromkeys(made)
        return made[0] if len(made) == 1 else tuple(made)

    def local_indices(self, *sizes: Size, letters: str = "") -> tuple[Idx, ...]:
        """Make indices for a layer's formulas, one for each size; they get letters that the spec does not use.

        `letters`: the wanted letters, one for each size; a letter is used if it is free.
        """
        if not isinstance(letters, str):
            self.problem(f"letters must be a string with a letter for each index, found {letters!r}")
            letters = ""
        first = len(self._local)
        self.wanted_letters |= {
            f"{LOCAL}{first + k}": letter
            for k, letter in enumerate(letters)
            if contract.refusal(letter, "index") is None
        }
        self._local += [Idx(sp.Symbol(f"{LOCAL}{first + k}", integer=True), sp.sympify(s)) for k, s in enumerate(sizes)]
        return tuple(self._local[first:])

    # ---- tensors

    def input(self, name: str, *shape: Size) -> Any:
        """Declare data of the module's dtype, which callers pass to each function."""
        return self._declare(name, shape, Role.INPUT)

    def labels(self, name: str, *shape: Size, classes: Size, ignore: int | None = None) -> Any:
        """Declare integers 0 .. classes - 1, which callers pass to each function; they may be used as subscripts.

        `ignore`: a value that marks rows without a label. Sums and definitions that use such a label leave that row
        out.
        """
        count = classes.subs(self.fixed_sizes) if isinstance(classes, sp.Expr) else classes
        expected = f"labels {name}: classes must be an integer of at least 1"
        if isinstance(count, sp.Expr) and not count.free_symbols.isdisjoint(self.runtime_sizes):
            expected += (
                " that is known at generation (give the largest number that there may be, and the arrays that these "
                "labels are subscripts of so many elements)"
            )
        count = self._integer(expected, count, lambda v: 1 <= v <= INT64[-1])
        if ignore is not None:
            ignore = self._integer(f"labels {name}: ignore must be an integer of 64 bits", ignore, INT64.__contains__)
        return self._declare(name, shape, Role.LABELS, integer=True, classes=count, ignore=ignore)

    def parameter(self, name: str, *shape: Size, init: str | Initializer | ArrayLike | None = None) -> Any:
        """Declare a trained tensor; `init` is an initializer, its name, or an array; zeros if omitted."""
        initial = self._initial("parameter", name, shape, init)
        return self._declare(name, shape, Role.PARAMETER, initial=initial)

    def running(
        self,
        name: str,
        *shape: Size,
        init: str | Initializer | ArrayLike | None = None,
        next: Callable[..., sp.Expr] | sp.Expr | float | None,
    ) -> Any:
        """Declare a tensor without a gradient, which gets its next value after each step of train_epoch and descend.

        `next`: a function of the tensor's indices, such as `next=lambda d: 0.9 * mean[d] + 0.1 * batch_mean[d]`, which
        is called when the whole spec has been read; for a tensor without axes it may be an expression. With None the
        tensor stays as it is. `init`: as for `parameter`.
        """
        initial = self._initial("running tensor", name, shape, init)
        if next is not None and not callable(next) and shape:
            self.problem(
                f"running tensor {name} has axes, and its next value has no indices: give next as a function of them, "
                "next=lambda d: ..."
            )
            next = 0
        return self._declare(name, shape, Role.RUNNING, initial=initial, next=next)

    def random(self, name: str, *shape: Size) -> Any:
        """Declare uniform random numbers in [0, 1), which depend on the seed, the step and the element only."""
        return self._declare(name, shape, Role.RANDOM)

    @property
    def training(self) -> sp.Symbol:
        """1 in loss_and_gradient, train_epoch and descend, 0 in predict and loss; for conditions, or as a number."""
        declared = self.declarations.get(TRAINING)
        if (declared is None or declared.role is not Role.MODE) and self._declare_name(TRAINING, "symbol of the mode"):
            self.declarations[TRAINING] = Declaration(TRAINING, (), Role.MODE, caller(), integer=True)
        return sp.Symbol(TRAINING, integer=True)

    def constant(self, name: str, array: Any, expression: Any = None) -> Any:
        """Declare a fixed array that becomes part of the module; an integer array may be used as a subscript.

        The values are an array, `constant("table", array)`, or a formula of the constant's indices, as for `let`:
        `constant("wave", (t, i), sin(t / 2**i))`.
        """
        if expression is not None:
            return self._declare(name, **self._table(name, self._left("constant", name, array), expression))
        self._refuse_mask(f"constant {name}", array)
        value = np.asarray(array)
        faults = {
            f"must hold real numbers or integers, found dtype {value.dtype}": value.dtype.kind not in "iuf",
            "is empty: give it at least one element": value.size == 0,
            "must hold integers of 64 bits": value.dtype == np.uint64 and (value > np.uint64(INT64[-1])).any(),
        }
        if fault := next((words for words, there in faults.items() if there), None):
            self.problem(f"constant {name} {fault}")
            value = np.zeros([max(1, extent) for extent in value.shape], np.int64)
        return self._declare(name, value.shape, Role.CONSTANT, integer=value.dtype.kind in "iu", value=value)

    def let(
        self, name: str, indices: Idx | sp.Expr | Sequence[Idx | sp.Expr], expression: Any, layer: str | None = None
    ) -> Any:
        """Define a tensor by an expression of its indices, and return it: `a1 = model.let("a1", (n, h), tanh(z[n,
        h]))`.

        An axis may also be several indices, flattened in row-major order: `(n, i * W + j)`, where j runs over 0 .. W -
        1. Each let is a layer and has its own kernels. With `layer`, the let is a part of the layer of that name, and
        is computed in that layer's kernels; the let of that name must follow its parts.
        """
        given = tuple(indices) if isinstance(indices, tuple | list) else (indices,)
        axes = [axis for axis in (self._axis(name, subscript) for subscript in given) if axis]
        over = tuple(i for _, axis in axes for i in axis)
        left, shape = tuple(s for s, _ in axes), [sp.Mul(*(i.upper + 1 for i in axis)) for _, axis in axes]
        if len(distinct := self._distinct(f"let {name}", over)) < len(over):
            left = over = distinct
            shape = [i.upper + 1 for i in over]
        taken = name in self._names
        tensor = self._declare(name, shape, Role.LET)
        part_of = "" if layer in (None, name) else str(layer)
        definition = Definition(str(name), over, self._expression(expression), caller(), left, layer=part_of)
        if not taken:
            self.definitions.append(definition)
        return tensor

    def recur(
        self, name: str | Sequence[str], indices: Sequence[Any], step: Callable[..., Any], initial: Any = 0
    ) -> Any:
        """Define a tensor by its own values at earlier steps, or several by each other's, and return them.

            h = model.recur("h", (n, t, j), lambda h: tanh(Sum(h[n, t - 1, k] * W[k, j], k) + x[n, t, j]))
            h, c = model.recur(["h", "c"], [(n, t, j), (n, t, j)], lambda h, c: (..., ...), initial=[0, 0])
            x, v = model.recur(["x", "v"], (n, t), lambda x, v: (..., ...))  # both over n and t

        `step` receives the tensors and returns their values at one time step. The time axis is the axis that is read at
        a shift. All shifts must be negative (forwards in time), or all positive (backwards). A tensor may also read
        another one at the present step, as long as there is no cycle.

        `initial`: the value before the first step, a number or an expression in the other indices; or a list of the
        values 1, 2, … steps before it. For several tensors: a list of these, with None for a tensor that no step reads
        at an earlier step.
        """
        single = isinstance(name, str)
        names: list[str] = [str(n) for n in ([name] if single else name)]
        lists = [indices] if single else indices_of_each(names, indices)
        starts = [initial] if single else list(initial) if isinstance(initial, list | tuple) else [initial] * len(names)
        if not names or not len(names) == len(lists) == len(starts):
            found = f"{len(names)} names, {len(lists)} tuples of indices, {len(starts)} initial values"
            self.problem(f"recur needs as many tuples of indices and initial values as names, found {found}")
            self.refuse_problems()
        over = [self._left("recur", n, left) for n, left in zip(names, lists, strict=True)]
        tensors = [
            self._declare(n, tuple(i.upper + 1 for i in left), Role.LET) for n, left in zip(names, over, strict=True)
        ]
        values = step(*tensors)
        values = [values] if single else list(values) if isinstance(values, list | tuple) else [values]
        if len(values) != len(names):
            self.problem(f"recur {names[0]}: step must give {len(names)} expressions, found {len(values)}")
            self.refuse_problems()
        for n, left, value, start in zip(names, over, values, starts, strict=True):
            given = start if isinstance(start, list | tuple) else [] if start is None else [start]
            before = tuple(map(self._expression, given))
            definition = Definition(n, left, self._expression(value), caller(), left, names[0], initial=before)
            if n not in self.refused_names:
                self.definitions.append(definition)
        return tensors[0] if single else tuple(tensors)

    def derivative(self, value: Any, *by: Any) -> Any:
        """∂value/∂x of an element of a let with respect to elements of earlier tensors: `derivative(u[n, 0], x[n, 1])`.

        An index that x and the let share is a row. The other indices of x are directions: each is an index or a number.
        The value may itself be a derivative.
        """
        wrong = [e for e in (value, *by) if not isinstance(e, Indexed | sp.Symbol)]
        if wrong and not (wrong == [value] and isinstance(value, partial)):
            self.problem(
                f"derivative expects an element of a let, and elements of tensors that it depends on, found "
                f"{wrong[0]}: define the expression by a let, and read tensors at indices"
            )
            return sp.Integer(0)
        if not by:
            self.problem(
                f"derivative of {value}: give the element to differentiate with respect to, "
                f"derivative({value}, x[n, d])"
            )
            return sp.Integer(0)
        return partial(*(value.args if isinstance(value, partial) else (value,)), *by)

    # ---- what is asked of the model

    def minimize(self, expression: Any) -> None:
        """Set the objective: a scalar expression, or a let without axes."""
        if self.objective is not None:
            self.problem(
                "a model has one objective: add the terms up in a single minimize(...), or give all residuals to a "
                "single least_squares(...)"
            )
        self.objective = Definition("loss", (), self._expression(expression), caller(), ())

    def least_squares(self, *residuals: Any) -> None:
        """Set the objective to half the sum of squares of the given lets, as in scipy.optimize.least_squares.

        The module then also has the functions `residuals` and `jacobian`.
        """
        lets = {d.name: d for d in self.definitions}
        self.objective_refused = True  # until it is accepted
        names = [str(r.name) if isinstance(r, TensorSymbol | sp.Symbol) else None for r in residuals]
        twice = next((name for name in names if name is not None and names.count(name) > 1), None)
        if twice is not None:
            self.problem(f"least_squares has {twice} twice: once is enough, or give it a weight in its let")
            return
        known = {*lets, *self.refused_names}
        wrong = next((r for r, name in zip(residuals, names, strict=True) if name not in known), None)
        if wrong is not None or not residuals:
            found = f"found {wrong}: give the expression a let" if residuals else "found none"
            self.problem(f"least_squares expects tensors defined by model.let, {found}")
            return
        if not lets.keys() >= set(names):  # a residual was refused where it was defined
            return
        self.objective_refused = False
        squares = []
        for residual, name in zip(residuals, names, strict=True):
            d = lets[str(name)]
            element = residual[d.left] if d.left else residual
            squares.append(sp.Sum(element**2, *d.indices) if d.indices else element**2)
        self.minimize(sp.Add(*squares) / 2)
        self.residuals = tuple(map(str, names))
        self.second_order("residuals", "jacobian")

    def predict(self, tensor: Any) -> None:
        """Set the let that the module's function `predict` returns."""
        name = str(tensor.name) if isinstance(tensor, TensorSymbol | sp.Symbol) else None
        self.prediction_refused = True  # until it is accepted
        if name in self.refused_names:
            return
        if name is None or name not in self.declarations or self.declarations[name].role is not Role.LET:
            self.problem(f"predict expects a tensor defined by model.let, found {tensor}: give the expression a let")
            return
        self.prediction, self.prediction_refused = name, False

    def second_order(self, *functions: str) -> None:
        """Request functions of derivatives, such as "hessian_vector_product"; docs/second_order.md lists them."""
        for name in functions:
            if name not in contract.DERIVATIVES:
                asked_for = [other for other in contract.DERIVATIVES if other != "residuals"]
                known, near = ", ".join(asked_for), nearest(str(name), asked_for) or ";"
                self.problem(f"second_order: no function of derivatives is called {name!r}{near} there are {known}")
            elif name not in self.requests:
                self.requests = (*self.requests, name)
        self.request_place = caller()

    def update(self, rule: UpdateRule | str, groups: Mapping[str, Any] | None = None) -> None:
        """Set the update rule, a rule or its name; plain gradient descent if omitted.

        `groups`: different settings for the parameters whose names match a pattern. Settings are hyperparameters, as
        numbers or expressions, or `optimizers.frozen`: `{"*_b": {"weight_decay": 0}, "stem_*": optimizers.frozen}`. If
        several patterns match, the last one wins.
        """
        try:
            rule = optimizers.by_name(rule) if isinstance(rule, str) else rule
            if not isinstance(rule, UpdateRule):
                found = f"the function {rule.__name__}: call it" if isfunction(rule) else repr(rule)
                self.problem(f"update expects a rule such as optimizers.adam(), found {found}")
                return
            self.rule, self.groups = rule, groups_of(rule, groups or {})
        except ValueError as error:
            self.problem(str(error))
        self.update_place = caller()

    # ---- collecting problems

    def behind(self, name: str) -> set[str]:
        """The names of all that a let depends on, through other lets too; of another tensor, none."""
        read = {d.name: {n for e in (d.expression, *d.initial) for n in names_in(e)} for d in self.definitions}
        found, waiting = set[str](), {name}
        while waiting:
            further = read.get(waiting.pop(), set()) - found
            found |= further
            waiting |= further
        return found

    def problem(self, message: str, place: Place | None = None) -> None:
        """Note a mistake at the user's line. Nothing is raised yet, so that all mistakes are shown together."""
        noted = Problem(place or caller(), message)
        if noted not in self.problems:
            self.problems.append(noted)

    def refuse_problems(self) -> None:
        """Raise SpecError with all mistakes noted so far, if there are any."""
        if self.problems:
            raise SpecError(self.problems)

    # ---- parts

    def _left(self, call: str, name: str, indices: Any) -> tuple[Idx, ...]:
        """The indices on the left of a definition."""
        over = tuple(indices) if isinstance(indices, tuple | list) else (indices,)
        wrong = [i for i in over if not isinstance(i, Idx) or i.upper is None]
        if wrong:
            self.problem(f"{call} {name}: {wrong[0]} is no index with a range: make it by model.indices(...)")
            over = tuple(i for i in over if i not in wrong)
        return self._distinct(f"{call} {name}", over)

    def _distinct(self, what: str, over: tuple[Idx, ...]) -> tuple[Idx, ...]:
        distinct = tuple(dict.fromkeys(over))
        if len(distinct) < len(over):
            self.problem(f"{what}: an index stands twice on the left: use another index over the same size")
        return distinct

    def _integer(self, expected: str, value: Any, holds: Callable[[int], bool]) -> int:
        """The value, or 1 where it is no integer of which that holds, which is noted."""
        if is_integer(value) and holds(int(value)):
            return int(value)
        self.problem(f"{expected}, found {value!r}")
        return 1

    def _extent(self, expected: str, size: Any) -> sp.Expr:
        """The size, or 1 where it is none, which is noted."""
        extent = sp.sympify(size)
        if isinstance(extent, sp.Expr) and not extent.is_integer:  # a quotient of sizes, which may be one
            extent = extent.subs(self.fixed_sizes)
        if isinstance(extent, sp.Expr) and extent.is_integer and not extent.is_nonpositive:
            return extent
        self.problem(f"{expected} of at least 1, found {size!r}")
        return sp.Integer(1)

    def _table(self, name: str, over: tuple[Idx, ...], expression: Any) -> dict[str, Any]:
        """What a constant by a formula is declared with; a table of its shape after a refusal."""
        try:
            value, formula = table(over, self._expression(expression), self.fixed_sizes, self.wanted_letters)
        except ValueError as error:
            self.problem(f"constant {name}: {error}")
            return {"shape": [i.upper + 1 for i in over], "role": Role.CONSTANT, "value": np.zeros(1)}
        integer = value.dtype.kind == "i"
        return {"shape": value.shape, "role": Role.CONSTANT, "integer": integer, "value": value, "formula": formula}

    def _declare_name(self, name: str, kind: str) -> bool:
        why = contract.refusal(name, kind)
        if why is None and name in self._names:
            why = f"the name {name} is used twice: it is {contract.article(self._names[name])} already, choose another"
        if why is not None:
            self.problem(why)
            self.refused_names.add(str(name))
            return False
        self._names[name] = kind
        return True

    def _declare(self, name: str, shape: Sequence[Size], role: Role, **facts: Any) -> Any:
        extents = [self._extent(f"axis {axis} of {name} must have a size", size) for axis, size in enumerate(shape)]
        text = str(name)
        if self._declare_name(name, KINDS.get(role, role.value)):
            self.declarations[text] = Declaration(text, tuple(extents), role, caller(), **facts)
        else:
            text += REFUSED
            self.refused_names.add(text)
        domain = {"integer": True} if facts.get("integer") else {"real": True}
        if not extents:
            return sp.Symbol(text, **domain)
        tensor = TensorSymbol(sp.Symbol(text, **domain), shape=tuple(extents), **domain)
        tensor.model = self
        return tensor

    def _axis(self, name: str, subscript: Any) -> tuple[sp.Expr, tuple[Idx, ...]] | None:
        """(a subscript on the left, its indices, outermost first); after a refusal, one of its indices, or None."""
        used = sorted(subscript.atoms(Idx), key=str) if isinstance(subscript, sp.Expr) else []
        loose = next((i for i in used if i.upper is None), None if used else subscript)
        if loose is not None:
            self.problem(f"let {name}: {loose} is no index with a range: make it by model.indices(...)")
            return None
        digits = mixed_radix(subscript, self.fixed_sizes)
        if digits is None:
            self.problem(
                f"let {name}: {subscript} does not give each value from 0 on exactly once: write an index, or several "
                "as the digits of a number, such as i*W + j with j over 0 .. W - 1"
            )
            return used[0], (used[0],)
        return subscript, digits

    def _expression(self, expression: Any) -> sp.Expr:
        if isinstance(expression, np.ndarray) and expression.ndim == 0:
            expression = expression.item()
        if isinstance(expression, sp.Expr | numbers.Real) and not isinstance(expression, bool | np.bool_):
            return self._shallow(sp.sympify(expression))
        found = type(expression).__name__
        cure = "write powers as u**v" if isinstance(expression, sp.Xor) else "read tensors at indices, x[n, d]"
        self.problem(f"expected a scalar SymPy expression, found {found}: {cure}")
        return sp.Integer(0)

    def _shallow(self, expression: sp.Expr) -> sp.Expr:
        """The expression, unless its parts stand in each other too deeply to be worked with."""
        level: list[sp.Basic] = [expression]
        for _ in range(DEEPEST):
            level = list(dict.fromkeys(a for node in level for a in node.args))
        if not level:
            return expression
        self.problem(f"an expression is nested too deeply, in more than {DEEPEST} levels: give parts of it a let")
        return sp.Integer(0)

    def _initial(self, kind: str, name: str, shape: Sequence[Size], init: Any) -> Initializer | np.ndarray:
        if isinstance(init, Initializer):
            return init
        if init is None or isinstance(init, str):
            if make := initializers.BY_NAME.get(init or "zeros"):
                return make()
            known = ", ".join(initializers.BY_NAME)
            near = nearest(initializers.in_our_words(str(init)), initializers.BY_NAME) or ";"
            self.problem(f"{kind} {name}: no initializer is called {init!r}{near} there are {known}, or give an array")
            return initializers.zeros()
        self._refuse_mask(f"init of {kind} {name}", init)
        value, sizes = np.asarray(init), [sp.sympify(size).subs(self.fixed_sizes) for size in shape]
        expected = tuple(int(size) if size.is_Integer else None for size in sizes)
        if value.dtype.kind in "iuf" and value.shape == expected:
            return value.astype(np.float64)
        wrong = f"init has shape {value.shape}, expected {expected}"
        if value.shape == ():
            wrong += f": for {init} in each element write init=initializers.constant({init})"
        elif value.shape == expected[::-1]:
            wrong += ": transpose it"
        if value.dtype.kind not in "iuf":
            wrong = f"init must be numbers or the name of an initializer, found {init!r}"
        self.problem(f"{kind} {name}: {wrong}")
        return initializers.zeros()

    def _refuse_mask(self, what: str, array: object) -> None:
        if np.ma.isMaskedArray(array):
            self.problem(f"{what} is a masked array, whose mask would be lost: give it filled, array.filled(...)")
