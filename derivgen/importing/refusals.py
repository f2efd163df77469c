"""What derivgen does not cover, in one table: to lift a refusal, take its row away and use the attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from derivgen.importing.graph import Node

Holds = Callable[[Any], bool]


def other_than(*values: Any) -> Holds:
    return lambda value: value is not None and value not in values


NOT_SAME = other_than("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")

# Operator, attribute, whether a value of it is refused, and what to do.
ATTRIBUTES: tuple[tuple[str, str, Holds, str], ...] = (
    ("Conv", "auto_pad", NOT_SAME, "give the paddings as numbers"),
    ("ConvTranspose", "auto_pad", NOT_SAME, "give the paddings as numbers"),
    ("ArgMax", "select_last_index", other_than(0), "use the first index"),
    ("ArgMin", "select_last_index", other_than(0), "use the first index"),
    ("GRU", "clip", other_than(), "export it without clipping"),
    ("LSTM", "clip", other_than(), "export it without clipping"),
    ("LSTM", "input_forget", other_than(0), "use separate gates"),
    ("MaxPool", "storage_order", other_than(0), "export it with storage order 0"),
    ("RNN", "clip", other_than(), "export it without clipping"),
)
# What to do about operators that are not covered.
ADVICE = {
    "If": "export the branch that is used",
    "Loop": "write the loop as model.recur, or use LSTM, GRU or RNN",
    "NonZero": "use a product with 0 and 1, which keeps the sizes",
    "Scan": "write the loop as model.recur, or use LSTM, GRU or RNN",
    "TopK": "export the scores, and sort them outside of the model",
}
OTHERWISE = "write this part by hand as a model.let, or leave it out before the export"
# Operators that give less than all of their outputs here: the number of those that they give.
OUTPUTS = {"Attention": 1, "BatchNormalization": 1, "Dropout": 1, "MaxPool": 1, "LayerNormalization": 1}


def refused_uses(node: Node, uses: dict[str, int]) -> list[str]:
    """What is asked of the node, and not covered."""
    rows = [row for row in ATTRIBUTES if row[0] == node.operator and row[2](node.get(row[1]))]
    found = [f"{attribute}={node.get(attribute)!r} is not covered: {advice}" for _, attribute, _, advice in rows]
    unmade = node.outputs[OUTPUTS.get(node.operator, len(node.outputs)) :]
    return found + [f"its output {name} is not covered: use the first one" for name in unmade if uses.get(name)]
