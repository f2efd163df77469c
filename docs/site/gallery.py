"""Write the pages of the gallery: each example with its picture, its spec, its formulas and its module side by side."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from derivgen.explain.model import ModelExplanation
from derivgen.form.as_written import as_written
from derivgen.form.mathml import Mathml, pieces
from derivgen.form.places import names_in_order
from derivgen.pipeline import declared_program, stable_program
from derivgen.prepare.modes import in_training
from derivgen.project.spec import load_models
from derivgen.report.typeset import HtmlPage

ROOT = Path(__file__).parents[2]
EXAMPLES, README = ROOT / "examples", ROOT / "README.md"

CARD = """:::{{grid-item-card}} {title}
:img-top: ../pictures/{name}.svg
:link: {name}
:link-type: doc
{shows}
:::
"""

INDEX = """# Gallery

Each example has its picture, its spec, its formulas with all derivatives, and the module that derivgen wrote for it.
`python examples/<name>/run.py` runs one; the tests hold each to its result.

::::{{grid}} 1 2 3 3
:gutter: 3

{cards}
::::

```{{toctree}}
:hidden:

{names}
```
"""

PAGE = """---
hide-toc: true
---

# {title}

{about}

**Result**: {result}.

![{alternative}](../pictures/{name}.svg){{.picture}}

::::::{{div}} beside
:::::{{div}} column
## The spec

```{{literalinclude}} ../../examples/{name}/{name}.py
:language: python
```
:::::
:::::{{div}} column
## The formulas

```{{raw}} html
{formulas}
```
:::::
:::::{{div}} column
## The module

`examples/{name}/{name}_kernels.py`, written by `derivgen generate {name}.py`:

```{{literalinclude}} ../../examples/{name}/{name}_kernels.py
:language: python
:end-before: "# ==== the same in each"
```
:::::
::::::

## Every derivative, with its rule

:::::{{dropdown}} The adjoints of {statements} statements
```{{raw}} html
{derivatives}
```
:::::

## The program that runs it

:::::{{dropdown}} `examples/{name}/run.py`
```{{literalinclude}} ../../examples/{name}/run.py
:language: python
```
:::::
"""


class Row(NamedTuple):
    """A row of README's table of examples."""

    shows: str
    result: str


def rows() -> dict[str, Row]:
    """By example. A row of README may tell of several."""
    found = {}
    row = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| (.*) \| (.*) \|$", re.MULTILINE)
    for names, shows, result in row.findall(README.read_text(encoding="utf-8")):
        found |= {name: Row(shows, result) for name in re.findall(r"\w+", names)}
    return found


def title(name: str) -> str:
    return name.replace("_", " ").capitalize()


@as_written()
@names_in_order()
def formulas(spec: Path) -> Iterator[tuple[list[str], str, int]]:
    """Of each model of a spec: its declared statements as MathML, its derivatives as HTML, and how many statements."""
    for model in load_models(spec).values():
        declared = declared_program(model)
        training = in_training(declared)
        used = {s.target for s in declared.live(declared.outputs).statements}
        page = ModelExplanation(model, training, stable_program(training), HtmlPage, used)
        notation = Mathml(page.page.notation.order)
        lines = [notation.statement(s, "+=" if s.operator == "+=" else "=") for s in declared.statements]
        yield lines, page.text(), len(declared.statements)


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    told = rows()
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/run.py"))
    for name in names:
        (folder / f"{name}.md").write_text(page(name, told[name]), encoding="utf-8")
    cards = "\n".join(CARD.format(name=name, title=title(name), shows=told[name].shows) for name in names)
    (folder / "index.md").write_text(INDEX.format(cards=cards, names="\n".join(names)), encoding="utf-8")


def page(name: str, row: Row) -> str:
    spec = EXAMPLES / name / f"{name}.py"
    found = list(formulas(spec))
    about = ast.get_docstring(ast.parse(spec.read_text(encoding="utf-8"))) or row.shows
    return PAGE.format(
        name=name,
        title=title(name),
        about=about,
        result=row.result,
        alternative=f"what {title(name)} shows: {row.shows}".replace("`", ""),
        statements=sum(count for *_, count in found),
        formulas="\n".join(f'<p class="formula">{pieces(line)}</p>' for lines, *_ in found for line in lines),
        derivatives="\n".join(text for _, text, _ in found),
    )


if __name__ == "__main__":
    write(ROOT / "docs" / "gallery")
