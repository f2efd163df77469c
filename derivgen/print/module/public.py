"""The functions that callers use, and the checks of what they pass, from their templates."""

from __future__ import annotations

from collections.abc import Sequence

from derivgen.file.contract import EVALUATION_GRADIENT
from derivgen.form.notation import Plain
from derivgen.plan.module_plan import ModulePlan
from derivgen.print.kernels import integer_text
from derivgen.print.layout import STEP, WIDTH, Bracket, Part, bracketed, indented, line
from derivgen.print.module.initial import number_text
from derivgen.print.templates import environment
from derivgen.print.text import tuple_lines, tuple_text, wrapped
from derivgen.update.notation import formulas
from derivgen.whole.calls import size_argument
from derivgen.whole.modes import FIRST_STEP, ROW, SEED, STEP_NUMBER, TRAINING, Modes


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
            self.loss(),
            self.loss_and_gradient(),
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

    def call(self, opening: str, arguments: Sequence[str]) -> str:
        return "\n".join(indented(bracketed(opening, [*arguments, *self.hyperparameters], ")", depth=1))).strip()

    def returned(self, function: str, arguments: Sequence[Part], after: str = "") -> str:
        return block(line("return ", Bracket(function, tuple(arguments)), after, depth=1))

    def rates(self) -> str:
        """The line that has the hyperparameters together."""
        return block(tuple_lines("rates = ", self.hyperparameters) if self.hyperparameters else ["rates = ()"])

    def drawn(self, arguments: Sequence[str]) -> list[str]:
        """What a kernel is given past arrays and memory, and whether the first row of a block follows."""
        passed = [f"bool({name})" if name == TRAINING else name for name in arguments if name != ROW]
        passed = ["0" if name == STEP_NUMBER else name for name in passed]
        return [tuple_text(passed), *(["drawn=True"] if ROW in arguments else [])] if passed else []

    def seeds(self) -> list[str]:
        return [f"({SEED},)"] if self.modes.is_random else []

    # ---- functions

    def loss(self) -> str:
        more = self.modes.loss_arguments()
        public = public_ones(more)
        return self.render(
            "loss",
            signature=self.signature("loss", ["parameters", *self.names, *self.keywords_of(public)]),
            arrays=self.arrays(self.names),
            seed=self.checked_seed(public),
            result=self.returned("objective_of", ["parameters", "arrays", *self.drawn(more)]),
            drawing=self.drawing(public, "step 0"),
            mode="; in training, as a step computes it" if TRAINING in public else "",
        )

    def loss_and_gradient(self) -> str:
        more = self.modes.gradient_arguments()
        public = public_ones(more)
        outside = self.gradient_outside_training()
        before = ["*", f"{TRAINING}=True"] if outside else []
        keywords = self.keywords_of(public, before)
        return self.render(
            "loss_and_gradient",
            signature=self.signature("loss_and_gradient", ["parameters", *self.names, *keywords]),
            mode=block([f"With {TRAINING}=False they are those of `{EVALUATION_GRADIENT}`."] if outside else []),
            outside=outside,
            arrays=self.arrays(self.names),
            seed=self.checked_seed(public),
            result=self.returned("gradient_of", ["parameters", "arrays", *self.drawn(more)]),
            drawing=self.drawing(public, "step 0"),
        )

    def gradient_outside_training(self) -> str:
        """The lines that give it, where the module has that function."""
        part = next((p for p in self.plan.parts if p.function == EVALUATION_GRADIENT), None)
        if part is None:
            return ""
        seed = [f"{SEED}={SEED}"] if part.drawn(part.schedule) else []
        call = line("return ", Bracket(part.function, ("parameters", *self.names, *seed)), depth=2)
        return block([f"if not {TRAINING}:", *indented(call)])

    def predict(self) -> str:
        given = [t.name for t in self.plan.prediction_inputs]
        name = str(self.plan.prediction_name)
        plain = Plain(self.plan.prediction_program.order)
        definition = next(s for s in self.plan.prediction_program.statements if s.target == name)
        more = self.modes.prediction_arguments()
        public = public_ones(more)
        call = Bracket("predicted", ("prediction_kernel", "parameters", "arrays", *self.drawn(more)))
        return self.render(
            "predict",
            signature=self.signature("predict", ["parameters", *given, *self.keywords_of(public)]),
            arrays=self.arrays(given),
            seed=self.checked_seed(public),
            drawing=self.drawing(public, "step 0"),
            summary=opening(plain.statement(definition, "=")),
            result=block(line("return ", call if definition.subscripts else Bracket("float", (call,)), depth=1)),
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
        first = ["parameters", "state", "order", "batch_size"]
        passed = ["epoch", *first, "drop_last", "arrays", "rates", *self.seeds()]
        return self.render(
            "train_epoch",
            signature=self.signature("train_epoch", [*first, *self.names, *keywords]),
            sample_axis=self.plan.sample_axis,
            arrays=self.arrays(self.names),
            hyperparameters=self.checked_hyperparameters(seed),
            rates=self.rates(),
            drawing=self.drawing(seed, "state.step"),
            result=self.returned("epoch_of", passed),
        )

    def mean_gradient(self) -> str:
        more = self.modes.batch_arguments()
        given = ["parameters", "order", "batch_size"]
        passed = ["gradient_by_batches", *given, "arrays", *([tuple_text(more)] if more else [])]
        return self.render(
            "mean_gradient",
            signature=self.signature("mean_gradient", [*given, *self.names, *self.keywords_of(more)]),
            sample_axis=self.plan.sample_axis,
            drawing=block(["Random numbers of batch k are those of seed and step first_step + k."] if more else []),
            taking=block(["Running tensors in `parameters` take their next values."] if self.plan.untrained else []),
            arrays=self.arrays(self.names),
            seed=self.checked_seed(more),
            result=self.returned("gradient_of_batches", passed),
        )

    def activations(self) -> str:
        more = self.modes.step_arguments()
        return self.render(
            "activations",
            signature=self.signature("activations", ["parameters", *self.names, *self.keywords_of(more)]),
            drawing=self.drawing(more, "step 0"),
            arrays=self.arrays(self.names),
            seed=self.checked_seed(more),
            result=self.returned("looks_at_layers", ["observation", "parameters", "arrays", *more]),
        )

    def descend(self) -> str:
        seed = self.modes.step_arguments()
        keywords = self.keywords_of(seed, self.keywords)
        first = ["parameters", "state", "steps"]
        return self.render(
            "descend",
            signature=self.signature("descend", [*first, *self.names, *keywords]),
            arrays=self.arrays(self.names),
            hyperparameters=self.checked_hyperparameters(seed),
            rates=self.rates(),
            drawing=self.drawing(seed, "state.step"),
            result=self.returned("descent_of", [*first, "arrays", "rates", *self.seeds()]),
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


def public_ones(arguments: Sequence[str]) -> list[str]:
    """The arguments of kernels that callers in Python give."""
    return [name for name in arguments if name not in (ROW, STEP_NUMBER)]


def block(lines: Sequence[str]) -> str:
    """Lines of a function's body, as a template takes them: with a newline after each."""
    return "".join(f"{line}\n" for line in indented(lines))


def opening(summary: str) -> str:
    """The first lines of a docstring that goes on."""
    return f"\n{STEP}".join(wrapped(f'"""{summary}', WIDTH - len(STEP), ""))
