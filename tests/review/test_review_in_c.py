"""`derivgen review` of a spec with files of C beside its module."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_review_commands import derivgen, git, write

from derivgen.review.sections import sections_of


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("wave.py"))
    for target in ("numba", "c"):
        assert derivgen("generate", "wave.py", "--target", target).exit_code == 0
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    return tmp_path


def in_c(text: str) -> list[str]:
    """The lines below the heading."""
    lines = text[text.index("In C\n") :].splitlines()[1:]
    return [line for line in lines if line.startswith("  ")]


def test_nothing_changed(checkout: Path) -> None:
    found = derivgen("review", "wave.py")
    assert found.exit_code == 0
    assert in_c(found.output) == [
        "  wave_kernels.h: the same text",
        "  wave_kernels.c: the same text",
        "  its functions compute what the module's do, by verify_c.py",
    ]


def test_what_an_edit_changes_in_c(checkout: Path) -> None:
    write(Path("wave.py"), "cos")
    for target in ("numba", "c"):
        derivgen("generate", "wave.py", "--target", target)
    found = derivgen("review", "wave.py")
    assert found.exit_code == 1
    header, file, *_, compared = in_c(found.output)
    assert header == "  wave_kernels.h: the same text"
    assert "sections have another text: frame, z_" in file
    assert compared == "  its functions compute what the module's do, by verify_c.py"
    assert "**In C**" in derivgen("review", "wave.py", "--format", "markdown").output


def test_a_file_that_is_not_what_the_spec_generates_is_remarked(checkout: Path) -> None:
    text = Path("wave_kernels.c").read_text()
    Path("wave_kernels.c").write_text(text.replace("static void", "static  void", 1))
    found = derivgen("review", "wave.py")
    assert found.exit_code == 1
    assert found.output.startswith(
        "wave_kernels.c on disk is not what the spec generates now: this review is about that"
    )


def test_sections_without_a_signature_are_named_with_their_file(checkout: Path) -> None:
    derivgen("approve", "wave_kernels.py", "wave_kernels.h", "--by", "Ada")
    assert "Not signed by anybody\n  wave_kernels.c frame, " in derivgen("review", "wave.py").output
    derivgen("approve", "wave_kernels.c", "--by", "Ada")
    assert "Not signed" not in derivgen("review", "wave.py").output


def test_sections_hold_all_of_a_file(checkout: Path) -> None:
    """Nothing can change without a section that changes: each word is in one, but those of the header."""
    text = Path("wave_kernels.c").read_text()
    sections = sections_of(text)
    assert {"frame", "update_kernel", "wave_descend"} <= {s.name for s in sections}
    words = text[text.index("\n */\n") + 5 :].split()
    held = [word for s in sections for word in s.text.split()]
    assert sorted(words) == sorted(held)
