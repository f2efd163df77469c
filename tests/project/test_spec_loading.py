"""Loading of specs: which models are found, and how each mistake is told."""

from __future__ import annotations

import sys

import pytest
import sympy as sp
import sympy.concrete.expr_with_limits as sympy_sums

from derivgen.errors import DerivgenError, SpecError
from derivgen.project import spec

ONE = 'from derivgen import Model\n\nmodel = Model("one")\n'


@pytest.fixture
def write(tmp_path):
    def write(text, name="digits.py"):
        path = tmp_path / name
        path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
        return str(path)

    return write


def refusal(argument):
    with pytest.raises(DerivgenError) as error:
        spec.load_targets(argument)
    return str(error.value)


# ---- which models


def test_one_model_goes_beside_its_spec(write, tmp_path):
    (target,) = spec.load_targets(write(ONE))
    assert (target.model.name, target.output) == ("one", tmp_path / "digits_kernels.py")
    assert target.model_name is None
    assert str(target.model.place) == "digits.py:3"


SEVERAL = """
from derivgen import Model

first = Model("b")
second = Model("a")
alias = first
"""


def test_several_models_come_in_order_of_definition_once_each(write, tmp_path):
    targets = spec.load_targets(write(SEVERAL))
    assert [t.model.name for t in targets] == ["b", "a"]
    assert [t.output.name for t in targets] == ["digits_b_kernels.py", "digits_a_kernels.py"]


@pytest.mark.parametrize(("name", "found"), [("a", "a"), ("b", "b"), ("second", "a"), ("first", "b")])
def test_a_model_is_picked_by_its_name_or_its_variable(write, name, found):
    target = spec.load_target(f"{write(SEVERAL)}:{name}")
    assert (target.model.name, target.model_name, target.output.name) == (found, found, f"digits_{found}_kernels.py")


def test_an_unknown_name_lists_the_models(write):
    assert refusal(f"{write(SEVERAL)}:c").endswith("defines no model 'c': it has b, a")


def test_a_choice_left_open_lists_the_choices(write):
    path = write(SEVERAL)
    with pytest.raises(DerivgenError, match=f"pick one of {path}:b, {path}:a"):
        spec.load_target(path)


def test_a_colon_in_a_file_name_is_no_choice(write):
    assert spec.load_target(write(ONE, "a:b.py")).model.name == "one"


def test_two_models_of_one_name_are_refused(write):
    text = ONE + 'other = Model("one")\n'
    assert "digits.py:4: two models are named 'one' (the other is at digits.py:3)" in refusal(write(text))


def test_a_spec_is_not_run_as_a_script(write):
    text = ONE + 'if __name__ == "__main__":\n    raise SystemExit(1)\n'
    assert spec.load_target(write(text)).model.name == "one"


def test_a_spec_may_define_dataclasses_and_know_its_file(write):
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom pathlib import Path\n"
        "@dataclass\nclass Sizes:\n    d: int = 2\n" + ONE.replace('"one"', "Path(__file__).stem")
    )
    assert spec.load_target(write(text)).model.name == "digits"


# ---- imports


def test_neighbours_are_imported_and_forgotten(tmp_path):
    path = list(sys.path)
    for name in ("a", "b"):
        folder = tmp_path / name
        (folder / "bits").mkdir(parents=True)
        (folder / "neighbour.py").write_text(f"NAME = {name!r}\n")
        (folder / "bits" / "__init__.py").write_text("from bits.more import MORE\n")
        (folder / "bits" / "more.py").write_text(f"MORE = {name!r}\n")
        (folder / "spec.py").write_text(
            "from derivgen import Model\nfrom neighbour import NAME\nfrom bits import MORE\nmodel = Model(NAME + "
            "MORE)\n"
        )
    assert [spec.load_target(str(tmp_path / n / "spec.py")).model.name for n in ("a", "b")] == ["aa", "bb"]
    assert not {"neighbour", "bits", "bits.more", spec.SPEC_MODULE} & set(sys.modules)
    assert sys.path == path


def test_derivgen_stays_imported_though_it_lies_in_the_folder_of_a_spec():
    import derivgen

    with spec.spec_imports(spec.PACKAGE.parent, derivgen):
        sys.modules["derivgen.made_up"] = derivgen
    assert sys.modules.pop("derivgen.made_up") is derivgen


# ---- SymPy's fold


NESTED = """
from sympy import Piecewise, Sum, tanh
from derivgen import Model

model = Model("m")
I, R = model.sizes(I=4, R=3)
i, r = model.indices(i=I, r=R)
x, K = model.input("x", I), model.parameter("K", R)
pixel = Piecewise((x[i + r - 1], (i + r >= 1) & (i + r <= I)), (0, True))
formula = Sum(tanh(Sum(pixel * K[r], r)), i)
"""


def test_a_guard_stays_inside_its_sum(write, monkeypatch):
    seen = {}
    monkeypatch.setattr(spec, "check_names", lambda models: None)
    original = spec.models_of

    def spy(module, kind):
        seen.update(module.__dict__)
        return original(module, kind)

    monkeypatch.setattr(spec, "models_of", spy)
    spec.load_targets(write(NESTED))
    outer = seen["formula"]
    assert isinstance(outer, sp.Sum) and outer.function.func is sp.tanh
    inner = outer.function.args[0]
    assert isinstance(inner, sp.Sum) and inner.function.has(sp.Piecewise)


def test_the_fold_is_restored_also_after_an_error(write):
    fold = sympy_sums.piecewise_fold
    spec.load_targets(write(ONE))
    assert sympy_sums.piecewise_fold is fold
    refusal(write("1 / 0\n"))
    assert sympy_sums.piecewise_fold is fold


# ---- mistakes


def test_paths_that_are_no_spec(write, tmp_path):
    assert refusal(str(tmp_path / "none.py")).startswith(f"{tmp_path}/none.py does not exist")
    assert "is a folder" in refusal(str(tmp_path))
    assert "is no Python file" in refusal(write("# Digits\n", "README.md"))
    write("x", "file.py")
    assert "can't be read: Not a directory" in refusal(str(tmp_path / "file.py" / "spec.py"))


def test_a_spec_without_a_model(write):
    message = refusal(write("import sympy\n"))
    assert "digits.py defines no model" in message and 'model = Model("digits")' in message


def test_a_generated_module_is_no_spec(write):
    from contract_module import module_text

    message = refusal(write(module_text("bowl"), "bowl_kernels.py"))
    assert "it is a generated module" in message and "bowl.py" in message


RAISING = """
from derivgen import Model

def layer(width):
    return 1 / width

model = Model("one")
layer(0)
"""


SHIFTED = """from derivgen import Model
model = Model("digits")
n = model.indices(n=4)
x = model.input("x", 4)
model.minimize(x[{}(n / 2)])
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RAISING, "digits.py:5: the spec raised ZeroDivisionError: division by zero"),
        ("import no_such_package\n", "digits.py:1: the spec raised ModuleNotFoundError: No module named"),
        ("x = undefined\n", "digits.py:1: undefined is not defined here: define it above this line, or import it"),
        (
            SHIFTED.format("floor"),
            "digits.py:5: floor is not defined: write from sympy import floor",
        ),
        ("\nimport sys\nsys.exit(3)\n", "digits.py:3: the spec ended itself by SystemExit(3)"),
        ("def f():\n    return f()\n\nf()\n", "digits.py:2: the spec raised RecursionError"),
        (
            "from sympy import Sum\n\nSum(1)\n",
            "digits.py:3: a Sum names the indices that it runs over, found none: write Sum(1, d) for the sum over d",
        ),
        (
            "from derivgen import optimizers\noptimizers.adamw(weight_deca=0.1)\n",
            "digits.py:2: adamw has no argument weight_deca; did you mean weight_decay? its arguments are "
            "learning_rate, beta_1,",
        ),
        (
            "from derivgen import Model\nm = Model('m')\nw = m.parameter(\n    'w', 3, initial=0\n)\n",
            "digits.py:3: parameter has no argument initial; did you mean init? its arguments are name, shape, init",
        ),
        (
            "from derivgen import losses, schedules\nrate = schedules.cosine(0.1, decay_step=9)\n",
            "digits.py:2: cosine has no argument decay_step; did you mean decay_steps? its arguments are rate, "
            "decay_steps, end",
        ),
        (
            "from derivgen import layers\ndef dense(x, *, out):\n    return x\ndense(1, ou=2)\n",
            "digits.py:4: the spec raised TypeError: dense() got an unexpected keyword argument 'ou'",
        ),
        ("\n\nx = (1,\n", "digits.py:3: not valid Python, '(' was never closed: x = (1,"),
        ("a = 1\n  b = 2\n", "digits.py:2: not valid Python, unexpected indent"),
        (b"a = 1\nb = '\xe9'\n", "digits.py:2: not a text in utf-8, found byte 0xe9: save the file as UTF-8"),
        (b"# coding: no-such\n", "digits.py:1: unknown encoding: no-such"),
        (b"a = 1\0\n", "digits.py:1: not valid Python"),
    ],
)
def test_a_broken_spec_is_refused_at_its_line(write, text, message):
    path = write(text)
    with pytest.raises(SpecError) as error:
        spec.load_targets(path)
    assert str(error.value).startswith(message)
    assert "Traceback" not in str(error.value)


def test_a_declared_encoding_is_honoured(write):
    assert spec.load_target(write(b"# coding: latin-1\n# \xe9\n" + ONE.encode())).model.name == "one"


def test_an_error_in_a_neighbour_is_told_at_its_line(write):
    write("def layer():\n    raise ValueError('no width')\n", "my_layers.py")
    assert refusal(write("import my_layers\n\nmy_layers.layer()\n")) == (
        "my_layers.py:2: the spec raised ValueError: no width"
    )


def test_a_spec_error_inside_a_spec_is_told_as_it_is(write):
    text = "from derivgen.errors import Problem, SpecError\nraise SpecError([Problem(None, 'mine')])\n"
    assert refusal(write(text)) == "mine"


def test_what_the_model_refused_before_the_spec_raised_is_told_too(write):
    text = ONE + 'model.sizes(D=0)\nmodel.sizes(H="x")\n1 / 0\n'
    lines = refusal(write(text)).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["digits.py:4", "digits.py:5", "digits.py:6"]
    assert "ZeroDivisionError" in lines[-1]
