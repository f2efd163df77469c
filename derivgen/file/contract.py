"""The names of the generated module's contract, and those that a spec therefore can't use."""

from __future__ import annotations

import keyword
import unicodedata

from derivgen.file.fixed_names import BESIDE_INPUTS, BESIDE_RULE, words

CONTRACT = 1
DTYPES = ("float32", "float64")  # of a module; the first if none is given
SEED, TRAINING, FIRST_STEP = "seed", "training", "first_step"  # arguments of modules that draw, or have two modes

PUBLIC = words(
    """
    CONTRACT PARAMETERS INPUTS LAYERS SAMPLE_AXIS MIXED_AXES Parameter Input Layer State initial_parameters
    views predict loss loss_and_gradient optimizer_state update train_epoch mean_gradient descend activations workspace
    COMPILING
    """
)

# What `model.second_order` adds.
DERIVATIVES = words(
    """
    hessian_vector_product hessian hessian_diagonal jacobian jacobian_vector_product vector_jacobian_product
    gauss_newton_vector_product loss_and_input_gradients per_sample_gradients residuals
    evaluation_gradient evaluation_input_gradients
    """
)

EVALUATION_GRADIENT = "evaluation_gradient"  # which loss_and_gradient gives outside training
OF_EVALUATION = (EVALUATION_GRADIENT, "evaluation_input_gradients")
OF_PREDICTION = ("jacobian", "jacobian_vector_product", "vector_jacobian_product")
# What a function of derivatives takes besides the parameters.
VECTORS = {
    "hessian_vector_product": "v",
    "gauss_newton_vector_product": "v",
    "jacobian_vector_product": "v",
    "vector_jacobian_product": "u",
}

# Arguments of the public functions that stand beside the inputs.
ARGUMENTS = words(
    """
    parameters gradient state order batch_size drop_last steps
    """
)

# Arguments of runtime.fit, which takes hyperparameters besides.
FIT_ARGUMENTS = words(
    """
    module data epochs batch_size seed parameters state validation_split validation shuffle drop_last accumulate
    class_weights metrics target early_stopping keep_best monitor progress history checkpoints checkpoint_every keep
    resume callbacks interpret comm
    """
)

# What a reader of any part of a module knows under these names.
RESERVED = ("np", "math", "njit", "real", "kernel", "range")

LONGEST = 80  # letters of a name: a line has 120


def refusal(name: object, kind: str) -> str | None:
    """Why a name can't be used for a tensor, an index or a size, or None if it can."""
    if not isinstance(name, str):
        return f"the name of {article(kind)} must be a string, found {type(name).__name__}"
    if len(name) > LONGEST:
        return f"{name[:20]!r}… has {len(name)} letters: name the {kind} with at most {LONGEST}"
    if not name.isidentifier():
        return f"{name!r} is no identifier: name the {kind} with letters, digits and _"
    if keyword.iskeyword(name):
        return f"{name!r} is a keyword of Python: choose another name for the {kind}"
    if name in RESERVED:
        return f"{name!r} has a meaning of its own in generated modules: choose another name for the {kind}"
    if unicodedata.normalize("NFKC", name) != name:
        return f"{name!r} is read by Python as {unicodedata.normalize('NFKC', name)!r}: name the {kind} so"
    if not name.isascii():
        return f"{name!r} has letters beyond ASCII: name the {kind} in ASCII, as theta for θ"
    if name.startswith("__"):
        return f"{name!r} starts with two underscores, which Python reserves: choose another name for the {kind}"
    if kind == "hyperparameter" and name in {*PUBLIC, *ARGUMENTS, *BESIDE_RULE}:
        return f"{name!r} is a name that the generated module's functions use: rename the {kind}"
    public = name in {*PUBLIC, *ARGUMENTS, *BESIDE_INPUTS} or name.startswith("CONSTANT_")
    if kind in ("input", "labels") and public:
        return f"{name!r} is a name of the generated module's functions or their arguments: rename the {kind}"
    return None


def article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else kind if kind == "labels" else f"a {kind}"
