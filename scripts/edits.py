"""How many lines of modules thirty edits of specs change: `python scripts/edits.py` prints each, and a ratio over all.

The ratio is of changed lines to those in kernels that differ in substance, before and after. "read" is how many lines
`derivgen review` takes to say it.
"""

from __future__ import annotations

import difflib
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from edits import EDITS, Edit

from derivgen.project.spec import load_target
from derivgen.review.compare import CHANGED, Review, compared
from derivgen.review.page import page
from derivgen.review.state import State, state_of


def states(edit: Edit) -> tuple[State, State]:
    """The spec before and after, each with the module that it gives."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for words, text in (("before", edit.before), ("after", edit.after)):
            path = Path(folder) / words / f"{edit.example}.py"
            path.parent.mkdir()
            path.write_text(text, encoding="utf-8")
            found.append(state_of(load_target(str(path)), words, None))
    return found[0], found[1]


def differing(before: str, after: str) -> int:
    """Lines that a diff shows."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return sum(line[0] in "+-" and line[:3] not in ("+++", "---") for line in found)


def below_header(text: str) -> str:
    return text.split('"""', 2)[2]


def lines_of_substance(before: State, after: State, review: Review) -> int:
    """Those that the diff shows in kernels which compute something else, are new, or are gone."""
    old, new = ({s.name: s.text for s in state.sections if s.kind == "kernel"} for state in (before, after))
    gone = sum(differing(old[name], "") for name in review.gone)
    changed = (k for k in review.kernels if k.numbers == CHANGED)
    return gone + sum(differing(old.get(k.before or k.name, ""), new[k.name]) for k in changed)


def main() -> None:
    all_changed = all_substance = 0
    for edit in EDITS:
        before, after = states(edit)
        review = compared(before, after, {})
        changed = differing(below_header(before.text), below_header(after.text))
        substance = lines_of_substance(before, after, review)
        all_changed, all_substance = all_changed + changed, all_substance + substance
        read = page([review], "text").count("\n") + 1
        print(f"{edit.example:24} {edit.title:30} changed {changed:5}, of substance {substance:5}, read {read:3}")
    ratio = all_changed / all_substance
    print(f"{len(EDITS)} edits: {all_changed} lines changed, {all_substance} of substance: {ratio:.2f}")


if __name__ == "__main__":
    main()
