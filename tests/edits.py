"""Thirty edits of specs, as reviewers meet them: what they change in modules is measured, and reviewed."""

from __future__ import annotations

from dataclasses import dataclass

from example_files import EXAMPLES


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of an example's spec: texts that stand there once, and what takes their place."""

    example: str
    title: str
    changes: tuple[tuple[str, str], ...]

    @property
    def before(self) -> str:
        return (EXAMPLES / self.example / f"{self.example}.py").read_text(encoding="utf-8")

    @property
    def after(self) -> str:
        text = self.before
        for old, new in self.changes:
            assert old in text, (self.example, old)
            text = text.replace(old, new)
        return text


ADAM = ("model.update(optimizers.adam())", "model.update(optimizers.momentum())")
DIGITS_MODEL = 'model = Model("digits")'
LSTM_DENSE = 'p = activations.softmax(layers.dense(h, C, name="logits"), name="p")'
PRICE = 'value = model.let("value", n, named("discount", exp(-rate * maturity)) * payoff[n])'
IMPORTS = ("from derivgen import Model\n", "from derivgen import Model, layers, optimizers\n")
W1 = 'W1, b1 = model.parameter("W1", D, H, init="glorot_uniform"), model.parameter("b1", H)\n'
LAST = 'model.parameter("b2", C)\n'
PREDICT, LOGITS = "model.predict(p)", "z2 = model.let"


def before(text: str, line: str) -> tuple[str, str]:
    """A line before a text, with the same indentation."""
    indent = "    " if text == LSTM_DENSE else ""
    return text, f"{line}\n{indent}{text}"


EDITS = (
    Edit("digits", "another activation", (("tanh(Sum", "atan(Sum"), ("exp, log, tanh", "atan, exp, log"))),
    Edit("digits", "a penalty", (("/ N)\nmodel.predict", "/ N + 0.001 * Sum(W1[d, h] ** 2, d, h))\nmodel.predict"),)),
    Edit("digits", "another size", (("H=32", "H=48"),)),
    Edit("digits", "another optimizer", (IMPORTS, before(PREDICT, "model.update(optimizers.adam())"))),
    Edit("digits", "a renamed layer", (("a1", "hidden"),)),
    Edit("digits", "a renamed parameter", (("W1", "weights"),)),
    Edit("digits", "another dtype", ((DIGITS_MODEL, 'model = Model("digits", dtype="float64")'),)),
    Edit("digits", "another loss", (("Sum(-log(p[n, y[n]]), n)", "Sum((1 - p[n, y[n]]) ** 2, n)"),)),
    Edit(
        "digits",
        "a layer in between",
        (
            ("H=32", "H=32, G=24"),
            ("model.indices(n=N", "model.indices(g=G, n=N"),
            ("n, d, h, c =", "g, n, d, h, c ="),
            ("D, H, C =", "D, H, G, C ="),
            ('model.parameter("W2", H', 'model.parameter("V", H, G), model.parameter("W2", G'),
            ("W2, b2 =", "V, W2, b2 ="),
            ("z2 = model.let", 'm = model.let("m", (n, g), tanh(Sum(a1[n, h] * V[h, g], h)))\nz2 = model.let'),
            ("Sum(a1[n, h] * W2[h, c], h)", "Sum(m[n, g] * W2[g, c], g)"),
        ),
    ),
    Edit("digits", "dropout", (IMPORTS, before(LOGITS, 'a1 = layers.dropout(a1, 0.3, name="dropped")'))),
    Edit("digits", "batch normalization", (IMPORTS, before(LOGITS, 'a1 = layers.batch_norm(a1, name="norm")'))),
    Edit("digits", "second order", (before(PREDICT, 'model.second_order("hessian_vector_product")'),)),
    Edit("digits", "another order of declarations", ((W1, ""), (LAST, LAST + W1))),
    Edit("xor", "another size", (("H=2", "H=4"),)),
    Edit("xor", "another loss", (("(y[n] - output[n]) ** 2", "(y[n] - output[n]) ** 4"),)),
    Edit("xor", "a renamed layer", (("hidden", "units"),)),
    Edit("characters_lstm", "another size", (("units=128", "units=96"),)),
    Edit("characters_lstm", "another optimizer", (ADAM,)),
    Edit("characters_lstm", "a renamed layer", (('name="lstm"', 'name="h"'),)),
    Edit("characters_lstm", "another cell", (("layers.lstm(", "layers.gru("),)),
    Edit(
        "characters_lstm",
        "a layer in between",
        (before(LSTM_DENSE, 'h = layers.dense(h, 64, name="middle", activation=activations.relu)'),),
    ),
    Edit("characters_lstm", "dropout", (before(LSTM_DENSE, 'h = layers.dropout(h, 0.2, name="dropped")'),)),
    Edit("characters_transformer", "another size", (("units=256", "units=128"),)),
    Edit("characters_transformer", "another optimizer", (ADAM,)),
    Edit("characters_transformer", "without rotary positions", ((", rotary=True", ""),)),
    Edit("characters_transformer", "two blocks", (("blocks=1)", "blocks=2)"),)),
    Edit("option_greeks", "the mirror image, a put", (("(S[n] - strike)", "(strike - S[n])"),)),
    Edit("option_greeks", "a factor on one term", ((PRICE, PRICE.replace("payoff[n]", "payoff[n] * 1.01")),)),
    Edit("pharmacokinetics", "a factor on one term", (("A[i] * exp(-alpha[i]", "A[i] * exp(-2 * alpha[i]"),)),
    Edit("pharmacokinetics", "a renamed parameter", (("log_V1", "log_central"),)),
)  # fmt: skip
