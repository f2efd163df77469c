"""Parameters and data as .npz files of named arrays; nothing is ever pickled."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen import store
from derivgen.errors import DerivgenError

Array = np.ndarray[Any, Any]


def save_parameters(path: Path | str, module: ModuleType, parameters: Array) -> None:
    """Write each parameter tensor under its name, atomically."""
    buffer = io.BytesIO()
    # By the zip's own members: `np.savez(**arrays)` has arguments that a tensor may be named like.
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, tensor in module.views(parameters).items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, tensor, allow_pickle=False)
    store.write_bytes(Path(path), buffer.getvalue())


def load_parameters(path: Path | str, module: ModuleType) -> Array:
    """The flat parameter vector, shape (P,), from a file of named tensors.

    Raises DerivgenError where a tensor is missing, unknown, or of another shape or dtype.
    """
    arrays = read_npz(Path(path))
    parameters: Array = module.initial_parameters()
    views = module.views(parameters)
    unknown = [name for name in arrays if name not in views]
    if unknown:
        raise DerivgenError(f"{path} holds {unknown[0]}, which is no parameter: expected {', '.join(views)}")
    for name, view in views.items():
        if name not in arrays:
            raise DerivgenError(f"{path} lacks the parameter {name}: expected {', '.join(views)}")
        found = arrays[name]
        if found.shape != view.shape or found.dtype != view.dtype:
            raise DerivgenError(
                f"{path}: parameter {name} must be {view.dtype} of shape {view.shape}, found {found.dtype} of shape "
                f"{found.shape}: it was saved from another model"
            )
        view[...] = found
    return parameters


def read_data(path: Path | str, module: ModuleType, cast: bool = False) -> tuple[dict[str, Array], tuple[str, ...]]:
    """(the module's inputs, the names of the file's other arrays) from an .npz file.

    With `cast`, numbers are converted to the dtypes of the module; otherwise another dtype is refused, with the fix.
    """
    arrays = read_npz(Path(path))
    expected = [i.name for i in module.INPUTS]
    missing = [name for name in expected if name not in arrays]
    if missing:
        raise DerivgenError(
            f"{path} lacks the input {missing[0]}: expected {', '.join(expected)}, found {', '.join(arrays) or 'nothing'}"
        )
    data = {i.name: converted(arrays[i.name], i, cast, path) for i in module.INPUTS}
    return data, tuple(name for name in arrays if name not in data)


def converted(array: Array, expected: Any, cast: bool, path: Path | str) -> Array:
    """The array in the dtype that an input needs; DerivgenError where that would lose something unasked."""
    integer = expected.classes is not None or np.dtype(expected.dtype).kind in "iu"
    if array.dtype.kind not in "fiub":
        raise DerivgenError(f"{path}: {expected.name} must hold numbers, found dtype {array.dtype}")
    # Labels are taken in any integer dtype.
    fits = array.dtype.kind in "iu" if integer else array.dtype == expected.dtype
    if fits:
        return array
    wanted = "int64" if integer else str(expected.dtype)
    if not cast:
        raise DerivgenError(
            f"{path}: {expected.name} must be {wanted}, found {array.dtype}: convert it by --cast, or save it as "
            f'{expected.name}.astype("{wanted}")'
        )
    if integer and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        raise DerivgenError(f"{path}: {expected.name} must hold whole numbers, and some of its values are not")
    return array.astype(wanted)


def read_npz(path: Path) -> dict[str, Array]:
    """The named arrays of a file; DerivgenError where it is not an .npz, or one that only unpickling could read."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DerivgenError(f'{path} is a single array, expected an .npz of named ones: np.savez("data.npz", x=x)')
        with archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DerivgenError(f'{path} does not exist: write it by np.savez("{path.name}", ...)') from None
    except (OSError, EOFError) as error:
        raise DerivgenError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    except (ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DerivgenError(
            f'{path} is not an .npz file of plain arrays ({error}): write it by np.savez("{path.stem}.npz", ...)'
        ) from error
