"""`derivgen report` in a real browser: at the width of a desk and of a phone, in the dark, and as print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from command import succeed

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = ("digits", "option_greeks", "characters_transformer")
DESK, PHONE = 1280, 390

FORMULAS = """[...document.querySelectorAll("math")].map(e => e.getBoundingClientRect())
    .filter(r => r.width < 4 || r.height < 6).length"""
# Of what must be read by itself: formulas and lines of code may not reach over their column.
OUTSIDE = """[...document.querySelectorAll("td")].filter(cell => [...cell.querySelectorAll("p, li, div, dd, pre")]
    .some(e => e.getBoundingClientRect().right > cell.getBoundingClientRect().right + 1)).length"""
SMALL = """[...document.querySelectorAll(".text, .cause a, dd, p, li")]
    .filter(e => parseFloat(getComputedStyle(e).fontSize) < 10).length"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name in MODELS:
        succeed("report", EXAMPLES / name / f"{name}.py", "-o", folder / f"{name}.html")
    text = (EXAMPLES / "digits" / "digits.py").read_text(encoding="utf-8")
    (folder / "edited.py").write_text(text.replace("n) / N)", "n) / N + 0.001 * Sum(W2[h, c] ** 2, h, c))"))
    old = EXAMPLES / "digits" / "digits.py"
    succeed("report", folder / "edited.py", "--against", old, "-o", folder / "against.html")
    return {name: folder / f"{name}.html" for name in (*MODELS, "against")}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("name", [*MODELS, "against"])
def test_fits_its_width(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    assert browser.open(pages[name], width) == [pages[name].as_uri()]  # it asks for nothing else
    assert browser.value("innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    assert browser.value("document.querySelectorAll('math').length") > 50
    assert browser.value(FORMULAS) == browser.value(OUTSIDE) == browser.value(SMALL) == 0


def test_columns_stand_side_by_side_at_a_desk_and_below_each_other_on_a_phone(
    browser: Browser, pages: dict[str, Path]
) -> None:
    places = "[...document.querySelector('tbody tr').cells].map(c => c.getBoundingClientRect().left)"
    browser.open(pages["digits"], DESK)
    assert len(set(browser.value(places))) == 4
    browser.open(pages["digits"], PHONE)
    assert len(set(browser.value(places))) == 1


def test_is_dark_where_the_reader_wants_it(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["digits"], DESK)
    colours = []
    for dark in (True, False):
        browser.dark(dark)
        colours.append(browser.value("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(22, 22, 22)", "rgb(255, 255, 255)"]


@pytest.mark.parametrize("name", MODELS)
def test_prints_on_landscape_pages(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], PHONE)
    pdf = browser.pdf()
    sizes = {tuple(round(float(n)) for n in box.split()[2:]) for box in re.findall(rb"/MediaBox \[(.*?)\]", pdf)}
    assert pdf.startswith(b"%PDF-") and sizes == {(842, 595)}


def test_a_link_leads_to_what_it_names(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["digits"], DESK)
    browser.value("document.querySelector('.entry a').click()")
    found = re.match(r"\s*(\d+)\s*(\S.*)", browser.value("document.querySelector(':target').textContent"))
    lines = (EXAMPLES / "digits" / "digits_kernels.py").read_text(encoding="utf-8").splitlines()
    assert found is not None and lines[int(found[1]) - 1].strip() in found[2]
    browser.value("document.querySelector(':target .cause a').click()")
    assert browser.value("document.querySelector(':target').className") == "entry"
