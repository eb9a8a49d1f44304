"""The names that ONNX Runtime gives to nodes when it fuses them or changes their layout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from qcompiler.ir.origin import replaced_region
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.walk import all_nodes, is_op

_ENDING = re.compile(
    r"(_token_\d+|_nchwc|_nhwc|_quant|_fused"
    r"|/MatMulAddFusion/?|/MatMulScaleFusion/?|/MatmulTransposeFusion/?)$"
)
_BEGINNING = re.compile(r"^fused ")
"""Found in files written by ONNX Runtime 1.31.1 (tests/backends/onnxruntime/test_kernels.py)."""


def known_names(name: str) -> Iterator[str]:
    """The name, then what it was before each renaming, the latest undone first."""
    yield name
    while True:
        shorter = _BEGINNING.sub("", _ENDING.sub("", name))
        if shorter == name:
            return
        name = shorter
        yield name


def owners(program: Program, regions: Sequence[Region]) -> dict[str, str]:
    """Region key by every name that a kernel of the region may bear.

    These are the names of the region's nodes, of what they compute, and of the QuantizeLinear
    behind it (a kernel that absorbed it writes its result). ONNX Runtime names layout-changed
    kernels for the value, others for the node.
    """
    owner: dict[str, str] = {}
    for node in all_nodes(program.model):
        key = replaced_region(node)
        if key is not None:
            _claim(owner, node, key)
    for region in regions:
        for use in region.output.uses():
            if is_op(use.node, "QuantizeLinear"):
                _claim(owner, use.node, region.key)
    for region in regions:  # last: a region's own names outweigh its neighbours' Q
        for node in region.nodes:
            _claim(owner, node, region.key)
    return owner


def _claim(owner: dict[str, str], node: ir.Node, key: str) -> None:
    owner[node.name or ""] = key
    owner.update({output.name or "": key for output in node.outputs})


def owner_of(node: ir.Node, owner: Mapping[str, str]) -> str | None:
    """The region that a node of ONNX Runtime's optimized graph computes, if it is known."""
    candidates = [node.name or "", *(output.name or "" for output in node.outputs)]
    for candidate in candidates:
        for name in known_names(candidate):
            if name in owner:
                return owner[name]
    return None
