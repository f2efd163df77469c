"""`derivgen cost --target c`: the bytes that it states, against those of compiled files."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from derivgen.command.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc tells of its stack frames")
PRINTS = """
#include <stdio.h>
#include "digits_kernels.h"
int main(void)
{
    printf("%td", digits_workspace_size(32) * 4 + digits_workspace_integers(32) * 8);
    return 0;
}
"""


def derivgen(*arguments: str, code: int = 0) -> str:
    found = CliRunner().invoke(main, list(arguments))
    assert found.exit_code == code, found.output
    return found.output


def stated(*arguments: str) -> tuple[dict[str, int], str]:
    """The rows of the table of what files of C take, and the text."""
    text = derivgen("cost", *arguments, "--target", "c").partition("\nin C")[2]
    return {name.strip(): int(number) for name, number in re.findall(r"^(\S.*?) +(\d+)(?: |$)", text, re.M)}, text


def run(*words: str, at: Path) -> str:
    return subprocess.run(words, cwd=at, check=True, capture_output=True, text=True).stdout


@needs_gcc
def test_a_dense_network_in_float32(tmp_path: Path) -> None:
    found, text = stated(str(EXAMPLES / "digits/digits.py"), "--rows", "32", "--cc", "gcc")
    count = 64 * 32 + 32 + 32 * 10 + 10
    assert (found["parameters"], found["gradient"], found["state of the update"]) == (4 * count, 4 * count, 8)
    derivgen("generate", str(EXAMPLES / "digits/digits.py"), "--target", "c", "-o", str(tmp_path / "digits_kernels.c"))
    (tmp_path / "main.c").write_text(PRINTS)
    run("gcc", "-std=c99", "main.c", "digits_kernels.c", at=tmp_path)
    assert int(run(str(tmp_path / "a.out"), at=tmp_path)) == found["workspace"]
    # as for a machine without vectors: the frames of the functions with arrays are as large, and some words larger
    run("gcc", "-std=c99", "-Os", "-U__SSE2__", "-U__AVX__", "-fstack-usage", "-c", "digits_kernels.c", at=tmp_path)
    usage = (tmp_path / "digits_kernels.su").read_text()
    frames = {name.partition(".")[0]: int(size) for name, size in re.findall(r":\d+:\d+:(\S+)\t(\d+)\t", usage)}
    chain = re.search(r"^local arrays +\d+  (.*)$", text, re.M)[1].split(" → ")
    assert chain[0] == "digits_train_epoch" and "gemm_panels" in chain
    frames_of_chain = sum(frames.get(name, 0) for name in chain)
    assert found["local arrays"] <= frames_of_chain + 96 < found["local arrays"] + 1000


@needs_gcc
def test_code_and_tables_are_those_of_an_object(tmp_path: Path) -> None:
    spec = str(EXAMPLES / "characters_transformer/characters_transformer.py")
    found, text = stated(spec, "--cc", "gcc")
    assert found["tables of numbers"] == 2 * 64 * 8 * 4  # of a cosine and a sine
    assert "gcc -Os for " in text
    derivgen("generate", spec, "--target", "c", "-o", str(tmp_path / "own.c"))
    run("gcc", "-std=c99", "-Os", "-c", "own.c", at=tmp_path)
    assert int(run("size", "own.o", at=tmp_path).split()[6]) == found["code and tables"]
    sections = dict(re.findall(r"^\.(rodata\S*) +(\d+)", run("size", "-A", "own.o", at=tmp_path), re.M))
    constants = sum(map(int, sections.values()))
    assert found["tables of numbers"] <= constants < found["tables of numbers"] + 1000


def test_without_a_compiler_the_code_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    text = derivgen("cost", str(EXAMPLES / "rosenbrock/rosenbrock.py"), "--target", "c")
    assert re.search(r"^code and tables +unknown  no C compiler is found", text, re.M)
    assert re.search(r"^parameters +80$", text, re.M)


def test_options_of_c_are_refused_without_it() -> None:
    spec = str(EXAMPLES / "rosenbrock/rosenbrock.py")
    assert "--rows is for --target c" in derivgen("cost", spec, "--rows", "3", code=2)
    assert "--cc is for --target c" in derivgen("cost", spec, "--cc", "gcc", code=2)
