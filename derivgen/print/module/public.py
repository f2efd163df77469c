"""The functions that callers use, and the checks of what they pass, from their templates."""

from __future__ import annotations

from collections.abc import Sequence

from derivgen.form.notation import Plain
from derivgen.plan.module_plan import ModulePlan
from derivgen.print.kernels import integer_text
from derivgen.print.layout import STEP, WIDTH, Bracket, bracketed, indented, line
from derivgen.print.module.initial import number_text
from derivgen.print.templates import environment
from derivgen.print.text import tuple_lines, wrapped
from derivgen.update.notation import formulas
from derivgen.whole.calls import size_argument
from derivgen.whole.modes import FIRST_STEP, SEED, TRAINING, Modes


class Public:
    """Writes the public functions of one module."""

    def __init__(self, plan: ModulePlan) -> None:
        self.plan, self.program, self.modes = plan, plan.program, Modes(plan)
        self.templates = environment()
        self.names = [t.name for t in plan.inputs]
        self.hyperparameters = [name for name, _ in plan.rule.hyperparameters]
        defaults = [f"{name}={number_text(value)}" for name, value in plan.rule.hyperparameters]
        self.keywords = ["*", *defaults] if defaults else []

    def render(self, template: str, **values: object) -> str:
        return self.templates.get_template(f"functions/{template}.py.jinja").render(**values).rstrip("\n")

    def functions(self) -> list[str]:
        """In the order of the contract."""
        functions = [self.predict()] if self.plan.prediction is not None else []
        functions += [
            self.evaluation("loss"),
            self.evaluation("loss_and_gradient"),
            self.optimizer_state(),
            self.update(),
        ]
        functions += [self.train_epoch(), self.mean_gradient()] if self.plan.sample_axis else []
        functions.append(self.descend())
        functions += [self.activations()] if self.plan.is_observed else []
        return [*functions, self.workspace()]

    # ---- shared parts

    def signature(self, name: str, arguments: Sequence[str]) -> str:
        return "\n".join(bracketed(f"def {name}(", list(arguments), "):"))

    def arrays(self, names: Sequence[str]) -> str:
        return block(tuple_lines("arrays = ", names) if names else ["arrays = ()"])

    def checked_hyperparameters(self, arguments: Sequence[str] = ()) -> str:
        """Lines that check them, after those of the arguments that some modules have."""
        rule = self.plan.rule
        bound = dict.fromkeys(rule.nonnegative, ", least=0") | dict.fromkeys(rule.positive, ", above=0")
        lines = [
            f'{name} = check_hyperparameter("{name}", {name}{bound.get(name, "")})' for name in self.hyperparameters
        ]
        return self.checked_seed(arguments) + block(lines)

    def checked_seed(self, arguments: Sequence[str]) -> str:
        return block([f'{name} = check_count("{name}", {name}, 0)' for name in (SEED, FIRST_STEP) if name in arguments])

    def drawing(self, arguments: Sequence[str], step: str) -> str:
        """The line of a docstring that says what is drawn."""
        return block([f"Random numbers are those of seed and {step}."] if SEED in arguments else [])

    def keywords_of(self, arguments: Sequence[str], before: Sequence[str] = ()) -> list[str]:
        """Keywords with their defaults, after those before, if there are any."""
        defaults = {TRAINING: f"{TRAINING}=False", SEED: f"{SEED}=0", FIRST_STEP: f"{FIRST_STEP}=0"}
        return [*(before or (["*"] if arguments else [])), *(defaults[name] for name in arguments)]

    def passed_names(self, arguments: Sequence[str]) -> list[str]:
        return [f"bool({name})" if name == TRAINING else name for name in arguments]

    def call(self, opening: str, arguments: Sequence[str]) -> str:
        return "\n".join(indented(bracketed(opening, [*arguments, *self.hyperparameters], ")", depth=1))).strip()

    def constants(self) -> str:
        return "".join(f", CONSTANT_{t.name}" for t in self.plan.constants)

    @property
    def arrays_passed(self) -> list[str]:
        constants = [f"CONSTANT_{t.name}" for t in self.plan.constants]
        return ["*arrays", *constants, "*memory", *self.modes.step_arguments()]

    # ---- functions

    def evaluation(self, name: str) -> str:
        more = self.modes.loss_arguments() if name == "loss" else self.modes.step_arguments()
        kernel, out, after = ("loss", [], "") if name == "loss" else ("gradient", ["gradient"], ", gradient")
        constants = [f"CONSTANT_{t.name}" for t in self.plan.constants]
        passed = ["parameters", *out, "*arrays", *constants, "*memory", *self.passed_names(more)]
        return self.render(
            name,
            signature=self.signature(name, ["parameters", *self.names, *self.keywords_of(more)]),
            arrays=self.arrays(self.names),
            result=block(
                line("return ", Bracket("float", (Bracket(f"{kernel}_kernel", tuple(passed)),)), after, depth=1)
            ),
            seed=self.checked_seed(more),
            drawing=self.drawing(more, "step 0"),
            mode="; in training, as a step computes it" if TRAINING in more else "",
        )

    def predict(self) -> str:
        given = [t.name for t in self.plan.prediction_inputs]
        name = str(self.plan.prediction_name)
        plain = Plain(self.plan.prediction_program.order)
        definition = next(s for s in self.plan.prediction_program.statements if s.target == name)
        scalar, more = not definition.subscripts, self.modes.prediction_arguments()
        constants = [f"CONSTANT_{t.name}" for t in self.plan.constants]
        passed = ("parameters", "*arrays", *constants, "*memory", *self.passed_names(more))
        call = Bracket("prediction_kernel", passed)
        return self.render(
            "predict",
            signature=self.signature("predict", ["parameters", *given, *self.keywords_of(more)]),
            seed=self.checked_seed(more),
            drawing=self.drawing(more, "step 0"),
            arrays=self.arrays(given),
            summary=opening(plain.statement(definition, "=")),
            result="\n".join(indented(line("return ", Bracket("float", (call,)) if scalar else call, depth=1))).strip(),
        )

    def optimizer_state(self) -> str:
        values = ["np.zeros(1, np.int64)"]
        for slot, initial in self.plan.rule.slots:
            shape = "1, " if slot.name in self.plan.rule.shared_slots else "COUNT, "
            dtype = "np.float64" if slot.name in self.plan.rule.shared_slots else "real"
            full = f"np.full({shape}{number_text(initial)}, {dtype})"
            values.append(f"np.zeros({shape}{dtype})" if initial == 0 else full)
        return self.render("optimizer_state", state=block(bracketed("return State(", values, ")", depth=1)))

    def update(self) -> str:
        arguments = ["parameters", "gradient", "state"]
        return self.render(
            "update",
            signature=self.signature("update", [*arguments, *self.keywords]),
            hyperparameters=self.checked_hyperparameters(),
            call=self.call("update_kernel(", arguments),
            summary=opening(f"One step of the update rule, in place: {', '.join(formulas(self.plan.rule))}"),
            remarks=[line for text in self.plan.update_remarks for line in wrapped(text, WIDTH - len(STEP))],
        )

    def train_epoch(self) -> str:
        seed = self.modes.step_arguments()
        keywords = [*self.keywords_of(seed, self.keywords or ["*"]), "drop_last=False"]
        passed = ["parameters", "gradient", "*state", "order", "batch_size", "bool(drop_last)", *self.arrays_passed]
        first = ["parameters", "state", "order", "batch_size"]
        return self.render(
            "train_epoch",
            signature=self.signature("train_epoch", [*first, *self.names, *keywords]),
            sample_axis=self.plan.sample_axis,
            hyperparameters=self.checked_hyperparameters(seed),
            drawing=self.drawing(seed, "state.step"),
            arrays=self.arrays(self.names),
            constants=self.constants(),
            call=self.call("refused, mean = epoch(", passed),
        )

    def mean_gradient(self) -> str:
        more = self.modes.batch_arguments()
        constants = [f"CONSTANT_{t.name}" for t in self.plan.constants]
        passed = ["parameters", "gradient", "total", "order", "batch_size", "*arrays", *constants, "*memory", *more]
        given = ["parameters", "order", "batch_size", *self.names, *self.keywords_of(more)]
        return self.render(
            "mean_gradient",
            signature=self.signature("mean_gradient", given),
            sample_axis=self.plan.sample_axis,
            drawing=block(["Random numbers of batch k are those of seed and step first_step + k."] if more else []),
            taking=block(["Running tensors in `parameters` take their next values."] if self.plan.untrained else []),
            seed=self.checked_seed(more),
            arrays=self.arrays(self.names),
            call="\n".join(indented(bracketed("refused, mean = gradient_by_batches(", passed, ")", depth=1))).strip(),
        )

    def activations(self) -> str:
        more = self.modes.step_arguments()
        constants = [f"CONSTANT_{t.name}" for t in self.plan.constants]
        passed = ["parameters", "observed", "*arrays", *constants, "*memory", *more]
        return self.render(
            "activations",
            signature=self.signature("activations", ["parameters", *self.names, *self.keywords_of(more)]),
            drawing=self.drawing(more, "step 0"),
            seed=self.checked_seed(more),
            arrays=self.arrays(self.names),
            call="\n".join(indented(bracketed("observation(", passed, ")", depth=1))).strip(),
        )

    def descend(self) -> str:
        passed = ["parameters", "gradient", "*state", "losses", *self.arrays_passed]
        seed = self.modes.step_arguments()
        keywords = self.keywords_of(seed, self.keywords)
        return self.render(
            "descend",
            signature=self.signature("descend", ["parameters", "state", "steps", *self.names, *keywords]),
            hyperparameters=self.checked_hyperparameters(seed),
            drawing=self.drawing(seed, "state.step"),
            arrays=self.arrays(self.names),
            call=self.call("descent(", passed),
        )

    def workspace(self) -> str:
        sizes = list(self.plan.runtime_sizes)
        storage = self.plan.storage
        arguments = [size_argument(size) for size in sizes]
        reals = storage.reals + (2 if self.plan.training.in_place else 0)  # the factors of products
        counts = [f"aligned({integer_text(reals, size_argument)})"]
        if len(self.plan.memories) > 1:
            counts.append(f"np.empty({integer_text(storage.integers, size_argument)}, np.int64)")
        return self.render(
            "workspace",
            signature=self.signature("workspace", arguments),
            memory=self.signature("new_memory", arguments),
            made=block(bracketed("return Memory(", counts, ")", depth=1)),
            laid_out=", ".join(["new_memory({})".format(", ".join(arguments)), *arguments]),
        )


def block(lines: Sequence[str]) -> str:
    """Lines of a function's body, as a template takes them: with a newline after each."""
    return "".join(f"{line}\n" for line in indented(lines))


def opening(summary: str) -> str:
    """The first lines of a docstring that goes on."""
    return f"\n{STEP}".join(wrapped(f'"""{summary}', WIDTH - len(STEP), ""))
