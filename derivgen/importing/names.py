"""Good Python names, from those that graphs have."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection

from derivgen.file import contract

# What exporters write where the program had no name.
MADE_UP = re.compile(r"^(onnx::|val_|_|/|node_|getitem|scalar_tensor|t_\d|\d+$|const)|Constant|::")
# What a spec imports, and functions of Python that readers expect to be what they are.
TAKEN = {"model", "layers", "activations", "losses", "Model", "Sum", "MaxOver", "Piecewise", "runtime", "optimizers"}
TAKEN |= {"And", "Or", "Not", "Eq", "Ne", "Abs", "Max", "Min", "exp", "log", "sqrt", "erf", "erfc", "oo", "functions"}
TAKEN |= {"input", "max", "min", "sum", "abs", "print", "range", "len", "type", "id", "sin", "cos", "tan", "atan"}
ENDING = re.compile(r"(weight|bias|running_mean|running_var|(weight|bias)_[ih]h_l(?P<layer>\d+)(_reverse)?)$")


def is_given(name: str) -> bool:
    """Whether somebody gave this name, and not an exporter."""
    return bool(name) and not MADE_UP.search(name)


def identifier(name: str) -> str:
    """`encoder.layers.0.norm` → encoder_layers0_norm; nothing where no letter is left."""
    if name.isidentifier() and name.isascii() and not name.startswith("_"):
        return name
    words = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    words = re.sub(r"(?<=[A-Za-z])_(\d+)(?=_|$)", r"\1", words)
    return words if words[:1].isalpha() and words.isascii() else ""


def layer_of(weight: str) -> str:
    """`conv1.weight` → conv1, `rnn.weight_ih_l1` → rnn_l1, `attention.in_proj_bias` → attention.in_proj; nothing where
    the name has none of these forms.
    """
    layer, dot, last = weight.rpartition(".")
    part = re.match(r"(\w+)_(weight|bias)$", last)
    found = ENDING.match(last)
    if dot and part and not found:
        return f"{layer}.{part[1]}"
    if not (dot and found):
        return ""
    number = found["layer"]
    return f"{layer}_l{number}" if number and number != "0" else layer


def layer_name(path: str, kind: str) -> str:
    """The name of a layer of this kind at a path of modules: `0` is conv0, `features.0` is features_conv0."""
    *parents, last = path.split(".")
    last = f"{kind}{last}" if last.isdigit() else last
    return identifier(".".join([*parents, last])) or kind


def usable(name: str, kind: str) -> str:
    """The name, or the next that a spec may use."""
    while keyword.iskeyword(name) or name in TAKEN or contract.refusal(name, kind) is not None:
        name = f"{name[:70]}_"
    return name


def unique(name: str, taken: Collection[str]) -> str:
    """The name, or `name_2`, `name_3`, …"""
    tried, number = name, 1
    while tried in taken:
        number += 1
        tried = f"{name}_{number}"
    return tried
