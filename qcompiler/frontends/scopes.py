"""The module path that torch's ONNX exporters leave on every node, in a file too.

The present one notes the enclosing scopes; the one before (TorchScript) made them the node's name,
`/layers/layers.3/fc/MatMul_1`, where a child of a Sequential repeats the name of its parent. There
a module that is called again has a number behind its name.
"""

from __future__ import annotations

import ast
import re

import onnx_ir as ir

from qcompiler.ir.origin import module_path, set_origin
from qcompiler.ir.walk import all_graphs

SCOPES = "pkg.torch.onnx.name_scopes"
_CALL_NUMBER = re.compile(r"@\d+$")
_NAMED_BY_SCOPE = re.compile(r"/(?P<scopes>.+)/[A-Z]\w*")


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


def module_of_name(name: str) -> str | None:
    """`layers.3.fc` from `/layers/layers.3/fc/MatMul_1`; None for other names."""
    found = _NAMED_BY_SCOPE.fullmatch(name)
    path: list[str] = []
    for scope in found["scopes"].split("/") if found else ():
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    return ".".join(path) if path and all(path) else None


def without_call(path: str) -> str:
    """The path without the number of the call, which a module that is used twice has."""
    return _CALL_NUMBER.sub("", path)


def read_scopes(model: ir.Model) -> None:
    """Gives nodes of an exported file their module paths, where they have none of ours."""
    exported = model.producer_name == "pytorch"
    seen: dict[str, str | None] = {}
    for graph in all_graphs(model):
        for node in graph:
            if module_path(node) is not None:
                continue
            scopes = node.metadata_props.get(SCOPES)
            if scopes is not None and scopes not in seen:
                seen[scopes] = module_of_scopes(scopes)
            by_name = module_of_name(node.name or "") if exported and scopes is None else None
            set_origin(node, by_name if scopes is None else seen[scopes], None)
