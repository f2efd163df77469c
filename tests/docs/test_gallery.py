"""The gallery: each example has a function that draws its picture, and the picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import gallery
import pictures
import pytest
from example_files import NAMES

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
LARGEST = 150_000  # bytes: the gallery's first page shows all pictures at once


def test_each_example_is_drawn():
    assert sorted(pictures.PICTURES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_shows_something_and_has_a_caption(name):
    path = PICTURES / f"{name}.svg"
    assert path.is_file(), f"no {path.name}: python docs/site/pictures.py {name}"
    kinds = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
    assert kinds & {"path", "image"}, f"{path.name} is empty: python docs/site/pictures.py {name}"
    assert path.stat().st_size < LARGEST
    assert gallery.captions()[name].endswith(".")


def test_the_same_picture_is_the_same_bytes(tmp_path):
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    pictures.draw("first_steps", first)
    pictures.draw("first_steps", second)
    assert first.read_bytes() == second.read_bytes()
