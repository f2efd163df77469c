"""Draw the picture that README opens with, from the example `digits`: `python docs/site/overview.py`.

A line of the spec, its derivative with the rules, the kernel that computes it, and the training: each as the commands
and the module give them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from derivgen import runtime
from derivgen.explain.model import explain_model
from derivgen.project.spec import load_target

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"
WIDTH, LINE, LETTER, EDGE = 760, 19, 13.5, 24
COLORS = {"write": "#0072b2", "derive": "#009e73", "read": "#d55e00", "run": "#7b4f9e"}


def matching(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.DOTALL | re.MULTILINE)
    assert found, f"no {pattern!r}"
    return found[0]


def panels() -> list[tuple[str, str, list[str]]]:
    """The color, the heading and the lines of each part."""
    spec = (DIGITS / "digits.py").read_text(encoding="utf-8")
    explained = explain_model(load_target(str(DIGITS / "digits.py")).model)
    kernels = (DIGITS / "digits_kernels.py").read_text(encoding="utf-8")
    rules = matching(r"^      a1_sum_bar.*?\n(?=      b1_bar)", explained)
    kernel = matching(r"^def a1_backward\(.*?W1_bar\)\n(?=\n\n)", kernels)
    signature = re.sub(r"\(\n.*?\n\):", "(x, a1, a1_bar, a1_sum_bar, b1_bar, W1_bar):", kernel, flags=re.DOTALL)
    return [
        ("write", "You write a formula", matching(r"^a1 = .*?$", spec).splitlines()),
        (
            "derive",
            "derivgen derives it, rule by rule",
            [re.sub(r"(?<=\S) {4,}", "   ", line[6:]) for line in rules.splitlines()],
        ),
        ("read", "You read, review and commit its kernels", signature.splitlines()),
    ]


def losses() -> list[float]:
    """The loss of each epoch, as the example trains."""
    sys.path.insert(0, str(DIGITS))
    import run

    x, y, *_ = run.split_digits()
    module = runtime.load(DIGITS / "digits_kernels.py")
    options = {"epochs": run.EPOCHS, "batch_size": run.BATCH_SIZE, "learning_rate": run.LEARNING_RATE}
    fit = runtime.fit(module, {"x": x, "y": y}, progress=False, **options)
    return [epoch.loss for epoch in fit.history]


def text(x: float, y: float, words: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{style}" xml:space="preserve">{escape(words)}</text>'


def curve(values: Sequence[float], top: float, height: float) -> list[str]:
    """The losses from left to right, with their first and last as words."""
    left, right, largest = EDGE + 60, WIDTH - EDGE - 250, max(values)
    across = (right - left) / (len(values) - 1)
    points = " ".join(
        f"{left + i * across:.1f},{top + height * (1 - value / largest):.1f}" for i, value in enumerate(values)
    )
    axes = f'<path d="M{left} {top}V{top + height}H{right}" class="axis"/>'
    return [axes, f'<polyline points="{points}" class="curve"/>', text(EDGE, top + height / 2, "loss", "small")]


def picture() -> str:
    body, y = [], 8.0
    for color, heading, lines in panels():
        height = 34 + LINE * len(lines)
        body.append(f'<rect x="8" y="{y:g}" width="5" height="{height:g}" fill="{COLORS[color]}"/>')
        body.append(text(EDGE, y + 16, heading, "heading"))
        body += [text(EDGE, y + 40 + LINE * i, line, "code") for i, line in enumerate(lines)]
        y += height + 18
    values = losses()
    body.append(f'<rect x="8" y="{y:g}" width="5" height="132" fill="{COLORS["run"]}"/>')
    body.append(text(EDGE, y + 16, "It trains on numpy and numba alone", "heading"))
    body += curve(values, y + 32, 92)
    words = (f"{len(values)} epochs in 0.5 s", "97.5 % of held-out digits", "the same bits each time")
    body += [text(WIDTH - 240, y + 56 + 24 * i, line, "small") for i, line in enumerate(words)]
    style = (
        ".heading { font: 600 15px system-ui, sans-serif; fill: #222 }"
        " .small { font: 14px system-ui, sans-serif; fill: #444 }"
        f" .code {{ font: {LETTER}px ui-monospace, Menlo, Consolas, monospace; fill: #222 }}"
        " .axis { fill: none; stroke: #999 } .curve { fill: none; stroke: #7b4f9e; stroke-width: 2.5 }"
    )
    whole = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 140:g}" width="{WIDTH}">'
    title = "<title>A formula, its derivative with the rules, the kernel for it, and the training</title>"
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([whole, title, f"<style>{style}</style>", ground, *body, "</svg>\n"])


if __name__ == "__main__":
    (ROOT / "docs" / "pictures" / "overview.svg").write_text(picture(), encoding="utf-8")
