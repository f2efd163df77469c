"""Write scikit-learn's digits as arrays of C, split as in ../run.py: `python data.py digits_data.h`."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from run import split_digits


def array(declaration: str, values: np.ndarray, suffix: str) -> str:
    rows = (", ".join(f"{value}{suffix}" for value in row.tolist()) for row in values.reshape(len(values), -1))
    braces = "    {{{}}},\n" if values.ndim == 2 else "    {},\n"
    return f"static const {declaration} = {{\n{''.join(braces.format(row) for row in rows)}}};\n"


def header(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> str:
    return "\n".join(
        [
            "/* Images of digits, their pixels scaled to 0 .. 1, and their labels. Written by data.py. */\n",
            "#include <stdint.h>\n",
            f"enum {{ PIXELS = {x_train.shape[1]}, TRAIN_ROWS = {len(x_train)}, TEST_ROWS = {len(x_test)} }};\n",
            array("float x_train[TRAIN_ROWS][PIXELS]", x_train, "f"),
            array("int64_t y_train[TRAIN_ROWS]", y_train, ""),
            array("float x_test[TEST_ROWS][PIXELS]", x_test, "f"),
            array("int64_t y_test[TEST_ROWS]", y_test, ""),
        ]
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(header(*split_digits()), encoding="utf-8")
