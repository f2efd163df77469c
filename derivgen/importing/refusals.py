"""What derivgen does not cover, in one table: to lift a refusal, take its row away and use the attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from derivgen.importing.graph import Node

Holds = Callable[[Any], bool]


def other_than(*values: Any) -> Holds:
    return lambda value: value is not None and value not in values


def any_above(least: int) -> Holds:
    return lambda value: value is not None and any(v > least for v in value)


def uneven(pads: Any) -> bool:
    """Whether paddings differ before and after an axis."""
    return pads is not None and list(pads[: len(pads) // 2]) != list(pads[len(pads) // 2 :])


def uneven_images(pads: Any) -> bool:
    return pads is not None and len(pads) > 2 and uneven(pads)


NOT_SAME = other_than("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
PLAIN_PADS = "pad with a node Pad before it, or by equal numbers on both sides"

# Operator, attribute, whether a value of it is refused, and what to do.
ATTRIBUTES: tuple[tuple[str, str, Holds, str], ...] = (
    ("AveragePool", "ceil_mode", other_than(0), "export it with ceil_mode=False"),
    ("AveragePool", "dilations", any_above(1), "use a window without dilation"),
    ("AveragePool", "pads", uneven, PLAIN_PADS),
    ("Conv", "auto_pad", NOT_SAME, "give the paddings as numbers"),
    ("Conv", "pads", uneven_images, PLAIN_PADS),
    ("ConvTranspose", "auto_pad", other_than("NOTSET", "VALID"), "give the paddings as numbers"),
    ("ConvTranspose", "group", other_than(1), "use groups=1"),
    ("ConvTranspose", "output_shape", other_than(), "use output_padding"),
    ("ConvTranspose", "pads", uneven, PLAIN_PADS),
    ("GRU", "activations", other_than(), "use sigmoid and tanh"),
    ("GRU", "clip", other_than(), "export it without clipping"),
    ("GRU", "layout", other_than(0), "export it with layout 0"),
    ("GRU", "linear_before_reset", lambda value: value != 1, "use a GRU that resets after the product, as PyTorch's"),
    ("LSTM", "activations", other_than(), "use sigmoid and tanh"),
    ("LSTM", "clip", other_than(), "export it without clipping"),
    ("LSTM", "input_forget", other_than(0), "use separate gates"),
    ("LSTM", "layout", other_than(0), "export it with layout 0"),
    ("MaxPool", "ceil_mode", other_than(0), "export it with ceil_mode=False"),
    ("MaxPool", "dilations", any_above(1), "use a window without dilation"),
    ("MaxPool", "pads", uneven, PLAIN_PADS),
    ("MaxPool", "storage_order", other_than(0), "export it with storage order 0"),
    ("RNN", "clip", other_than(), "export it without clipping"),
    ("RNN", "layout", other_than(0), "export it with layout 0"),
)
# What to do about operators that are not covered.
ADVICE = {
    "ArgMax": "export the scores, and take the largest one outside of the model",
    "Attention": "export with an older operator set, which has its products and its softmax",
    "If": "export the branch that is used",
    "Loop": "write the loop as model.recur, or use LSTM, GRU or RNN",
    "NonZero": "use a product with 0 and 1, which keeps the sizes",
    "Resize": "repeat elements by a model.let, such as x[n, c, i] at (n, c, 2*i + u)",
    "Scan": "write the loop as model.recur, or use LSTM, GRU or RNN",
    "TopK": "export the scores, and sort them outside of the model",
}
OTHERWISE = "write this part by hand as a model.let, or leave it out before the export"
# Operators that give less than all of their outputs here: the number of those that they give.
OUTPUTS = {"BatchNormalization": 1, "Dropout": 1, "MaxPool": 1, "LayerNormalization": 1}
# Operators, and the place of an input that must be missing, its name, and what to do.
INPUTS: tuple[tuple[str, int, str, str], ...] = (
    ("LSTM", 4, "sequence_lens", "use sequences of one length"),
    ("LSTM", 7, "P", "use an LSTM without peepholes"),
    ("GRU", 4, "sequence_lens", "use sequences of one length"),
    ("RNN", 4, "sequence_lens", "use sequences of one length"),
)


def refused_uses(node: Node, uses: dict[str, int]) -> list[str]:
    """What is asked of the node, and not covered."""
    rows = [row for row in ATTRIBUTES if row[0] == node.operator and row[2](node.get(row[1]))]
    found = [f"{attribute}={node.get(attribute)!r} is not covered: {advice}" for _, attribute, _, advice in rows]
    count = OUTPUTS.get(node.operator, len(node.outputs))
    found += [f"its output {name} is not covered: use the first one" for name in node.outputs[count:] if uses.get(name)]
    given = [row for row in INPUTS if row[0] == node.operator and node.inputs[row[1] : row[1] + 1] not in ((), ("",))]
    return found + [f"its input {name} is not covered: {advice}" for _, _, name, advice in given]
