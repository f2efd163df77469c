"""Write the pages of the gallery: each example with its picture, its spec, its formulas and its module side by side."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

from derivgen.explain.model import ModelExplanation
from derivgen.form.as_written import as_written
from derivgen.form.formulas import folded, shown
from derivgen.form.mathml import Mathml, pieces
from derivgen.form.places import names_in_order
from derivgen.form.program import Program
from derivgen.pipeline import declared_program, stable_program
from derivgen.prepare.modes import in_training
from derivgen.project.spec import load_models
from derivgen.report.typeset import HtmlPage

ROOT = Path(__file__).parents[2]
EXAMPLES, README, PICTURES = ROOT / "examples", ROOT / "README.md", ROOT / "docs" / "site" / "pictures.py"
SPELLED = {"gpt": "GPT", "lstm": "LSTM", "wavenet": "WaveNet", "xor": "XOR"}

CARD = """:::{{grid-item-card}} {title}
:img-top: ../pictures/{name}.svg
:img-alt: {caption}
:link: {name}
:link-type: doc
{shows}
:::
"""

INDEX = """---
hide-toc: true
---

# Gallery

Each example has its picture, its spec, its formulas with all derivatives, and the module that derivgen wrote for it.
`python examples/<name>/run.py` runs one; the tests hold each to its result.

::::{{grid}} 1 2 3 3
:class-container: cards
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

:::{{figure}} ../pictures/{name}.svg
:alt: {caption}
:figclass: picture

{caption}
:::

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
<div class="formulas">
{formulas}
</div>
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


def captions() -> dict[str, str]:
    """By example, what its picture shows: the docstring of the function that draws it."""
    functions = (f for f in ast.parse(PICTURES.read_text(encoding="utf-8")).body if isinstance(f, ast.FunctionDef))
    return {f.name: " ".join((ast.get_docstring(f) or "").split()) for f in functions}


def title(name: str) -> str:
    """Words with a capital of their own keep it: "Characters LSTM"."""
    return sentence(" ".join(SPELLED.get(word, word) for word in name.split("_")))


def sentence(words: str) -> str:
    """The words with a capital in front."""
    return words[0].upper() + words[1:]


@as_written()
@names_in_order()
def formulas(spec: Path) -> Iterator[tuple[str, str, int]]:
    """Of each model of a spec: its formulas and its derivatives as HTML, and how many statements are declared."""
    for model in load_models(spec).values():
        declared = declared_program(model)
        training = in_training(declared)
        live = declared.live(declared.outputs)
        used = {s.target for s in live.statements}
        page = ModelExplanation(model, training, stable_program(training), HtmlPage, used)
        yield "\n".join(typeset(live)), page.text(), len(declared.statements)


def typeset(program: Program) -> Iterator[str]:
    """The formulas that the module's comment shows: of equal layers in a row the first alone."""
    lines = {text: line for (_, text), (_, line) in zip(shown(program), shown(program, Mathml), strict=True)}
    for text in folded([*lines]):
        yield f'<p class="formula">{pieces(lines[text]) if text in lines else escape(text)}</p>'


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    told, caption = rows(), captions()
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/run.py"))
    for name in names:
        (folder / f"{name}.md").write_text(page(name, told[name], caption[name]), encoding="utf-8")
    cards = "\n".join(card(name, told[name], caption[name]) for name in names)
    (folder / "index.md").write_text(INDEX.format(cards=cards, names="\n".join(names)), encoding="utf-8")


def card(name: str, row: Row, caption: str) -> str:
    return CARD.format(name=name, title=title(name), shows=sentence(row.shows), caption=caption)


def page(name: str, row: Row, caption: str) -> str:
    spec = EXAMPLES / name / f"{name}.py"
    found = list(formulas(spec))
    about = ast.get_docstring(ast.parse(spec.read_text(encoding="utf-8"))) or row.shows
    return PAGE.format(
        name=name,
        title=title(name),
        about=about,
        result=row.result,
        caption=caption,
        statements=sum(count for *_, count in found),
        formulas="\n".join(text for text, *_ in found),
        derivatives="\n".join(text for _, text, _ in found),
    )


if __name__ == "__main__":
    write(ROOT / "docs" / "gallery")
