"""The code of a page of the documents, and what running it gives."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
FOLDERS = {"site", "gallery"}  # of docs: no page by hand lies there
PAGES = [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.parent.name not in FOLDERS)]
NUMBER = re.compile(r"((?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?(?: (?:s|ms|µs|ns|samples/s)\b)?)")
TIME = re.compile(r" (?:s|ms|µs|ns|samples/s)$")
ROUNDING = 1e-9
OTHERS = {"text", "diff", "yaml"}  # what is no code, and the settings of others
FILE = re.compile(r"# ([\w./]+\.(?:py|toml))\n")
SETUP = re.compile(r"<!-- setup\n(.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code; `line` of the page where its text begins, `kind` what stands behind the language."""

    language: str
    kind: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Those of a page, and its comments `<!-- setup`: Python that a reader need not see."""
    found = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        line = token.map[0] + 2 if token.map else 0
        if token.type == "fence":
            language, _, kind = token.info.partition(" ")
            found.append(Block(language, kind, token.content, line))
        elif token.type == "html_block" and (setup := SETUP.match(token.content)):
            found.append(Block("python", "setup", setup[1], line))
    return found


class Reader:
    """One who types all of a page in order, in a folder of their own.

    A block whose first line names a file, `# pendulum.py`, is saved there. Another block of Python is run, in one
    namespace; one of ```output``` after it is what it prints. ```console``` has commands after `$`, each with its
    output. In outputs, … stands for anything, and `…` by itself on a line for any lines.
    """

    def __init__(self, page: Path, folder: Path) -> None:
        self.page, self.folder, self.printed = page, folder, ""
        self.namespace: dict[str, object] = {"__name__": "page"}

    def run(self) -> None:
        with contextlib.chdir(self.folder):
            for block in blocks(self.page):
                try:
                    self.follow(block)
                except Exception as error:
                    error.add_note(f"in the block at {self.page.relative_to(ROOT)}:{block.line}")
                    raise

    def follow(self, block: Block) -> None:
        match block.language, block.kind:
            case "python", "excerpt":
                assert stands_in_a_module(block.text), "no committed module has these lines"
            case "python", "record":
                assert self.page.name == "decisions.md", "a record of what code was belongs to the decisions"
            case "python", "" | "setup":
                self.python(block)
            case "toml", "":
                tomllib.loads(block.text)
                self.save(block.text)
            case "output", "":
                assert matches(block.text, self.printed), difference(block.text, self.printed)
            case "console", "":
                for command, said in commands(block.text):
                    out, errors = self.shell(command)
                    printed = (out, errors, out + errors)
                    assert any(matches(said, found) for found in printed), difference(said, out + errors)
            case language, _:
                assert language in OTHERS or language.startswith("{"), f"a block of {language!r} is not run"

    def save(self, text: str) -> bool:
        if named := FILE.match(text):
            Path(named[1]).write_text(text, encoding="utf-8")
        return named is not None

    def python(self, block: Block) -> None:
        if self.save(block.text):
            return
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(self.page), "exec"), self.namespace)
        self.printed = out.getvalue()

    def shell(self, command: str) -> tuple[str, str]:
        """What a command prints, and what it says of errors and of its progress."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "COLUMNS": "120", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
        return done.stdout, done.stderr


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a session, lines that end in a backslash joined, with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        end = next(i for i, line in enumerate(lines) if not line.rstrip("\n").endswith("\\"))
        yield "".join(lines[: end + 1]), "".join(lines[end + 1 :])


def matches(shown: str, printed: str) -> bool:
    """Whether what a page shows is what was printed, whatever the machine: see `same_number`."""
    shown, printed = ("\n".join(line.rstrip() for line in text.strip("\n").splitlines()) for text in (shown, printed))
    *parts, last = NUMBER.split(shown)
    pattern = "".join(re.escape(part) if i % 2 == 0 else f"({NUMBER.pattern[1:-1]})" for i, part in enumerate(parts))
    pattern += re.escape(last)
    pattern = re.sub(r"^…(\\\n|$)", r"(?:.*\n)*?(?:.*$)??", pattern, flags=re.MULTILINE).replace("…", ".*?")
    found = re.fullmatch(pattern, printed, re.MULTILINE)
    return found is not None and all(map(same_number, parts[1::2], found.groups()))


def same_number(shown: str, printed: str) -> bool:
    """Times depend on the machine, as do errors of rounding; other figures are within 1 %, counts equal."""
    if TIME.search(shown):
        return bool(TIME.search(printed))
    if shown == printed:
        return True
    a, b = (float(text.replace(",", "")) for text in (shown, printed))
    return not shown.isdigit() and (math.isclose(a, b, rel_tol=0.01) or abs(a) < ROUNDING > abs(b))


def difference(shown: str, printed: str) -> str:
    return f"the page shows\n{shown}\nprinted was\n{printed}"


def stands_in_a_module(text: str) -> bool:
    modules = (ROOT / "examples").glob("*/*_kernels.py")
    return any(text.strip() in path.read_text(encoding="utf-8") for path in modules)
