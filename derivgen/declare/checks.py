"""What a model is refused for once all its tensors and statements are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from derivgen.declare.model import Model
from derivgen.errors import Problem, nearest
from derivgen.file import contract
from derivgen.file.fixed_names import OF_MODES
from derivgen.form.program import Role, Statement, Tensor
from derivgen.update.groups import setting_for

GIVEN = (Role.INPUT, Role.LABELS)


def check_use(model: Model, tensors: Mapping[str, Tensor], statements: Sequence[Statement]) -> None:
    """Run-time sizes that are used must be the extent of an input somewhere; inputs are no hyperparameters."""
    check_arguments(model, tensors)
    for name, _ in model.rule.hyperparameters:
        tensor = tensors.get(name)
        if tensor is not None and tensor.role in GIVEN:
            place = model.declarations[name].place
            model.problem(f"{name} is a hyperparameter of the update rule: give the input another name", place)
    check_groups(model, tensors)
    check_functions(model, tensors)
    given = {e for t in tensors.values() if t.role in GIVEN for e in t.shape}
    used = {x for t in tensors.values() if t.role is Role.RANDOM for e in t.shape for x in e.free_symbols}
    for s in statements:
        used |= s.sizes
    if model.refused_names:  # an input of such a size may be among them
        return
    for size in sorted(used - given, key=str):
        model.problems.append(
            Problem(model.place, f"size {size} is used, but no input has it as an axis, so its value is unknown")
        )


def check_groups(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """A pattern of the update's groups must fit a parameter."""
    names = [name for name, t in tensors.items() if t.role is Role.PARAMETER]
    for pattern, _ in model.groups:
        if not any(fnmatchcase(name, pattern) for name in names):
            found = f"{nearest(pattern, names) or ';'} there are {', '.join(names) or 'none'}"
            message = f"group {pattern!r} of the update rule fits no parameter{found}"
            model.problem(message, model.update_place)
    if names and all(setting_for(name, model.groups) is None for name in names):
        message = "the groups of the update rule freeze every parameter, so that nothing is trained: leave some out"
        model.problem(message, model.update_place)


def check_functions(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """Functions of derivatives of the prediction need one, and no input may have the name of their arguments."""
    asked, residuals = set(model.requests), bool(model.residuals)
    of_prediction = [
        name for name in contract.OF_PREDICTION if name in asked and not (name == "jacobian" and residuals)
    ]
    if of_prediction and model.prediction is None and not model.prediction_refused:
        message = f"second_order: {of_prediction[0]} is of what predict returns: name that by model.predict(...)"
        model.problem(message, model.request_place)
    if "residuals" in asked and not residuals and not model.objective_refused:
        message = "second_order: residuals are those of model.least_squares(...), in place of minimize"
        model.problem(message, model.request_place)
    of_evaluation = [name for name in contract.OF_EVALUATION if name in asked]
    if of_evaluation and Role.MODE not in {t.role for t in tensors.values()}:
        usual = of_evaluation[0].replace("evaluation", "loss_and")
        message = f"second_order: {of_evaluation[0]} needs a model that uses model.training: use {usual}"
        model.problem(message, model.request_place)
    taken = {argument for function, argument in contract.VECTORS.items() if function in asked}
    taken |= {f"{function}{part}" for function in asked for part in ("", "_kernel", "_memory")}
    for name, declared in model.declarations.items():
        if name in taken and declared.role in GIVEN:
            message = f"{name} is a name of the functions that second_order adds: rename the input"
            model.problem(message, declared.place)


def check_arguments(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """No rule and no input may have a name that the functions of this module refer to, such as `seed`."""
    roles, rule = {t.role for t in tensors.values()}, model.rule
    own = {*(h for h, _ in rule.hyperparameters), *(str(slot) for slot, _ in rule.slots)}
    for name in sorted(own & {*OF_MODES} if roles & {Role.RANDOM, Role.MODE, Role.RUNNING} else ()):
        message = f"{name} is a name of the update rule, and one that the module's functions use: rename it in the rule"
        model.problem(message, model.update_place)
    for name in (contract.SEED, contract.FIRST_STEP) if Role.RANDOM in roles else ():
        declared = model.declarations.get(name)
        if declared is not None and declared.role in GIVEN:
            message = f"{name} is an argument of the functions of a module that draws: give the input another name"
            model.problem(message, declared.place)
