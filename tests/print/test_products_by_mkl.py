"""Products of matrices by MKL, for who asks for it: the environment variable, and the message without the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from example_files import EXAMPLES

MODULE = EXAMPLES / "digits" / "digits_kernels.py"


def imported(path: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    code = f"import runpy; print(runpy.run_path({str(path)!r})['gemm'])"
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_without_the_package_the_message_says_what_to_install(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(MODULE.read_text().replace('files("mkl")', 'files("a-package-that-is-nowhere")'))
    done = imported(module, {"DERIVGEN_BLAS": "mkl"})
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "ImportError: DERIVGEN_BLAS=mkl asks for the package mkl, which is missing: pip install mkl"
    )


def test_who_does_not_ask_needs_no_package() -> None:
    assert imported(MODULE, {"DERIVGEN_BLAS": ""}).returncode == 0


def test_products_go_through_the_function_that_was_asked_for(tmp_path: Path) -> None:
    """A library with one function, a plain CBLAS product, stands in for MKL."""
    source, library, module = tmp_path / "blas.py", tmp_path / "calls.txt", tmp_path / "module.py"
    source.write_text(PLAIN_BLAS)
    text = MODULE.read_text()
    opened = "mkl = ctypes.CDLL(str(library)).cblas_sgemm"
    found = 'library = next(file for file in files("mkl") if "mkl_rt" in file.name).locate()'
    assert text.count(opened) == text.count(found) == 1
    text = text.replace(found, "library = None").replace(opened, "import blas; mkl = blas.cblas_sgemm")
    module.write_text(text)
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import numpy as np, module
x, y = np.random.default_rng(0).random((5, 64), np.float32), np.arange(5)
print(module.loss(module.initial_parameters(0), x, y))
"""
    results = []
    for asked in ("", "mkl"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "DERIVGEN_BLAS": asked, "BLAS_CALLS": str(library)},
            capture_output=True,
            text=True,
            check=True,
        )
        results.append(float(done.stdout))
    assert library.read_text() == "product\n" * 2  # of the two layers, once
    assert abs(results[0] - results[1]) <= 1e-6 * abs(results[0])


PLAIN_BLAS = '''
import ctypes, os
import numpy as np

int_, real, array = ctypes.c_int, ctypes.c_float, ctypes.c_void_p


def matrix(place, rows, columns, step):
    """By columns, of which each starts `step` numbers after the one before."""
    flat = np.ctypeslib.as_array(ctypes.cast(place, ctypes.POINTER(real)), (columns * step,))
    return flat.reshape(columns, step)[:, :rows].T


@ctypes.CFUNCTYPE(None, *6 * [int_], real, array, int_, array, int_, real, array, int_)
def cblas_sgemm(layout, a_form, b_form, M, N, K, alpha, a, a_step, b, b_step, beta, c, c_step):
    assert layout == 102
    A = matrix(a, K, M, a_step).T if a_form == 112 else matrix(a, M, K, a_step)
    B = matrix(b, N, K, b_step).T if b_form == 112 else matrix(b, K, N, b_step)
    out = matrix(c, M, N, c_step)
    out[...] = alpha * (A @ B) + (beta * out if beta else 0)
    with open(os.environ["BLAS_CALLS"], "a") as file:
        file.write("product\\n")
'''
