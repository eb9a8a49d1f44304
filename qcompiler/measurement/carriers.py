"""Ops that place elements or treat each by itself: what lies between outputs and their origins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.optraits import traits

Array = npt.NDArray[Any]


DATA: dict[str, tuple[int, ...] | None] = {
    "Concat": None,
    "Where": (1, 2),
    "ScatterND": (0, 2),
    "ScatterElements": (0, 2),
    **dict.fromkeys(
        (
            "Reshape Transpose Squeeze Unsqueeze Flatten Slice Gather GatherElements GatherND "
            "Expand Tile Split Pad Identity Compress ReverseSequence Trilu"
        ).split(),
        (0,),
    ),
}
"""Ops that place elements of these operands (None: all) and compute nothing."""
_EACH = frozenset(
    "Cast CastLike Round Floor Ceil Sign QuantizeLinear DequantizeLinear Dropout Not IsNaN".split()
)
"""Ops that treat each element of the first operand by itself, besides those of the traits table."""
_WHOLE = _EACH | frozenset("Abs Neg Relu Clip Identity Max Min".split())
"""Those of whole numbers that give whole numbers: what was a label stays one."""
SCORING = frozenset(("Sigmoid", "HardSigmoid"))
"""Ops that make scores of yes or no."""
_SCORES = frozenset(
    "Cast CastLike Dropout QuantizeLinear DequantizeLinear Identity Clip Sqrt".split()
)
"""Ops behind which a score is one still: the square root is that of a product of two."""
DECADES = 64
"""Room for powers of ten of a constant's elements in the number of an origin."""


def carried(outputs: Sequence[ir.Value]) -> set[ir.Node]:
    """Nodes between the outputs and the origins of their elements."""
    found: set[ir.Node] = set()
    pending = list(outputs)
    while pending:
        node = pending.pop().producer()
        if node is None or node in found or not _is_carrier(node):
            continue
        found.add(node)
        pending.extend(_sources(node))
    return found


def _is_carrier(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type in ("ScatterND", "ScatterElements"):
        reduction = node.attributes.get("reduction")
        return reduction is None or reduction.as_string() == "none"
    return node.op_type in DATA or is_each(node) or _is_pair(node)


def is_each(node: ir.Node) -> bool:
    """Whether it treats every element of its first operand by itself."""
    return node.op_type in _EACH or traits(node).unary


def _is_pair(node: ir.Node) -> bool:
    return traits(node).elementwise and not traits(node).unary


def positions_of_data(node: ir.Node) -> list[int]:
    """Operands of an op of `DATA` whose elements it places."""
    given = DATA[node.op_type]
    return [*range(len(node.inputs))] if given is None else list(given)


def _sources(node: ir.Node) -> Iterator[ir.Value]:
    every = range(len(node.inputs))
    positions = positions_of_data(node) if node.op_type in DATA else [0] if is_each(node) else every
    for position in positions:
        value = node.inputs[position]
        if value is not None:
            yield value


def powers_of_ten(factor: Array) -> Array:
    """Powers of ten of a constant's elements, counted from the smallest; 0 for zeros."""
    size = np.abs(factor.astype(np.float64)) if factor.dtype.kind in "fiu" else np.zeros(())
    some = size[(size > 0) & np.isfinite(size)]
    if not some.size:
        return np.zeros(np.shape(factor), np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.round(np.log10(size / some.min()))
    kept = np.where(np.isfinite(powers), powers, 0)
    return np.clip(kept, 0, DECADES - 1).astype(np.int64)


def keeps_whole(node: ir.Node) -> bool:
    """Whether labels in give labels out; the cosine of a position is none."""
    return node.op_type in _WHOLE


def keeps_scores(node: ir.Node) -> bool:
    """Whether scores in give scores out."""
    return node.op_type in _SCORES


def place_in_concat(value: ir.Value) -> int:
    """Which operand of the next Concat a value is, behind other movers; -1 where there is none."""
    pending, seen = [value], set()
    while pending:
        for node, position in pending.pop(0).uses():
            if node.op_type == "Concat":
                return position
            if node not in seen and (node.op_type in DATA or keeps_scores(node)):
                seen.add(node)
                pending.extend(node.outputs)
    return -1


def root_of(origin: int, known: dict[int, bool]) -> int:
    """The origin without the powers of constants on top of it."""
    return origin if origin in known else origin - origin % DECADES
