"""Lines of Python that `ruff format --line-length 120` leaves alone: what is too long is broken inside brackets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH = 120
STEP = "    "


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands with the operators between them, all of one precedence: `a + b - c`, `a if c else b`."""

    first: Part
    rest: tuple[tuple[str, Part], ...]


@dataclass(frozen=True, slots=True)
class Bracket:
    """Items in brackets after a word: a call `f(a, b)`, an element `x[i, j]`, or an operand in parentheses."""

    word: str
    items: tuple[Part, ...]
    kind: str = "()"


@dataclass(frozen=True, slots=True)
class Signed:
    """An operand after a word of its own: `-a`, `not c`."""

    word: str
    part: Part


@dataclass(frozen=True, slots=True)
class Lambda:
    """A value after words: `lambda t: a + b`. It is broken in brackets of its own, unless it is a call."""

    word: str
    part: Part


Part = str | Chain | Bracket | Signed | Lambda


def flat(part: Part) -> str:
    """A part on one line."""
    match part:
        case str():
            return part
        case Chain():
            return "".join([flat(part.first), *(f" {operator} {flat(p)}" for operator, p in part.rest)])
        case Bracket():
            return f"{part.word}{part.kind[0]}{', '.join(map(flat, part.items))}{part.kind[1]}"
        case Signed() | Lambda():
            return part.word + flat(part.part)


def line(opening: str, part: Part, closing: str = "", depth: int = 0) -> list[str]:
    """opening, part, closing: on one line where there is room for it at this depth, else broken."""
    room = WIDTH - len(STEP) * depth
    alone = f"{opening}{flat(part)}{closing}"
    if len(alone) <= room:
        return [alone]
    if opens_itself(part):
        lines = in_own_brackets(opening, part, closing, room)
        if all(len(text) <= room for text in lines):
            return lines
    return [f"{opening}(", *indented(broken(part, room - len(STEP))), f"){closing}"]


def assignment(target: Part, operator: str, value: Part, depth: int = 0) -> list[str]:
    """target operator value; a target that leaves no room for more is broken too."""
    room = WIDTH - len(STEP) * depth
    if not isinstance(target, Bracket) or len(flat(target)) + len(operator) + 3 <= room:
        return line(f"{flat(target)} {operator} ", value, depth=depth)
    *before, last = exploded(target.word + target.kind[0], target.items, target.kind[1], room)
    return [*before, *line(f"{last} {operator} ", value, depth=depth)]


def opens_itself(part: Part) -> bool:
    """Whether a part that is too long may be broken inside its own brackets, without any around it.

    It has one operator at most of the least precedence, and begins in parentheses, or ends in those or in a call.
    """
    if isinstance(part, Bracket):
        return True
    first, last = first_of(part), last_of(part)
    begins = isinstance(first, Bracket) and not first.word
    return operators(part) <= 1 and (begins or (isinstance(last, Bracket) and last.kind == "()"))


def operators(part: Part) -> int:
    """The operators of the least precedence: `and` and `or` count as one kind."""
    if not isinstance(part, Chain):
        return 0
    kind = kind_of(part)
    inner = (p for p in (part.first, *(p for _, p in part.rest)) if kind and kind_of(p) == kind)
    return len(part.rest) + sum(map(operators, inner))


def kind_of(part: Part) -> str:
    """What is chained: conditions, or choices; nothing for other operators."""
    operator = part.rest[0][0] if isinstance(part, Chain) else ""
    return {"and": "conditions", "or": "conditions", "if": "choices"}.get(operator, "")


def first_of(part: Part) -> Part:
    return first_of(part.first) if isinstance(part, Chain) else part


def last_of(part: Part) -> Part:
    match part:
        case Chain():
            return last_of(part.rest[-1][1])
        case Signed() | Lambda():
            return last_of(part.part)
        case _:
            return part


def in_own_brackets(opening: str, part: Part, closing: str, room: int) -> list[str]:
    """A part broken inside its own brackets: each where what follows it, up to the next one, has no room else."""
    lines: list[str] = []
    current = opening
    pieces = [*pieces_of(part), closing]
    for k, piece in enumerate(pieces):
        if isinstance(piece, str):
            current += piece
            continue
        after = ""
        for other in pieces[k + 1 :]:
            after += other if isinstance(other, str) else other.word + other.kind[0]
            if not isinstance(other, str):
                break
        alone = flat(piece)
        if len(current) + len(alone) + len(after) <= room:
            current += alone
        else:
            first, *inner, last = exploded(current + piece.word + piece.kind[0], piece.items, piece.kind[1], room)
            lines += [first, *inner]
            current = last
    return [*lines, current]


def pieces_of(part: Part) -> Iterator[str | Bracket]:
    """What a part is made of, in order: text, and brackets."""
    match part:
        case Chain():
            yield from pieces_of(part.first)
            for operator, operand in part.rest:
                yield f" {operator} "
                yield from pieces_of(operand)
        case Signed() | Lambda():
            yield part.word
            yield from pieces_of(part.part)
        case _:
            yield part


def broken(part: Part, room: int, lead: int = 0, around: str = "") -> list[str]:
    """A part that stands in brackets, over as many lines as it needs; `lead` columns of the first line are taken.

    `around`: the kind of the broken chain that it stands in; conditions in conditions, and choices in choices, are all
    broken.
    """
    alone, kind = flat(part), kind_of(part)
    if lead + len(alone) <= room and not (kind and kind == around):
        return [alone]
    match part:
        case str():
            return [alone]
        case Chain():
            lines = broken(part.first, room, lead, kind)
            for operator, operand in part.rest:
                first, *others = broken(operand, room, len(operator) + 1, kind)
                lines += [f"{operator} {first}", *others]
            return lines
        case Bracket():
            return exploded(part.word + part.kind[0], part.items, part.kind[1], room)
        case Signed():
            first, *others = broken(part.part, room, lead + len(part.word))
            return [part.word + first, *others]
        case Lambda(word, Bracket() as call):
            first, *others = broken(call, room, lead + len(word))
            return [word + first, *others]
        case Lambda(word, value):
            return [f"{word}(", *indented(broken(value, room - len(STEP))), ")"]


def bracketed(opening: str, items: Sequence[Part], closing: str, depth: int = 0) -> list[str]:
    """opening, items, closing on one line at this depth; or over several."""
    room = WIDTH - len(STEP) * depth
    alone = f"{opening}{', '.join(map(flat, items))}{closing}"
    return [alone] if len(alone) <= room else exploded(opening, items, closing, room)


def exploded(opening: str, items: Sequence[Part], closing: str, room: int) -> list[str]:
    """opening, the items on a line of their own, closing; or each of them on its own, with a comma."""
    inside = room - len(STEP)
    body = ", ".join(map(flat, items))
    if len(body) <= inside:
        return [opening, STEP + body, closing]
    if len(items) == 1:
        return [opening, *indented(broken(items[0], inside)), closing]
    lines = [broken(item, inside - 1) for item in items]
    return [opening, *indented([text for own in lines for text in (*own[:-1], f"{own[-1]},")]), closing]


def indented(lines: Sequence[str], depth: int = 1) -> list[str]:
    return [STEP * depth + line if line else line for line in lines]
