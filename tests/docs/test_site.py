"""The site of the documents: it builds without a warning, its links lead somewhere, and pages fit their widths."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import Browser

ROOT = Path(__file__).parents[2]
WIDTHS = (1280, 390)  # of a desk and of a phone


class Page(HTMLParser):
    """What a page links to, and the places in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.links += [found[key] for key in ("href", "src") if found.get(key)]
        self.places |= {found[key] for key in ("id", "name") if found.get(key)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--builder", "html"]
    done = subprocess.run(
        [sys.executable, *command, "--doctree-dir", folder / "doctrees", ROOT / "docs", folder / "site"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def dead(site: Path) -> Iterator[str]:
    """Links from page to page that lead nowhere."""
    pages = {file: Page(file) for file in site.rglob("*.html")}
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            place = unquote(parts.fragment)
            if not target.exists() or (target in pages and place not in pages[target].places):
                yield f"{file.relative_to(site)}: {link}"


def test_links_and_widths(site: Path, tmp_path: Path) -> None:
    """No link is dead, no page is wider than a desk or a phone, and none asks for anything from outside."""
    assert sorted(dead(site)) == []
    with Browser(tmp_path) as browser:
        for file in sorted(site.rglob("*.html")):
            asked = browser.open(file, WIDTHS[0])
            assert [a for a in asked if not a.startswith(("file:", "data:"))] == [], file
            for width in WIDTHS:
                browser.resize(width)
                assert browser.value("innerWidth") == width
                assert browser.value("document.documentElement.scrollWidth") <= width, (file, width)
