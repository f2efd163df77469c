"""Schedules → the text of a module, without its header."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import sympy as sp

from derivgen.code.tree import Function
from derivgen.file.contract import CONTRACT
from derivgen.form.as_written import as_written
from derivgen.form.program import Role, Tensor
from derivgen.plan.blocks import leaves_of
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.plan import field
from derivgen.print.elementary import definitions
from derivgen.print.kernels import GEMM, SCRATCH, Text, size_names, sizes_in, write_kernel, write_routine
from derivgen.print.layout import WIDTH, bracketed
from derivgen.print.library import TEXTS as LIBRARY
from derivgen.print.module.derivatives import Derivative
from derivgen.print.module.initial import initial_arrays, initial_lines, initial_summary
from derivgen.print.module.public import Public
from derivgen.print.module.tables import constant_text
from derivgen.print.templates import environment
from derivgen.print.text import docstring, fixed_title, titled, tuple_text, wrapped
from derivgen.schedule.schedule import Kernel
from derivgen.whole.whole import Whole

NAMES_OF_DERIVATIVES = """\
# Below, a_dot is the tangent of a along a vector v, and p_by_a is the derivative of p by a, with the axes of a first;
# p_through_b is the kernel that takes the derivatives of p back through the layer b, to what b reads."""


@as_written()
def write_module(
    formulas: Sequence[str],
    plan: ModulePlan,
    codes: Mapping[Kernel, Function],
    whole: Whole,
    block: int | None,
    parallel: bool,
) -> str:
    """The module's text after its header docstring.

    `formulas`: those of the model; `codes`: those of its kernels; `whole`: what calls them; `block`: the rows of one;
    `parallel`: whether threads take blocks.
    """
    runtime = [name for name, value in plan.program.sizes if not value.is_Integer]
    written = {k: code for k, code in codes.items() if code.name == plan.kernel_names[k]}
    integers = dict.fromkeys(
        sorted(size for code in written.values() for size in sizes_in(code) & code.integers.keys())
    )
    names = size_names([*runtime, *integers], plan.kernel_names.values())
    kernels = {k: write_kernel(code, names) for k, code in written.items()}
    routines = {r.name: write_routine(r, whole.signatures) for r in (*whole.routines, *whole.over_rows)}
    used = frozenset().union(*(text.used for text in (*kernels.values(), *routines.values())))
    own = {function: [text_of(routines[r.name]) for r in group] for function, group in whole.derived.items()}
    values = shared_values(formulas, plan, {size: names[size] for size in runtime}, block, parallel) | {
        "language": "numba",
        "module_name": f"derivgen_{plan.program.name}_{plan.dtype}",
        "integer_names": "".join(f'{names[size]} = "{size}"\n' for size in integers),
        "kernel_sections": layer_sections(plan, kernels),
        "tuples": (named := tuples(plan)),
        "kinds": "\n".join(bracketed("for kind in (", [str(kind["name"]) for kind in named], "):")),
        "model_title": titled("the whole model"),
        "model_functions": [
            *(text_of(routines[r.name]) for r in (*whole.steps, *whole.over_rows)),
            *derivative_sections(plan, kernels, own),
        ],
        "elementary": "".join(f"{section}\n\n\n" for section in elementary_section(used, plan.dtype)),
    }
    return environment().get_template("module.py.jinja").render(**values) + fixed_text(plan.dtype, "numba")


def shared_values(
    formulas: Sequence[str], plan: ModulePlan, sizes: Mapping[str, str], block: int | None, parallel: bool
) -> dict[str, object]:
    """What a module's template needs whatever its functions are compiled by. `sizes`: the names of run-time sizes."""
    public, derived = Public(plan), [Derivative(part) for part in plan.parts]
    return {
        "formulas": [f"# {text}" for formula in formulas for text in wrapped(f"    {formula}", WIDTH - 2, "        ")],
        "contract": CONTRACT,
        "sample_axis": f'"{plan.sample_axis}"' if plan.sample_axis else "None",
        "mixed_axes": mixed_axes_table(plan),
        "sizes": tuple_text([sizes[size] for size in plan.runtime_sizes]) if plan.runtime_sizes else "()",
        "block": block,
        "leaves": leaves_of(plan.parameter_count),
        "combined": f'"{plan.combined}"' if plan.combined is not None else None,
        "predicted_by_row": plan.predicted_by_row,
        "in_threads": parallel and block is not None,
        "size_names": "".join(f'{name} = "{size}"\n' for size, name in sizes.items()),
        "dtype": plan.dtype,
        "tables_title": titled("what the model has"),
        "parameters_table": table("PARAMETERS", parameter_rows(plan)),
        "inputs_table": inputs_tables(plan),
        "layers_table": table("LAYERS", layer_rows(plan)),
        "arrays": "".join(f"\n\n{text}" for text in [*array_texts(plan), *initial_arrays(plan)]),
        "constants_table": table("CONSTANTS", [f"CONSTANT_{t.name}" for t in plan.constants]),
        "public_title": titled("what callers use"),
        "initial_doc": docstring([initial_summary(plan.program.vector)]),
        "initial_lines": initial_lines(plan.program.vector),
        "public_functions": [*public.functions(), *(text for function in derived for text in function.public())],
    }


def fixed_text(dtype: str, language: str = "numba") -> str:
    """The part of a module that all modules of a dtype have, with its digest in its first line.

    `language`: the folder of templates of what compiles functions.
    """
    kind = {"float32": "s", "float64": "d"}[dtype]
    library = "\n\n\n".join(LIBRARY.values())
    text = environment().get_template("fixed.py.jinja").render(kind=kind, library=library, language=language)
    return f"{fixed_title(dtype, text)}\n\n{text}"


def elementary_section(used: frozenset[str], dtype: str) -> list[str]:
    """The elementary functions in use, and those that they call."""
    functions = used - {GEMM, SCRATCH}
    return ["\n\n\n".join([titled("elementary functions"), *definitions(functions, dtype)])] if functions else []


def text_of(text: Text) -> str:
    return "\n".join(text.lines)


def layer_sections(plan: ModulePlan, kernels: Mapping[Kernel, Text]) -> list[str]:
    """A section a layer, in order of the forward pass: its forward kernel, then its backward one."""
    groups = kernels_by_layer(plan, kernels).items()
    return ["\n\n\n".join([titled(layer), *(text_of(kernels[k]) for k in group)]) for layer, group in groups]


def kernels_by_layer(plan: ModulePlan, kernels: Collection[Kernel]) -> dict[str, list[Kernel]]:
    """Those of these kernels that the layers have, in the order of the layers."""
    main = {plan.equal[k] for s in plan.schedules for k in s.kernels}
    forward_first = sorted((k for k in plan.kernel_names if k in main), key=lambda k: k.direction != "forward")
    layers = dict.fromkeys(k.layer for k in forward_first)
    groups = {layer: [k for k in forward_first if k.layer == layer and k in kernels] for layer in layers}
    return {layer: group for layer, group in groups.items() if group}


def has_names_of_derivatives(plan: ModulePlan) -> bool:
    """Whether some function of derivatives is other than a gradient outside training."""
    return any(not part.request.of_evaluation for part in plan.parts)


def derivative_sections(
    plan: ModulePlan, kernels: Mapping[Kernel, Text], functions: Mapping[str, Sequence[str]]
) -> list[str]:
    """A section for each function of derivatives, with the kernels that none before has, in order of execution."""
    done = {plan.equal[k] for s in plan.schedules for k in s.kernels}
    sections = [NAMES_OF_DERIVATIVES] if has_names_of_derivatives(plan) else []
    for part in plan.parts:
        own = dict.fromkeys(plan.equal[k] for k in part.schedule.kernels)
        texts = [text_of(kernels[k]) for k in own if k in kernels and k not in done]
        done |= own.keys()
        sections.append("\n\n\n".join([titled(part.function), *texts, *functions[part.function]]))
    return sections


# ---- tables


def parameter_rows(plan: ModulePlan) -> list[str]:
    rows = []
    for t in plan.program.vector:
        trained = ", trained=False" if t.role is Role.RUNNING else ""
        rows.append(f'Parameter("{t.name}", {shape_text(t.shape)}, "{plan.dtype}"{trained})')
    return rows


def mixed_axes_table(plan: ModulePlan) -> str:
    """The sizes along which rows of the prediction depend on one another, where there are any."""
    quoted = [f'"{axis}"' for axis in plan.mixed_axes]
    return f"\n{table('MIXED_AXES', quoted)}" if quoted else ""


def inputs_tables(plan: ModulePlan) -> str:
    """The inputs, and those of predictions; what a step draws, where it draws."""
    predicting = plan.prediction_inputs if plan.prediction is not None else ()
    made = [table("INPUTS", input_rows(plan)), table("PREDICTION_INPUTS", [f'"{t.name}"' for t in predicting])]
    if drawn := plan.drawn(plan.training):
        made.append(table("RANDOM", [f'"{t.name}"' for t in drawn]))
    return "\n".join(made)


def input_rows(plan: ModulePlan) -> list[str]:
    rows = []
    for t in plan.inputs:
        dtype = "int64" if t.integer else plan.dtype
        rows.append(f'Input("{t.name}", {shape_text(t.shape, quoted=True)}, "{dtype}", {t.classes}, {t.ignore})')
    return rows


def layer_rows(plan: ModulePlan) -> list[str]:
    quoted = [(layer, tuple_text([f'"{name}"' for name in names]) if names else "()") for layer, names in plan.layers]
    return [f'Layer("{layer}", {names})' for layer, names in quoted]


def table(name: str, rows: Sequence[str]) -> str:
    if len(rows) == 1 and len(alone := f"{name} = ({rows[0]},)") <= WIDTH:
        return alone
    return "\n".join([f"{name} = (", *(f"    {row}," for row in rows), ")"]) if rows else f"{name} = ()"


def shape_text(shape: tuple[sp.Expr, ...], quoted: bool = False) -> str:
    parts = [f'"{e}"' if quoted and not e.is_Integer else str(e) for e in shape]
    return tuple_text(parts) if parts else "()"


def array_texts(plan: ModulePlan) -> list[str]:
    """The constants as arrays of the kernels' dtypes."""
    names = [f"CONSTANT_{t.name}" for t in plan.constants]
    return [constant_text(name, t, plan.dtype, names) for name, t in zip(names, plan.tables, strict=True)]


def tuples(plan: ModulePlan) -> list[dict[str, object]]:
    """The NamedTuples that kernels are given: name, meaning, fields."""

    def fields(*tensors: Tensor) -> list[str]:
        return [f"{field(t.name)}: np.ndarray  # {shape_text(t.shape)}" for t in tensors]

    made = [
        ("Data", "What a step reads besides the parameters.", fields(*plan.given)),
        ("Memory", "What the buffers of a step are views of.", [f"{name}: np.ndarray" for name in plan.memories]),
        (
            "State",
            "What the update rule keeps: the steps taken, and its slots.",
            ["step: np.ndarray  # (1,)", *(f"{slot}: np.ndarray  # {slot_shape(plan, slot)}" for slot in plan.slots)],
        ),
    ]
    if plan.prediction is not None:
        read = fields(*plan.prediction_inputs, *plan.constants)
        made.insert(1, ("PredictionData", "What a prediction reads besides the parameters.", read))
    return [{"name": name, "meaning": meaning, "fields": rows} for name, meaning, rows in made]


def slot_shape(plan: ModulePlan, slot: str) -> str:
    return "(1,), of float64" if slot in plan.rule.shared_slots else "(P,)"
