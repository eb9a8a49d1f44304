"""The module path that torch's ONNX exporter notes on every node, in a file too."""

from __future__ import annotations

import ast
import re

import onnx_ir as ir

from qcompiler.ir.origin import module_path, set_origin
from qcompiler.ir.walk import all_graphs

SCOPES = "pkg.torch.onnx.name_scopes"
_CALL_NUMBER = re.compile(r"@\d+$")


def module_of_scopes(scopes: str) -> str | None:
    """`layers.3.fc` from the list of enclosing scopes, whose last entry is the node itself.

    None for anything else: what a file notes may be damaged, and is not needed.
    """
    try:
        names = ast.literal_eval(scopes) if scopes else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        return None
    return without_call(names[-2]) or None if len(names) > 1 else None


def without_call(path: str) -> str:
    """The path without the number of the call, which a module that is used twice has."""
    return _CALL_NUMBER.sub("", path)


def read_scopes(model: ir.Model) -> None:
    """Gives nodes of an exported file their module paths, where they have none of ours."""
    seen: dict[str, str | None] = {}
    for graph in all_graphs(model):
        for node in graph:
            scopes = node.metadata_props.get(SCOPES)
            if scopes is None or module_path(node) is not None:
                continue
            if scopes not in seen:
                seen[scopes] = module_of_scopes(scopes)
            set_origin(node, seen[scopes], None)
