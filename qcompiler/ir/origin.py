"""Where a node came from in the user's code: module path and source line.

Both live in a node's `metadata_props` under our keys, so they survive cloning and saving.
"""

from __future__ import annotations

import onnx_ir as ir

MODULE_KEY = "qcompiler.module"
SOURCE_KEY = "qcompiler.source"
LEFT_KEY = "qcompiler.left-float"
"""On nodes that the source's author leaves in float."""
REGION_KEY = "qcompiler.region"
"""On nodes that took an anchor's place: the key of the region that they compute."""


def module_path(node: ir.Node) -> str | None:
    """Dotted path of the torch module that the node came from, such as `layers.3.fc`."""
    return node.metadata_props.get(MODULE_KEY)


def source_line(node: ir.Node) -> str | None:
    """`file:line` of the user's code that the node came from."""
    return node.metadata_props.get(SOURCE_KEY)


def replaced_region(node: ir.Node) -> str | None:
    """Key of the region whose anchor this node took the place of, None for other nodes."""
    return node.metadata_props.get(REGION_KEY)


def set_origin(node: ir.Node, module: str | None, source: str | None) -> None:
    """Records where a node came from; None leaves an entry as it is."""
    if module is not None:
        node.metadata_props[MODULE_KEY] = module
    if source is not None:
        node.metadata_props[SOURCE_KEY] = source


def leave_float(node: ir.Node) -> None:
    """Records that the source's author leaves the node in float; an override may say otherwise."""
    node.metadata_props[LEFT_KEY] = "1"


def is_left_float(node: ir.Node) -> bool:
    """Whether the source's author leaves the node in float."""
    return LEFT_KEY in node.metadata_props


def inherit_origin(node: ir.Node, parents: list[ir.Node]) -> None:
    """Gives a new node the origin of the first parent that has one; float if any of them is."""
    if any(map(is_left_float, parents)):
        leave_float(node)
    for parent in parents:
        module, source = module_path(parent), source_line(parent)
        if module or source:
            set_origin(node, module, source)
            return


def describe(node: ir.Node) -> str:
    """`op_type 'name' (module path, file:line)` for messages."""
    known = ", ".join(part for part in (module_path(node), source_line(node)) if part)
    return f"{node.op_type} '{node.name}'" + (f" ({known})" if known else "")
