"""The names of the generated module's contract, and those that a spec therefore can't use."""

from __future__ import annotations

import keyword
import unicodedata

CONTRACT = 1

PUBLIC = (
    "CONTRACT",
    "PARAMETERS",
    "INPUTS",
    "LAYERS",
    "SAMPLE_AXIS",
    "MIXED_AXES",
    "Parameter",
    "Input",
    "Layer",
    "Workspace",
    "State",
    "initial_parameters",
    "views",
    "predict",
    "loss",
    "loss_and_gradient",
    "optimizer_state",
    "update",
    "train_epoch",
    "mean_gradient",
    "descend",
    "activations",
    "workspace",
)

# What `model.second_order` adds.
DERIVATIVES = (
    "hessian_vector_product",
    "hessian",
    "hessian_diagonal",
    "jacobian",
    "jacobian_vector_product",
    "vector_jacobian_product",
    "gauss_newton_vector_product",
    "loss_and_input_gradients",
    "per_sample_gradients",
    "residuals",
)

OF_PREDICTION = ("jacobian", "jacobian_vector_product", "vector_jacobian_product")
# What a function of derivatives takes besides the parameters.
VECTORS = {
    "hessian_vector_product": "v",
    "gauss_newton_vector_product": "v",
    "jacobian_vector_product": "v",
    "vector_jacobian_product": "u",
}

# Arguments of the public functions that stand beside the inputs.
ARGUMENTS = (
    "parameters",
    "gradient",
    "state",
    "order",
    "batch_size",
    "drop_last",
    "steps",
)

# Arguments of runtime.fit, which takes hyperparameters besides.
FIT_ARGUMENTS = (
    *("module", "data", "epochs", "batch_size", "seed", "parameters", "state", "validation_split", "validation"),
    *("shuffle", "drop_last", "accumulate", "class_weights", "metrics", "target", "early_stopping", "keep_best"),
    *("monitor", "progress", "history", "checkpoints", "checkpoint_every", "keep", "resume", "callbacks"),
)

# The module's other functions, and what its public functions call.
HELPERS = (
    "aligned",
    "ADD",
    "ASSIGN",
    "Memory",
    "INTEGER",
    "KIND",
    "ModuleType",
    "NORMAL",
    "REAL",
    "THREAD",
    "TRANSPOSED",
    "XXGEMM",
    "OPTIONS",
    "Data",
    "PredictionData",
    "Tensors",
    "_helperlib",
    "borrowed",
    "buffers",
    "cgutils",
    "check_array",
    "check_count",
    "config",
    "check_hyperparameter",
    "check_input",
    "check_inputs",
    "check_order",
    "check_single",
    "check_state",
    "check_vector",
    "descent",
    "epoch",
    "expected_labels",
    "forward",
    "gather",
    "gemm",
    "gradient_by_batches",
    "gradient_kernel",
    "observe",
    "observation",
    "intrinsic",
    "layout",
    "labels_in_range",
    "loss_kernel",
    "memory",
    "kept_memory",
    "new_memory",
    "orthogonal",
    "prediction_kernel",
    "prediction_labels_in_range",
    "prepare",
    "prepare_prediction",
    "refuse_labels",
    "refuse_prediction_labels",
    "refuse_rows",
    "sparse_rows",
    "split",
    "step",
    "sys",
    "types",
    "this_threads_memory",
    "threading",
    "truncated_normal",
    "view",
    "update_kernel",
    "update_range",
    "update_in_threads",
    "sum_of_squares",
    "ValueError",
    "bool",
    "float",
)

# Its functions where the spec has random or running tensors, or differs in evaluation.
MODE_HELPERS = ("draw", "evaluate", "fraction", "philox", "take_next", "uniform")

# What the functions of the whole model call their own values.
LOCALS = (
    *("steps", "losses", "reals", "integers", "theta", "bar", "into", "alpha_beta", "data", "work", "batch", "rows"),
    *("arrays", "sizes", "refused", "squares", "dot", "product", "diagonal"),
    *(
        "total",
        "observed",
        "first_step",
        "start",
        "stop",
        "mean",
        "seen",
        "objective",
        "row",
        "first",
        "i",
        "j",
        "k",
        "n",
        "t",
    ),
)

# What the text of kernels refers to: a tensor of such a name would shadow it.
KERNEL_GLOBALS = (
    "np",
    "math",
    "njit",
    "real",
    "kernel",
    "elementary",
    "internal",
    "pasted",
    "prange",
    "range",
    "min",
    "max",
    "abs",
    "NamedTuple",
)


def refusal(name: object, kind: str) -> str | None:
    """Why a name can't be used for a tensor, an index or a size, or None if it can."""
    if not isinstance(name, str):
        return f"the name of {article(kind)} must be a string, found {type(name).__name__}"
    if not name.isidentifier():
        return f"{name!r} is no identifier: name the {kind} with letters, digits and _"
    if keyword.iskeyword(name):
        return f"{name!r} is a keyword of Python: choose another name for the {kind}"
    if name in KERNEL_GLOBALS:
        return f"{name!r} has a meaning of its own in generated modules: choose another name for the {kind}"
    if unicodedata.normalize("NFKC", name) != name:
        return f"{name!r} is read by Python as {unicodedata.normalize('NFKC', name)!r}: name the {kind} so"
    if name.startswith("__"):
        return f"{name!r} starts with two underscores, which Python reserves: choose another name for the {kind}"
    if kind == "hyperparameter" and name in (*PUBLIC, *ARGUMENTS, *HELPERS, *LOCALS):
        return f"{name!r} is a name that the generated module's functions use: rename the {kind}"
    if kind in ("input", "labels") and name in (*PUBLIC, *ARGUMENTS, *HELPERS):
        return f"{name!r} is a name of the generated module's functions or their arguments: rename the {kind}"
    return None


def article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else kind if kind == "labels" else f"a {kind}"
