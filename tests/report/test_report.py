"""What stands on the page of `derivgen report`: read with the standard library, for models of all kinds."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command import but_signs, fail, run, succeed
from random_specs import Spec, for_each_spec, many

from derivgen.print.naming import KERNELS
from derivgen.project.spec import load_targets
from derivgen.report import kernels as known
from derivgen.report.causes import lines_of

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = ("digits", "characters_transformer", "option_greeks", "characters_lstm")
ALL = sorted(path.stem.removesuffix("_kernels") for path in EXAMPLES.glob("*/*_kernels.py"))


@dataclass
class Node:
    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    @property
    def words(self) -> set[str]:
        return set(self.attributes.get("class", "").split())

    def all(self, tag: str = "", word: str = "") -> list[Node]:
        inside = [c for c in self.children if isinstance(c, Node)]
        own = [self] if (not tag or self.tag == tag) and (not word or word in self.words) else []
        return own + [found for child in inside for found in child.all(tag, word)]


class Tree(HTMLParser):
    """A page as a tree; a tag that is not closed where it should be is an error."""

    OPEN = ("meta", "col", "wbr", "br", "mspace")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Node("", {})
        self.stack = [self.root]
        self.feed(text)
        assert self.stack == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.stack[-1].children.append(node)
        if tag not in self.OPEN:
            self.stack.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)


PageOf = Callable[[str], tuple[str, str, Node]]


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> PageOf:
    """(name, the page's text, its tree) of an example; each page is made once."""

    @cache
    def made(name: str) -> tuple[str, str, Node]:
        file = tmp_path_factory.mktemp("report") / "page.html"
        succeed("report", EXAMPLES / name / f"{name}.py", "-o", file)
        text = file.read_text(encoding="utf-8")
        return name, text, Tree(text).root

    return made


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, page_of: PageOf) -> tuple[str, str, Node]:
    return page_of(request.param)


def kernels_of(name: str) -> dict[str, list[str]]:
    """The lines of each kernel in the module of an example, as they stand in it."""
    text = (EXAMPLES / name / f"{name}_kernels.py").read_text(encoding="utf-8")
    nodes = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.decorator_list)
    kernels = [n for n in nodes if getattr(n.decorator_list[0], "id", "") in KERNELS]
    lines = text.splitlines()
    return {n.name: lines[n.decorator_list[0].lineno - 1 : n.end_lineno] for n in kernels}


def test_every_definition_has_a_row_in_the_order_of_the_spec(model: tuple[str, str, Node]) -> None:
    name, _, page = model
    declared = [d.name for d in load_targets(str(EXAMPLES / name / f"{name}.py"))[0].model.definitions]
    rows = [n.attributes["id"].removeprefix("row-") for n in page.all("tr") if "id" in n.attributes]
    assert rows[: len(declared) + 1] == [*declared, "loss"]
    assert set(rows[len(declared) + 1 :]) <= kernels_of(name).keys()  # of functions of derivatives
    shown = {n.attributes["id"]: n for n in page.all("div") if n.attributes.get("id", "").startswith("formula-")}
    assert all(shown[f"formula-{row}"].all("math") for row in (*declared, "loss"))


def test_the_spec_stands_there_by_its_lines(model: tuple[str, str, Node]) -> None:
    name, _, page = model
    spec = (EXAMPLES / name / f"{name}.py").read_text(encoding="utf-8").splitlines()
    for row in (n for n in page.all("tr") if n.attributes.get("id", "").startswith("row-")):
        file, _, line = row.all("p", "place")[0].text.partition(":")
        assert file == f"{name}.py"
        assert row.all("pre")[0].text.splitlines()[0] == spec[int(line) - 1].strip()


@pytest.mark.parametrize(("name", "shown"), [("digits", True), ("decay_curve", False)])
def test_a_model_that_solvers_fit_has_no_update_rule(page_of: PageOf, name: str, shown: bool) -> None:
    headings = [heading.text for heading in page_of(name)[2].all("h2")]
    assert ("Update rule" in headings) == shown and "What else is in the module" in headings


def test_every_line_of_a_kernel_stands_there_once_with_a_cause(model: tuple[str, str, Node]) -> None:
    name, _, page = model
    shown = {n.attributes["id"].removeprefix("kernel-"): n for n in page.all("section", "kernel")}
    assert len(shown) == len(page.all("section", "kernel"))
    for kernel, lines in kernels_of(name).items():
        found = shown.pop(kernel).all("div", "line")
        assert [line.all("span", "text")[0].text for line in found] == lines
        for line in found:
            (cause,) = line.all("span", "cause")
            assert cause.all("a") or cause.text in ("signature", "docstring", "size")
    assert not shown


def test_links_lead_somewhere_and_nothing_is_fetched(model: tuple[str, str, Node]) -> None:
    _, text, page = model
    ids = [n.attributes["id"] for n in page.all() if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    links = [n.attributes["href"] for n in page.all("a")]
    assert all(link.startswith("#") for link in links) and {link[1:] for link in links} <= set(ids)
    assert not re.search(r"(?i)\bhttps?:|\bsrc=|@import|url\(|<script|<link", text)


def test_formulas_and_lines_name_each_other(model: tuple[str, str, Node]) -> None:
    """From an entry to the first line that computes it, from there back to an entry of the same formula."""
    _, _, page = model
    lines = {n.attributes["id"]: n for n in page.all("div", "line") if "id" in n.attributes}
    entries = {n.attributes["id"]: n for n in page.all("div", "entry")}
    for entry in entries.values():
        there = entry.all("a")[-1].attributes["href"][1:]
        back = [a.attributes["href"][1:] for a in lines[there].all("a")]
        assert any(there in [a.attributes["href"][1:] for a in entries[e].all("a")] for e in back)


def test_every_adjoint_names_its_statement_and_its_rule(model: tuple[str, str, Node]) -> None:
    _, _, page = model
    adjoints = page.all("div", "adjoint")
    statements = {n.attributes["id"] for n in page.all("div", "part")}
    assert adjoints
    for adjoint in adjoints:
        assert adjoint.all("a")[0].attributes["href"][1:] in statements
        assert adjoint.all("ul", "rules") and adjoint.all("ul", "rules")[0].all("li")


def test_conventions_stand_beside_the_adjoints_that_need_them(page_of: PageOf) -> None:
    _, _, page = page_of("characters_transformer")
    (relu,) = (n for n in page.all("div", "adjoint") if n.attributes["id"] == RELU)
    assert "Convention: " in relu.text and "maximum" in relu.text


RELU = "adjoint-block1_dense1-block1_dense1_sum_bar"


def test_a_shared_kernel_names_its_users(model: tuple[str, str, Node]) -> None:
    name, _, page = model
    if name == "characters_transformer":
        (kernel,) = (n for n in page.all("section") if n.attributes["id"] == "kernel-block1_attention_query_forward")
        assert kernel.all("p", "small")[0].text == (
            "one text for 3 users: block1_attention_query, forward; block1_attention_key, forward; "
            "block1_attention_value, forward"
        )
        (row,) = (n for n in page.all("tr") if n.attributes.get("id") == "row-block1_attention_key")
        assert "#kernel-block1_attention_query_forward" in [a.attributes["href"] for a in row.all("a")]


def test_evidence(model: tuple[str, str, Node]) -> None:
    name, text, page = model
    assert "not verified" not in text and "docstring against loops: its loops give what the docstring says" in text
    row = {n.attributes["id"]: n.all("td")[-1].text for n in page.all("tr") if "id" in n.attributes}
    if name == "digits":
        assert "functions: tanh 1.9 ulp" in row["row-a1"] and "cost, at most: 4128*N operations" in row["row-a1"]
        assert re.search(r"W1: relative error \de-3\d, 2 of 2048 coordinates, 1 direction", row["row-a1"])
    if name == "characters_transformer":
        words = r"a step has [\d,]{9,} operations, of 200,000 at most: derivgen gradcheck does it"
        assert re.search(words, row["row-embedded"])


def test_second_derivatives_have_their_rules(model: tuple[str, str, Node]) -> None:
    """Of each parameter's gradient, the derivatives by each that follows it, and one rule at least for each."""
    name, text, page = model
    assert ("only functions of derivatives call: hessian" in text) == (name == "option_greeks")
    if name == "option_greeks":
        rows = [n for n in page.all("tr") if "_bar_through_" in n.attributes.get("id", "")]
        adjoints = [adjoint for row in rows for adjoint in row.all("div", "adjoint")]
        targets = {adjoint.attributes["id"].split("-")[3] for adjoint in adjoints}
        greeks = ("spot", "volatility", "rate", "maturity")
        assert {f"{a}_bar_by_{b}" for k, a in enumerate(greeks) for b in greeks[k:]} <= targets
        assert all(adjoint.all("ul", "rules")[0].all("li") for adjoint in adjoints)
        discount = next(a for a in adjoints if a.attributes["id"].endswith("-discount_bar-rate_bar_by_payoff"))
        assert "sum over n" in discount.text


def test_verdicts_stand_there_where_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "docstring_verdicts", lambda text: {"z2_forward": "the same to 2 ulp"})
    succeed("report", EXAMPLES / "digits" / "digits.py", "-o", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "docstring against loops: the same to 2 ulp" in text and "1 of 7 kernels checked" in text


@pytest.mark.parametrize("name", ALL)
def test_no_line_of_an_example_is_without_a_cause(name: str) -> None:
    """Every formula of a docstring is computed by some line, too."""
    text = (EXAMPLES / name / f"{name}_kernels.py").read_text(encoding="utf-8")
    for kernel in known.kernels_in(text).values():
        assert kernel.unexplained == 0 and not kernel.missed
        computed = {i for line in kernel.lines if line.kind in ("computes", "clears") for i in line.formulas}
        holds = {i for line in kernel.lines if " holds " in line.text for i in line.formulas}
        assert computed | holds == set(range(len(kernel.labels)))


def test_random_specs(tmp_path: Path) -> None:
    """Each line has a cause, each link a place, and each place one name."""

    def check(spec: Spec) -> None:
        (tmp_path / "spec.py").write_text(spec.text, encoding="utf-8")
        succeed("report", tmp_path / "spec.py", "-o", tmp_path / "page.html")
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "none of them without a cause" in text
        page = Tree(text).root
        ids = [n.attributes["id"] for n in page.all() if "id" in n.attributes]
        assert len(ids) == len(set(ids)) and {a.attributes["href"][1:] for a in page.all("a")} <= set(ids)

    for_each_spec(check, many(2), start=1)


KERNEL = '''\
@kernel
def z_forward(x: Real[N], w: Real[1], z: Real[N]):
    """z[n] = x[n]·w"""
    N = x.shape[0]
    w_0 = w[0]
    unused = real(2) * w_0
    for n in range(N):
        z[n] = x[n] * w_0
'''


def test_a_line_that_nothing_needs_has_no_cause() -> None:
    (function,) = ast.parse(KERNEL).body
    assert isinstance(function, ast.FunctionDef)
    found = {line.number: line for line in lines_of(function, KERNEL.splitlines())}
    assert [n for n, line in found.items() if not line.has_cause] == [6]
    assert [found[n].kind for n in (4, 5, 7, 8)] == ["size", "part", "loop", "computes"]


TERMS = '''\
@kernel
def z_backward(a: Real[N], b: Real[N], s: Real[N], s_bar: Real[1], e: Real[N], p: Real[N]):
    """s_bar = Σ_n a[n]
    s_bar += Σ_n b[n]·s[n]
    e[n] = exp(s[n])
    p[n] = e[n]/(Σ_n e[n])
    p holds e before
    """
    N = a.shape[0]
    s_bar_total = real(0)
    for n in range(N):
        s_bar_total += a[n]
        s_bar_total += b[n] * s[n]
    s_bar[0] = s_bar_total
    total = real(0)
    for n in range(N):
        p[n] = exp(s[n])
        total += p[n]
    reciprocal = real(1) / total
    for n in range(N):
        p[n] = p[n] * reciprocal
'''


def test_terms_of_one_array_are_told_apart() -> None:
    (function,) = ast.parse(TERMS).body
    assert isinstance(function, ast.FunctionDef)
    found = {line.number: line.formulas for line in lines_of(function, TERMS.splitlines())}
    assert [found[n] for n in (12, 13, 14, 17, 18, 19, 21)] == [(0,), (1,), (0, 1), (2,), (3,), (3,), (3,)]


SPEC = """\
from sympy import Sum, {function}
from derivgen import Model

model = Model("wave")
N = model.batch("N")
n = model.indices(n=N)
x = model.input("x", N)
w, v = model.parameter("w", init=1), model.parameter("v", init=1)
z = model.let("z", n, {function}(w * x[n]))
{more}model.minimize(Sum(z[n] ** 2, n) / N + v ** 2)
"""


def write(path: Path, function: str = "sin", more: str = "") -> Path:
    path.write_text(SPEC.format(function=function, more=more), encoding="utf-8")
    return path


def rows_against(folder: Path, *arguments: object) -> dict[str, str]:
    succeed("report", *arguments, "-o", folder / "page.html")
    page = Tree((folder / "page.html").read_text(encoding="utf-8")).root
    return {n.attributes["id"]: n.all("td")[-1].text.strip() for n in page.all("tr") if "id" in n.attributes}


def test_against_another_file(tmp_path: Path) -> None:
    more = 'q = model.let("q", n, 2 * z[n])\nmodel.predict(q)\n'
    old, new = write(tmp_path / "old.py", more=more), write(tmp_path / "new.py", "cos")
    rows = rows_against(tmp_path, new, "--against", old)
    assert rows["row-z"].startswith("changed") and "sin(w * x[n])" in rows["row-z"]
    assert rows["gone-q"].startswith("gone")
    assert rows_against(tmp_path, old, "--against", new)["row-q"] == "new"
    assert rows_against(tmp_path, old, "--against", old)["row-z"] == "equal"


def test_against_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("wave.py"))
    succeed("generate", "wave.py")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)
    write(Path("wave.py"), "cos")
    assert rows_against(tmp_path, "wave.py", "--against", "HEAD")["row-z"].startswith("changed")
    assert "git has no wave.py at no-such" in fail("report", "wave.py", "--against", "no-such", "-o", "page.html")


TWO = """\
from sympy import Sum, sin
from derivgen import Model


def build(name):
    model = Model(name)
    N = model.batch("N")
    n = model.indices(n=N)
    w = model.parameter("w", init=1)
    z = model.let("z", n, sin(w * model.input("x", N)[n]))
    model.minimize(Sum(z[n] ** 2, n) / N)
    return model


wave, other = build("wave"), build("other")
"""


def test_several_models_on_one_page(tmp_path: Path) -> None:
    (tmp_path / "waves.py").write_text(TWO, encoding="utf-8")
    succeed("report", tmp_path / "waves.py", "-o", tmp_path / "page.html")
    page = Tree((tmp_path / "page.html").read_text(encoding="utf-8")).root
    ids = [n.attributes["id"] for n in page.all() if "id" in n.attributes]
    assert len(ids) == len(set(ids)) and {"wave-row-z", "other-row-z"} <= set(ids)
    assert {a.attributes["href"][1:] for a in page.all("a")} <= set(ids)


def test_refusals(tmp_path: Path) -> None:
    spec = write(tmp_path / "wave.py")
    assert "expected a file of HTML, such as wave.html" in fail("report", spec, "-o", tmp_path / "wave.py")
    assert "no-such.py" in fail("report", tmp_path / "no-such.py", "-o", tmp_path / "page.html")
    assert "Missing option" in fail("report", spec)


def test_a_module_that_was_edited_by_hand_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("wave.py"))
    succeed("generate", "wave.py")
    assert but_signs(run("report", "wave.py", "-o", "page.html").stderr) == ""
    assert 'class="remark' not in shown("page.html")
    module = Path("wave_kernels.py")
    module.write_text(module.read_text().replace(" += ", " -= ", 1))
    result = run("report", "wave.py", "-o", "page.html")
    words = "wave_kernels.py on disk was edited by hand: "
    assert result.exit_code == 0
    assert but_signs(result.stderr).startswith(f"note: {words}the page is about what the spec generates")
    assert f"{words}this page is about what the spec generates, not about that file." in shown("page.html")


def shown(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")
