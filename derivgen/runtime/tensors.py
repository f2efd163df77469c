"""Parameters as files of named tensors: .npz, .safetensors, and PyTorch's state_dict; nothing is ever pickled.

A safetensors file from here has a CRC-32 of all its bytes in its metadata; an .npz has one a member, by zip.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from derivgen.errors import DerivgenError, listed
from derivgen.file import disk
from derivgen.runtime.arrays import Array, Kind, open_npz
from derivgen.runtime.json_text import parse_json
from derivgen.version import __version__

Layout = Literal["same", "transposed"]
Layouts = Layout | Mapping[str, Layout] | None

# What the layers' parameters end in, here and in PyTorch, after the layer's name.
ENDINGS = {
    "_W": ".weight",
    "_b": ".bias",
    "_gain": ".weight",
    "_shift": ".bias",
    "_running_mean": ".running_mean",
    "_running_variance": ".running_var",
}
# PyTorch counts the steps of a batch normalization, and needs the number only where its momentum is None.
UNNEEDED = (".num_batches_tracked",)
# In the metadata of our safetensors files. Each says that there must be a checksum, so that damage to one key's name,
# too, is noticed by the other.
WRITER, CHECKSUM = "derivgen.writer", "derivgen.crc32"
NO_CHECKSUM = "00000000"  # in its place while it is computed


def save_parameters(path: Path | str, module: ModuleType, parameters: Array) -> None:
    """Write each tensor of the flat parameters, shape (P,), under its name into an .npz or .safetensors file,
    atomically.

    Raises DerivgenError if the path ends in neither, or can't be written.
    """
    path = Path(path)
    encode = encode_npz if suffix_of(path) == ".npz" else encode_safetensors
    disk.write_bytes(path, encode(module.views(parameters)))


def load_parameters(path: Path | str, module: ModuleType) -> Array:
    """The flat parameter vector, shape (P,), from an .npz or .safetensors file of named tensors.

    Raises DerivgenError if a tensor is missing, unknown, or of another shape or dtype.
    """
    path = Path(path)
    keys = {p.name: p.name for p in module.PARAMETERS}
    layouts: dict[str, Layout] = dict.fromkeys(keys, "same")
    if suffix_of(path) == ".safetensors":
        return filled(str(path), module, read_safetensors(path)[0], keys, layouts)
    with open_npz(path) as archive:
        refuse_other_names(str(path), archive.members, keys)
        for name, kind in kinds_of(module).items():
            is_turned(f"{path}: parameter {name}", archive.kind(name), kind, "same")
        return filled(str(path), module, {name: archive.read(name) for name in keys}, keys, layouts)


def load_state_dict(
    path: Path | str, module: ModuleType, names: Mapping[str, str] | None = None, layout: Layouts = None
) -> Array:
    """The flat parameter vector, shape (P,), from PyTorch's state_dict in a .safetensors file.

    `names`: the file's key for a parameter. If omitted, the parameter's name if the file has it, otherwise PyTorch's:
    `h_W` is h.weight, `h_b` is h.bias; the gain and shift of a normalization likewise. `layout`: whether a matrix is
    the "same" in the file (torch.nn.Embedding) or "transposed" (torch.nn.Linear), for each parameter, or one word for
    all. If omitted, its shape tells; a square matrix then raises an error. Raises DerivgenError if a tensor is missing,
    unknown, or does not fit.
    """
    path = Path(path)
    require_safetensors(path)
    return from_tensors(str(path), module, read_safetensors(path)[0], names, layout)


def from_state_dict(
    module: ModuleType,
    state_dict: Mapping[str, Any],
    names: Mapping[str, str] | None = None,
    layout: Layouts = None,
) -> Array:
    """The flat parameter vector, shape (P,), from the tensors of PyTorch's `model.state_dict()`, or arrays with such
    names.

    `names` and `layout`: as for load_state_dict. Raises DerivgenError if a tensor is missing, unknown, or does not fit.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict must be a mapping from names to tensors, found {type(state_dict).__name__}: give "
            "model.state_dict()"
        )
    arrays = {str(key): array_of(str(key), tensor) for key, tensor in state_dict.items()}
    return from_tensors("the state_dict", module, arrays, names, layout)


def from_tensors(
    where: str, module: ModuleType, tensors: Mapping[str, Array], names: Mapping[str, str] | None, layout: Layouts
) -> Array:
    """The flat vector of tensors that are named, and laid out, as PyTorch has them."""
    arrays = {key: array for key, array in tensors.items() if not key.endswith(UNNEEDED)}
    keys, layouts = state_dict_keys(module, names or {}, arrays), layouts_of(module, layout)
    undecided = [name for name, shape in matrices(module).items() if name not in layouts and shape[0] == shape[1] > 1]
    refuse_undecided(where, undecided, "square, so that its shape does not tell its layout there")
    return filled(where, module, arrays, keys, layouts)


def array_of(key: str, tensor: Any) -> Array:
    """A tensor of PyTorch, which is not imported, as an array."""
    for step in ("detach", "cpu"):
        tensor = getattr(tensor, step, lambda same=tensor: same)()
    try:
        return np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
    except TypeError as error:
        raise DerivgenError(
            f"the state_dict: {key} can't be made an array ({error}): save float32 or float64, as the module has it, "
            "in PyTorch by model.to(torch.float32)"
        ) from error


def save_state_dict(
    path: Path | str,
    module: ModuleType,
    parameters: Array,
    names: Mapping[str, str] | None = None,
    layout: Layouts = None,
) -> None:
    """Write the flat parameters, shape (P,), as a .safetensors file for load_state_dict of a PyTorch model, atomically.

    `names` and `layout`: as for load_state_dict here, but the layout of each matrix is required, for each parameter or
    as one word for all. Raises DerivgenError if it is missing, if two parameters have the same key, or if the file
    can't be written.
    """
    path = Path(path)
    require_safetensors(path)
    keys, layouts = state_dict_keys(module, names or {}, ()), layouts_of(module, layout)
    undecided = [name for name, shape in matrices(module).items() if name not in layouts and shape != (1, 1)]
    refuse_undecided(str(path), undecided, "a matrix, whose layout in the file no shape tells")
    views = module.views(parameters)
    arrays = {keys[name]: view.T if layouts.get(name) == "transposed" else view for name, view in views.items()}
    disk.write_bytes(path, encode_safetensors(arrays, {"format": "pt"}))


# ---- names and layouts


def state_dict_keys(module: ModuleType, names: Mapping[str, str], present: Collection[str]) -> dict[str, str]:
    """The key of each parameter, given those that are present."""
    parameters = [p.name for p in module.PARAMETERS]
    refuse_unknown("names", names, parameters)
    keys = {n: names.get(n) or (n if n in present else pytorch_name(n)) for n in parameters}
    owners: dict[str, str] = {}
    for name, key in keys.items():
        if owners.setdefault(key, name) != name:
            raise DerivgenError(f"the parameters {owners[key]} and {name} would both be {key}: say other keys by names")
    return keys


def pytorch_name(name: str) -> str:
    """`conv1_W` → conv1.weight; a name that is no layer's parameter stays."""
    for ours, theirs in ENDINGS.items():
        layer = name.removesuffix(ours)
        if layer and layer != name:
            return layer + theirs
    return name


def matrices(module: ModuleType) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of rank 2: only those are ever transposed."""
    return {p.name: tuple(p.shape) for p in module.PARAMETERS if len(p.shape) == 2}


def layouts_of(module: ModuleType, layout: Layouts) -> dict[str, Layout]:
    """What was said of each matrix."""
    known = list(matrices(module))
    said = dict.fromkeys(known, layout) if isinstance(layout, str) else dict(layout or {})
    refuse_unknown("layout", said, known, "matrix among the parameters")
    for name, value in said.items():
        if value not in get_args(Layout):
            raise DerivgenError(f'layout of {name} must be "same" or "transposed", found {value!r}')
    return said


def refuse_unknown(argument: str, said: Iterable[str], known: Collection[str], what: str = "parameter") -> None:
    for name in said:
        if name not in known:
            raise DerivgenError(f"{argument} speaks of {name}, which is no {what}: expected {listed(known)}")


def refuse_undecided(where: str, undecided: Collection[str], reason: str) -> None:
    if undecided:
        example = ", ".join(f'"{name}": "transposed"' for name in undecided)
        raise DerivgenError(
            f'{where}: {next(iter(undecided))} is {reason}: say "transposed" for torch.nn.Linear, "same" for '
            f"torch.nn.Embedding or a file of derivgen's own, as layout={{{example}}}"
        )


# ---- tensors that fit


def filled(
    where: str, module: ModuleType, arrays: Mapping[str, Array], keys: Mapping[str, str], layouts: Mapping[str, Layout]
) -> Array:
    """The flat vector of exactly these arrays; `keys` has the array's name of each parameter."""
    refuse_other_names(where, arrays, keys)
    parameters: Array = module.initial_parameters()
    for name, view in module.views(parameters).items():
        label = name if keys[name] == name else f"{name} (there {keys[name]})"
        array = arrays[keys[name]]
        turned = is_turned(f"{where}: parameter {label}", kind_of(array), kind_of(view), layouts.get(name))
        view[...] = array.T if turned else array
    return parameters


def kinds_of(module: ModuleType) -> dict[str, Kind]:
    """The shape and dtype of each parameter."""
    return {p.name: Kind(tuple(p.shape), np.dtype(p.dtype)) for p in module.PARAMETERS}


def kind_of(array: Array) -> Kind:
    return Kind(array.shape, array.dtype)


def refuse_other_names(where: str, arrays: Collection[str], keys: Mapping[str, str]) -> None:
    renamed = any(key != name for name, key in keys.items())
    for name, key in keys.items():
        if key not in arrays:
            wanted = f"{name}: expected it as {key}" if renamed else f"{name}: expected {listed(keys)}"
            advice = f'; say its key by names={{"{name}": ...}}' if renamed else ""
            if not renamed and any("." in other for other in arrays):
                advice = ". A PyTorch state_dict is read by runtime.load_state_dict"
            raise DerivgenError(f"{where} lacks the parameter {wanted}, found {listed(arrays)}{advice}")
    known = set(keys.values())
    unknown = [key for key in arrays if key not in known]
    if unknown:
        raise DerivgenError(f"{where} holds {unknown[0]}, which is no parameter: expected {listed(keys.values())}")


def is_turned(where: str, found: Kind, expected: Kind, layout: Layout | None) -> bool:
    """Whether what was found is transposed.

    Raises DerivgenError where its shape or dtype is not what a module needs.
    """
    shape, turned = expected.shape, expected.shape[::-1]
    fits = {"same": [shape], "transposed": [turned]}.get(layout or "", [shape, turned] if len(shape) == 2 else [shape])
    if found.shape not in fits or found.dtype != expected.dtype:
        wanted = " or ".join(str(s) for s in dict.fromkeys(fits))
        advice = "it was saved from another model"
        if found.shape in fits:
            advice = (
                f"numbers are not converted unasked, save {expected.dtype}: in PyTorch model.to(torch.{expected.dtype})"
            )
        raise DerivgenError(
            f"{where} must be {expected.dtype} of shape {wanted}, found {found.dtype} of shape {found.shape}: {advice}"
        )
    return layout == "transposed" or found.shape != shape


# ---- files


def suffix_of(path: Path) -> str:
    if path.suffix not in (".npz", ".safetensors"):
        raise DerivgenError(f"{path} must end in .npz or .safetensors, which say how parameters are kept")
    return path.suffix


def require_safetensors(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise DerivgenError(
            f"{path} must end in .safetensors, and be such a file: PyTorch's own format is a pickle, which is never "
            "read; "
            f'write safetensors.torch.save_file(model.state_dict(), "{path.stem}.safetensors")'
        )


def encode_npz(arrays: Mapping[str, Array]) -> bytes:
    buffer = io.BytesIO()
    # By the zip's own members: `np.savez(**arrays)` has arguments that a tensor may be named like.
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, tensor in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, tensor, allow_pickle=False)
    return buffer.getvalue()


def encode_safetensors(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a file, with their checksum; the same tensors and metadata are the same bytes."""
    from safetensors.numpy import save

    # In C order: the library reads memory from the array's address on, whatever its strides.
    data = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    own = {WRITER: f"derivgen {__version__}", CHECKSUM: NO_CHECKSUM}
    # The library would write the metadata in another order in each process.
    header = {"__metadata__": dict(sorted({**(metadata or {}), **own}.items())), **header_of(data)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head, body = len(text).to_bytes(8, "little") + text, memoryview(data)[8 + header_length(data) :]
    return b"".join([with_checksum(head, NO_CHECKSUM, checksum(head, body)), body])


def read_safetensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """(the named arrays, the metadata) of a file. Raises DerivgenError where it can't be read or is none."""
    disk.refuse_special(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DerivgenError(f"{path} can't be read: {error.strerror or error}. Give another path") from error
    return decode_safetensors(path, data)


def decode_safetensors(path: Path, data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """(the named arrays, not to be written to, the metadata) of a file's bytes; the path is for messages.

    Raises DerivgenError where it is no safetensors file, or one of derivgen's whose checksum is another.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        # The order of the library is by chance.
        arrays, metadata = dict(sorted(load(data).items())), header_of(data).get("__metadata__") or {}
    except KeyError as error:
        raise DerivgenError(
            f"{path} has a tensor of dtype {error.args[0]}, which NumPy lacks, and numbers are not converted unasked: "
            "save float32 or float64, as the module has it, in PyTorch by model.to(torch.float32)"
        ) from error
    except (SafetensorError, ValueError) as error:
        raise DerivgenError(
            f"{path} is no whole safetensors file ({error}): it is cut off or damaged, or of another kind"
        ) from error
    if not {WRITER, CHECKSUM}.isdisjoint(metadata) and not fits_checksum(data, metadata.get(CHECKSUM, "")):
        raise DerivgenError(f"{path} is damaged: its bytes are not those of the checksum")
    return arrays, metadata


def fits_checksum(data: bytes, found: str) -> bool:
    """Whether the checksum that was found in a file is that of its bytes."""
    end = 8 + header_length(data)
    return checksum(with_checksum(data[:end], found, NO_CHECKSUM), memoryview(data)[end:]) == found


def with_checksum(head: bytes, old: str, new: str) -> bytes:
    """The start of a file with another checksum in it."""
    return head.replace(f'"{CHECKSUM}":"{old}"'.encode(), f'"{CHECKSUM}":"{new}"'.encode(), 1)


def checksum(head: bytes, body: memoryview) -> str:
    return f"{zlib.crc32(body, zlib.crc32(head)):08x}"


def header_length(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def header_of(data: bytes) -> dict[str, Any]:
    """What a valid file says of its tensors, and its metadata. Raises ValueError where that can't be read."""
    header: dict[str, Any] = parse_json(data[8 : 8 + header_length(data)])
    return header
