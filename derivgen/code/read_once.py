"""Elements that several statements read are read once, into locals.

    y[i] = a[k[i], 0]·x; z[i] = a[k[i], 0] + 1  →  k_i = k[i]; a_0 = a[k_i, 0]; y[i] = a_0·x; z[i] = a_0 + 1

A compiler has to read an element again after each store, since the store may have changed it; here it is known which
arrays a block writes. A read that is proved to be inside its array may be made where its value is not needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import sympy as sp

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, For, Function, Kind, Let, Scratch
from derivgen.code.visit import indices_in, mapped, statements_in, values_of, written_by, written_in
from derivgen.code.walk import Fresh, Words, inside, is_invariant
from derivgen.form.expressions import Read, indices_of, reads_of, substitute, sympy_order
from derivgen.form.program import Role, Tensor


def read_once(function: Function) -> Function:
    """The function with what several statements of a block read in locals, which are read before the first of them."""
    return ReadOnce(function).function()


class ReadOnce:
    """The pass over one function."""

    def __init__(self, function: Function) -> None:
        self.given, self.proof = function, Proof(function)
        self.fresh = Fresh(function, self.proof)
        self.below, self.order = dict(function.below), dict(function.order)
        self.words = Words(function.body)
        self.own = {
            code.name for code in function.body if isinstance(code, Scratch)
        }  # no array of a caller's lies there
        # By id: the statements are kept, so that ids stay theirs.
        self.found: dict[int, tuple[Code, dict[Read, None]]] = {}

    def function(self) -> Function:
        body = self.block(self.given.body, Point())
        return replace(self.given, body=body, below=self.below, order=self.order)

    def block(self, codes: Block, point: Point) -> Block:
        rest, done = list(codes), list[Code]()
        written = written_in(*codes)
        while rest:
            top = point == Point()  # what stands there one after another has locals of its own
            if top:
                self.fresh.restart(rest[0])
            reach = 1 if top else len(rest)
            read = next((r for r in self.elements(rest[0]) if self.is_worth_it(r, rest[:reach], point, written)), None)
            if read is None:
                done += self.reads_before(inside(rest.pop(0), point, self.block), point)
                continue
            integer = self.proof.is_integer(read)
            local = self.fresh.name(self.words.of(read), integer)
            if integer:
                self.words.sources[local] = read.tensor
                self.below[local] = bound_of(self.given.arrays[read.tensor], self.below)
            if read.tensor in self.order:
                self.order[local] = self.order[read.tensor]
            done.append(Let(local, read, Kind.INTEGER if integer else Kind.REAL))
            local_for = partial(substitute, mapping={read: Read(local)})
            rest[:reach] = [mapped(code, local_for) if read in self.elements(code) else code for code in rest[:reach]]
            self.proof.below = self.below
        return tuple(done)

    def reads_before(self, code: Code, point: Point) -> Sequence[Code]:
        """A loop after the locals of its block that hold, in each iteration, the same element."""
        if not isinstance(code, For):
            return [code]
        written = Counter(name for c in statements_in((code,)) if (name := written_by(c)) is not None)

        def is_fixed(c: Code) -> bool:
            if not isinstance(c, Let) or not isinstance(c.value, Read) or not c.value.subscripts or written[c.name] > 1:
                return False
            return is_invariant(c.value, [code.index], written) and self.proof.may_be_read(c.value, point)

        fixed = [c for c in code.body if is_fixed(c)]
        return [*fixed, replace(code, body=tuple(c for c in code.body if c not in fixed)) if fixed else code]

    def elements(self, code: Code) -> dict[Read, None]:
        """As the function of this name, found once for each statement."""
        if id(code) not in self.found:
            self.found[id(code)] = code, dict.fromkeys(elements(code))
        return self.found[id(code)][1]

    def is_worth_it(self, read: Read, codes: Sequence[Code], point: Point, written: set[str]) -> bool:
        """Whether several statements read an element that none of them writes, with a store between, or a loop does."""
        if not written.isdisjoint((read.tensor, *(r.tensor for r in reads_of(*read.subscripts)))):
            return False
        if not indices_of(read) <= {r.index for r in point.around} or not self.may_be_local(read, point):
            return False
        readers = [k for k, code in enumerate(codes) if read in self.elements(code)]
        between = codes[readers[0] : readers[-1]]
        stores = any(self.stores_elements(code, read) for code in between)
        fixed = not indices_of(read) or self.proof.is_integer(read)  # an address that might change in each iteration
        looped = isinstance(codes[0], For) and fixed and self.stores_elements(codes[0], read)
        return ((len(readers) > 1 and stores) or looped) and self.proof.may_be_read(read, point)

    def stores_elements(self, code: Code, read: Read) -> bool:
        """Whether a statement stores what may be an element read; a number of a row has a name in any case."""
        apart = set() if self.proof.is_integer(read) else self.own
        places = (c.place for c in statements_in((code,)) if isinstance(c, Assign))
        return any(p.subscripts and p.tensor not in apart for p in places)

    def may_be_local(self, read: Read, point: Point) -> bool:
        """Whether a local may stand for an element: of an integer, nothing more may be known than what it is below."""
        if not self.proof.is_integer(read):
            return True
        return read not in reads_of(*point.path) and bound_of(self.given.arrays[read.tensor], self.below) is not None


def elements(code: Code) -> list[Read]:
    """The elements of arrays that a statement reads at indices of loops around it, subscripts first."""
    own = indices_in((code,))
    values = [e for c in statements_in((code,)) for e in values_read(c)]
    found = [r for r in reads_of(*values) if r.subscripts and not indices_of(r) & own]
    return sorted(found, key=lambda r: (len(reads_of(r)), sympy_order(r)))


def values_read(code: Code) -> Sequence[sp.Basic]:
    """What a statement evaluates, except for the element that it adds to."""
    values = values_of(code)
    return [e for e in values if e is not code.place] if isinstance(code, Assign) else values


def bound_of(t: Tensor, below: dict[str, sp.Expr]) -> sp.Expr | None:
    """What all elements of an integer array are below, from 0; None where that is not known."""
    if t.name in below:
        return below[t.name]
    if t.role is Role.LABELS and t.classes is not None and t.ignore is None:
        return sp.Integer(t.classes)
    if t.value is not None and int(t.value.min()) >= 0:
        return sp.Integer(int(t.value.max()) + 1)
    return None
