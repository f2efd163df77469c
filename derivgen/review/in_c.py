"""A model's files of C in a review: what an edit changes in them, and whether they compute what the module does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from derivgen.file import disk, headers
from derivgen.project.c_sources import c_output, expected_c, files_beside, header_of_c
from derivgen.project.project import options, render
from derivgen.project.spec import Target
from derivgen.review.sections import sections_of
from derivgen.stages import reached
from derivgen.verify import verify_c


@dataclass(frozen=True, slots=True)
class InC:
    """The texts of files of C by their names, the header first.

    `wrong`: those on disk that hold another text; `differences`: where they do not compute what the module does.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def remarks(self) -> Iterator[str]:
        for name in self.wrong:
            yield f"{name} on disk is not what the spec generates now: this review is about that, not about the file"
        if self.differences:
            yield f"C does not compute what the module does, a bug of derivgen, please report it: {self.differences[0]}"

    @property
    def digests(self) -> dict[str, dict[str, str]]:
        """Those of all sections, by file and by section."""
        return {name: {s.name: s.digest for s in sections_of(text)} for name, text in self.texts.items()}


def in_c_now(target: Target) -> InC:
    """What a spec generates in C, if there are files of C beside its module; compared with that module."""
    output = c_output(target)
    present = files_beside(output)
    if not present:
        return InC()
    texts = expected_c(target, output).texts
    wrong = tuple(path.name for path in present if not headers.is_same(disk.read(path), texts[path]))
    reached("compare C with the module")
    module, _ = render(target, target.output, options(header_of_c(output))[0])
    found = verify_c.findings(module, texts[output], texts[output.with_suffix(".h")])
    differences = tuple(line for line in found if "DIFFERENT" in line)
    return InC({path.name: text for path, text in texts.items()}, wrong, differences)


def in_c_then(target: Target) -> InC:
    """The files of C of a committed spec, those that derivgen generated."""
    texts = {path.name: disk.read(path) or "" for path in files_beside(c_output(target))}
    return InC({name: text for name, text in texts.items() if headers.read_header(text) is not None})


def lines_of(before: InC, now: InC) -> Iterator[str]:
    """What is said of files of C."""
    old = before.digests
    for name, sections in now.digests.items():
        yield f"{name}: {changed(old.get(name), sections)}"
    if now.texts and not now.differences:
        yield "its functions compute what the module's do, by verify_c.py"


def changed(before: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """Which sections have another text."""
    if before is None:
        return "new"
    names = [name for name, digest in now.items() if before.get(name) != digest]
    names += [f"{name} is gone" for name in before if name not in now]
    return f"{len(names)} of {len(now)} sections have another text: {', '.join(names)}" if names else "the same text"
