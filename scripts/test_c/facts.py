"""The models under test, and what of them no header says: classes of labels, settings and slots of update rules."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES, SCIENCE = ROOT / "examples", ROOT / "benchmarks" / "science" / "specs"
DTYPES = ("float32", "float64")
COSTLY = 1_000_000  # flops a row, from which few rows are computed


@dataclass(frozen=True)
class Case:
    """A model in a dtype, and where its files are written."""

    spec: Path
    dtype: str
    folder: Path

    @property
    def name(self) -> str:
        return self.spec.stem

    @property
    def words(self) -> str:
        return f"{self.name} {self.dtype}"

    @property
    def source(self) -> Path:
        return self.folder / f"{self.name}_kernels.c"

    @property
    def header(self) -> Path:
        return self.source.with_suffix(".h")


@dataclass(frozen=True)
class Facts:
    """`classes`, `ignored`: of integer inputs; `settings`: their defaults; `slots`: their first values.

    `refused`: the settings below 0 that are refused, with whether 0 is refused too; `costly`: whether a row takes so
    long that few are computed.
    """

    classes: Mapping[str, int]
    ignored: Mapping[str, int | None]
    settings: Mapping[str, float]
    slots: Mapping[str, float]
    refused: Mapping[str, bool]
    costly: bool

    @property
    def rows(self) -> int:
        return 2 if self.costly else 13


def cases(folder: Path, names: list[str]) -> list[Case]:
    """All examples, or those of these names, in both dtypes."""
    specs = [path for path in sorted(EXAMPLES.glob("*/*.py")) if path.stem == path.parent.name]
    if unknown := {*names} - {spec.stem for spec in specs}:
        sys.exit(f"no example: {', '.join(sorted(unknown))}")
    chosen = [spec for spec in specs if not names or spec.stem in names]
    return [Case(spec, dtype, folder / f"{spec.stem}_{dtype}") for spec in chosen for dtype in DTYPES]


def generate(case: Case) -> None:
    """Write a model's files of C, as `derivgen generate SPEC --target c` does."""
    from derivgen.project.c_sources import render_c
    from derivgen.project.spec import load_target

    case.folder.mkdir(parents=True)
    for path, text in render_c(load_target(str(case.spec)), case.source, case.dtype).texts.items():
        path.write_text(text, encoding="utf-8")


def facts(case: Case) -> Facts:
    from derivgen.form.program import Role
    from derivgen.pipeline import declared_program
    from derivgen.project.spec import load_target

    model = load_target(str(case.spec)).model
    integers = [t for t in declared_program(model).of_role(Role.INPUT, Role.LABELS) if t.classes is not None]
    rule = model.rule
    costs = [int(n) for n in re.findall(r"(\d+)\*\w+ \+ \d+ flops", case.header.read_text(encoding="utf-8"))]
    return Facts(
        {t.name: t.classes for t in integers},
        {t.name: t.ignore for t in integers},
        dict(rule.hyperparameters),
        {str(slot): value for slot, value in rule.slots},
        {name: name in rule.positive for name in (*rule.nonnegative, *rule.positive)},
        max(costs, default=0) > COSTLY,
    )
