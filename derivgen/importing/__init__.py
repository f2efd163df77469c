"""Specs from models of elsewhere: an ONNX file, or a module of PyTorch by way of one.

A spec is written as a person would write it: layers of the library where there is one, formulas elsewhere. Operators
that move elements write no line; they become subscripts of the formula that reads them.
"""

from derivgen.importing.importing import LOSSES, Imported, from_torch, import_onnx

__all__ = ["LOSSES", "Imported", "from_torch", "import_onnx"]
