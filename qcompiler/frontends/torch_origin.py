"""Where a translated node came from: module path and the user's own source line."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir
import torch

from qcompiler.frontends.scopes import SCOPES, module_of_scopes, without_call
from qcompiler.ir.origin import set_origin
from qcompiler.ir.walk import all_graphs

_TRACE = "pkg.torch.onnx.stack_trace"
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_PACKAGE = Path(__file__).resolve().parents[1]
_FOREIGN = tuple(
    f"{folder}/" for folder in (Path(torch.__file__).parent, _PACKAGE, sysconfig.get_path("stdlib"))
)
"""Not the user's code: torch, this package, Python's library (site-packages lies in it)."""
_SITE = f"{sysconfig.get_path('purelib')}/"
_TRANSLATORS = ("/onnxscript/", "/onnx_ir/", "/sympy/")
"""Packages that work for torch's exporter."""


def keep_origins(model: ir.Model) -> None:
    """Writes our two origin entries into every node and drops the exporter's bulky metadata."""
    seen: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    bodies: list[ir.Graph | ir.Function] = [*all_graphs(model), *model.functions.values()]
    for body in bodies:
        body.metadata_props.clear()
        for node in body:
            key = node.metadata_props.get(SCOPES, ""), node.metadata_props.get(_TRACE, "")
            if key not in seen:
                seen[key] = module_of_scopes(key[0]), user_frame(key[1])
            node.metadata_props.clear()
            set_origin(node, *seen[key])
            _forget([*node.outputs])
        _forget([*body.inputs])
    for graph in all_graphs(model):
        _forget([*graph.initializers.values()])


def _forget(values: list[ir.Value]) -> None:
    for value in values:
        value.metadata_props.clear()


def module_of_node(node: torch.fx.Node) -> str | None:
    """Path of the module whose code made a node of a captured graph."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    return without_call(path.removeprefix("L['self'].")) or None


def user_frame(trace: str) -> str | None:
    """`file:line` of the innermost frame of the user's code in a printed stack."""
    frames = ((found["file"], int(found["line"])) for found in _FRAME.finditer(trace))
    return _innermost(frames)


def _innermost(frames: Iterable[tuple[str, int]]) -> str | None:
    last = None
    for file, line in frames:
        if _is_users(file):
            last = f"{file}:{line}"
    return last


def _is_users(file: str) -> bool:
    if file.startswith("<"):
        return False
    torch_or_ours = file.startswith(_FOREIGN[:2])
    from_library = file.startswith(_FOREIGN[2]) and not file.startswith(_SITE)
    return not torch_or_ours and not from_library and not any(p in file for p in _TRANSLATORS)


def user_line(error: BaseException) -> str | None:
    """`file:line` of the user's code where an exception (or what caused it) arose."""
    pending: list[BaseException | None] = [error]
    visited: set[int] = set()
    while pending:
        current = pending.pop(0)
        if current is None or id(current) in visited:
            continue
        visited.add(id(current))
        frames = [
            (frame.filename, frame.lineno or 0)
            for frame in traceback.extract_tb(current.__traceback__)
        ]
        found = _innermost(_after_capture(frames)) or user_frame(str(current))
        if found:
            return found
        pending += [current.__cause__, current.__context__]
    return None


def _after_capture(frames: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The frames below the last one of this package: those above are the caller's."""
    ours = [i for i, (file, _) in enumerate(frames) if file.startswith(_FOREIGN[1])]
    return frames[ours[-1] + 1 :] if ours else frames
