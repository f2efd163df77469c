"""A review as text, Markdown, HTML or JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from derivgen.print.templates import environment
from derivgen.review.compare import BEHIND, CHANGED, REORDERED, SAME, SIZES, Change, Kernel, Review

WIDTH = 120
MOST = 4  # entries of a kind that are shown; JSON and HTML have all
SHORT = textwrap.TextWrapper(WIDTH, initial_indent="  ", subsequent_indent="      ", max_lines=2, placeholder=" …")
WORDS = {CHANGED: "computes something else", REORDERED: "the same formulas in another order"}
EQUAL = {  # what is said of kernels whose text is the same, and of those that differ in names or sizes
    SAME: ("the same text", "the same bits"),
    SIZES: ("", "the same except for sizes"),
    BEHIND: ("the same text, but what they call is another one", "what they call is another one"),
}
Block = tuple[str, list[str]]  # a heading, and what stands below it


def page(reviews: Sequence[Review], form: str) -> str:
    """All reviews on one page; `form` is text, markdown, html or json."""
    if form == "json":
        found = [asdict(r) | {"of_substance": r.is_of_substance} for r in reviews]
        return json.dumps(found, indent=2, ensure_ascii=False)
    writer = {"text": text, "markdown": markdown, "html": html_page}[form]
    return writer(reviews)


def blocks(review: Review, most: int) -> Iterator[Block]:
    """What changed, most important first; what did not is one line."""
    if not review.is_of_substance:
        yield "Nothing of substance changed", []
    if review.renamed:
        yield "Renamed", [", ".join(f"{old} → {new}" for old, new in review.renamed.items())]
    if review.formulas:
        yield "Formulas changed", listed([line for c in review.formulas for line in formula_lines(c)], 2 * most)
    if review.derivatives:
        lines = listed([line for c in review.derivatives for line in formula_lines(c)], 2 * most)
        yield "Derivatives changed", [*lines, review.sampled, *([review.second] if review.second else [])]
    if review.to_read or review.gone:
        gone = [f"gone: {', '.join(review.gone)}"] if review.gone else []
        total = sum(kernel.lines for kernel in review.to_read)
        yield f"Kernels to read, {total} lines", [*listed([kernel_line(k) for k in review.to_read], 2 * most), *gone]
    yield "Kernels that are equal", equal_lines(review.kernels, most)
    if review.parts:
        yield "Other parts of the text", listed([change_line(c) for c in review.parts], most)
    if review.contract:
        yield "Contract", listed([change_line(c) for c in review.contract], 2 * most)
    if review.cost:
        yield "Cost", listed([change_line(c) for c in review.cost], 2 * most)
    if review.in_c:
        yield "In C", list(review.in_c)
    if review.unsigned:
        yield "Not signed by anybody", [", ".join(review.unsigned)]


def equal_lines(kernels: Sequence[Kernel], most: int) -> list[str]:
    """Of each kind of equality, a line of the kernels whose text is the same; then one for each change of names, or of
    sizes.
    """
    lines: list[str] = []
    for numbers, (words, otherwise) in EQUAL.items():
        mine = [k for k in kernels if k.numbers == numbers]
        hows = sorted(dict.fromkeys(k.how for k in mine), key=bool)
        openings = {how: f"{otherwise}, {how}" if how else words for how in hows}
        found = [f"{openings[how]}: {', '.join(named(k) for k in mine if k.how == how)}" for how in hows]
        lines += listed(found, most + 1)
    return lines or ["none"]


def named(kernel: Kernel) -> str:
    return f"{kernel.name} (before {kernel.before})" if kernel.before else kernel.name


def formula_lines(change: Change) -> list[str]:
    before = [f"- {change.before}"] if change.before is not None else []
    return before + ([f"+ {change.after}"] if change.after is not None else [])


def kernel_line(kernel: Kernel) -> str:
    how = kernel.how or WORDS[kernel.numbers]
    had = f", before {kernel.before}" if kernel.before else ""
    return f"{kernel.name}: {how}, {kernel.lines} lines{had}"


def change_line(change: Change) -> str:
    if change.before is None:
        return f"{change.name}: new, {change.after}"
    return f"{change.name}: gone" if change.after is None else f"{change.name}: {change.before} → {change.after}"


def listed(lines: list[str], most: int) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - most
    return lines if more <= 1 else [*lines[:most], f"… and {more} more, see --format html"]


def opening(review: Review) -> str:
    old, new = review.generators
    by = f"both by {new}" if old == new else f"before by {old}, now by {new}"
    return f"{review.model}: {review.before} → {review.after}, {by}"


def text(reviews: Sequence[Review]) -> str:
    lines: list[str] = []
    for review in reviews:
        lines += [*review.remarks, opening(review)]
        for heading, below in blocks(review, MOST):
            lines.append(heading)
            for line in below:
                lines += SHORT.wrap(line)
        lines.append("")
    return "\n".join(lines).rstrip("\n")


def markdown(reviews: Sequence[Review]) -> str:
    lines: list[str] = []
    for review in reviews:
        lines += [*(f"{remark}\n" for remark in review.remarks), f"### {opening(review)}", ""]
        for heading, below in blocks(review, MOST):
            lines.append(f"**{heading}**")
            if any(line[:2] in ("- ", "+ ") for line in below):
                formulas = [line for line in below if line[:2] in ("- ", "+ ")]
                lines += ["", "```diff", *formulas, "```", *(line for line in below if line not in formulas)]
            else:
                lines += ["", *(f"- {line}" for line in below)]
            lines.append("")
    return "\n".join(lines).rstrip("\n")


def html_page(reviews: Sequence[Review]) -> str:
    def kinds(lines: list[str]) -> list[tuple[str, str]]:
        return [({"- ": "before", "+ ": "after"}.get(line[:2], "line"), line) for line in lines]

    def shown(review: Review) -> list[tuple[str, list[tuple[str, str]]]]:
        remarks = [(remark, kinds([])) for remark in review.remarks]
        return remarks + [(heading, kinds(lines)) for heading, lines in blocks(review, most=10**6)]

    pages = [(opening(r), shown(r)) for r in reviews]
    return environment().get_template("review.html.jinja").render(reviews=pages).rstrip("\n")
