"""Nodes that a rewrite needs in float: no target makes a region of them."""

from __future__ import annotations

import onnx_ir as ir

KEPT_KEY = "qcompiler.float"
"""On a node that has to compute in float: why."""


def keep_float(node: ir.Node, reason: str) -> None:
    """Marks a node, so that it is in no region."""
    node.metadata_props[KEPT_KEY] = reason


def is_kept_float(node: ir.Node) -> bool:
    """Whether a rewrite marked the node."""
    return KEPT_KEY in node.metadata_props
