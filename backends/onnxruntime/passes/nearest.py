"""`repeat-by-expand`: nearest Resize of integers by whole factors as Expand, in channels-last.

ONNX Runtime copies element by element, but for 2x in NCHW: [1, 96, 60, 60] by 2 takes 790 µs on
uint8 in NHWC and [1, 24, 30, 30] by 4 takes 210 µs in any layout. Expand copies rows of channels:
30 and 20 µs (ONNX Runtime 1.31.1, one thread, docs/onnxruntime.md). Its optimizer moves Transposes
through Resize, not through Expand, so 2x between kernels that read NCHW is left to Resize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_op, uses
from qcompiler.passes.canonical.dims import partial_dims, static_dims
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

_LEAST_CHANNELS = 8
"""Rows that are shorter are copied as slowly as single elements."""
_LEAST_ELEMENTS = 8192
"""Of the output; below, what further kernels cost is more than is saved."""
_INTEGERS = (ir.DataType.UINT8, ir.DataType.INT8)
_HALVES = ("round_prefer_floor", "round_prefer_ceil")
_PASSED = frozenset(
    {
        "Add", "AveragePool", "Clip", "Concat", "DequantizeLinear", "LeakyRelu", "MaxPool", "Mul",
        "QuantizeLinear", "Relu", "Resize", "Sigmoid",
    }
)  # fmt: skip
"""Ops that run channels-last beside a convolution that does."""


@dataclass(frozen=True)
class RepeatByExpand(Pass):
    """Resize that repeats elements becomes Transpose, Unsqueeze, Expand, Reshape, Transpose."""

    name: ClassVar[str] = "repeat-by-expand"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        nodes = [node for node in all_nodes(program.model) if is_op(node, "Resize")]
        # All are looked at before any is rewritten: they stand behind one another.
        chosen = [found for node in nodes if (found := _repeat(node)) and found.pays]
        for found in chosen:
            found.rewrite(rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details={"repeated": len(chosen)})


@dataclass(frozen=True, eq=False)
class _Repeat:
    """A Resize of [N, C, H, W] that repeats rows and columns.

    Attributes:
        node: The Resize.
        x: What it reads.
        channels: C.
        space: H and W; None where they are not both known.
        factors: How often rows and columns are repeated.
    """

    node: ir.Node
    x: ir.Value
    channels: int
    space: tuple[int, int] | None
    factors: tuple[int, int]

    @property
    def pays(self) -> bool:
        """Whether Expand is faster, by the measures above."""
        if self.channels < _LEAST_CHANNELS:
            return False
        fixed = self.space
        if fixed and self.channels * prod(fixed) * prod(self.factors) < _LEAST_ELEMENTS:
            return False
        doubles = self.factors == (2, 2)
        return not doubles or (_comes_from_conv(self.x) and _goes_to_conv(self.node))

    def rewrite(self, rewriter: Rewriter) -> None:
        """Expand between new axes behind H and W, which are joined with them."""
        height, width = self.factors
        last = self._add(rewriter, "Transpose", [self.x], "last", perm=[0, 2, 3, 1])
        if self.space is None:
            own = self._add(rewriter, "Shape", [last], "own")
            by = self._stored(rewriter, [1, height, width, 1], "factors")
            shape = self._add(rewriter, "Mul", [own, by], "shape")
        else:
            rows, columns = self.space
            dims = [0, rows * height, columns * width, self.channels]  # 0 copies the batch
            shape = self._stored(rewriter, dims, "shape")
        axes = self._stored(rewriter, [2, 4], "axes")
        counts = self._stored(rewriter, [1, 1, height, 1, width, 1], "counts")
        apart = self._add(rewriter, "Unsqueeze", [last, axes], "apart")
        many = self._add(rewriter, "Expand", [apart, counts], "many")
        whole = self._add(rewriter, "Reshape", [many, shape], "whole")
        perm = {"perm": [0, 3, 1, 2]}
        made = rewriter.recompose(self.node.outputs[0], "Transpose", [whole], attributes=perm)
        made.metadata_props[REGION_KEY] = self.node.name or ""

    def _add(
        self,
        rewriter: Rewriter,
        op: str,
        operands: Sequence[ir.Value],
        name: str,
        **attributes: object,
    ) -> ir.Value:
        made = rewriter.insert(
            op,
            operands,
            before=self.node,
            attributes=attributes,
            outputs=(f"{self.node.outputs[0].name}_{name}",),
            origin=(self.node,),
            dtype=ir.DataType.INT64 if op == "Shape" else operands[0].dtype,
        )
        made.metadata_props[REGION_KEY] = self.node.name or ""
        return made.outputs[0]

    def _stored(self, rewriter: Rewriter, dims: Sequence[int], name: str) -> ir.Value:
        return rewriter.constant(np.array(dims, np.int64), f"{self.node.outputs[0].name}_{name}")


def _repeat(node: ir.Node) -> _Repeat | None:
    """What the node repeats, if that is all it does."""
    x = node.inputs[0]
    dims = partial_dims(x)
    if x is None or x.dtype not in _INTEGERS or dims is None or len(dims) != 4:
        return None
    if node.attributes.get_string("mode", "nearest") != "nearest" or "axes" in node.attributes:
        return None
    scales = _scales(node, dims)
    if scales is None or scales[:2] != [1, 1] or any(s < 1 or s % 1 for s in scales):
        return None
    height, width = (int(each) for each in scales[2:])
    _, channels, rows, columns = dims
    if height * width == 1 or channels is None or not _repeats(node, max(height, width)):
        return None
    space = None if rows is None or columns is None else (rows, columns)
    return _Repeat(node, x, channels, space, (height, width))


def _scales(node: ir.Node, dims: Sequence[int | None]) -> list[float] | None:
    """Scales of all four axes, if they are stored or follow from known shapes."""
    stored = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if stored is not None and stored.size:
        return [float(each) for each in stored] if stored.size == 4 else None
    wanted = static_dims(node.outputs[0])
    if wanted is None or len(wanted) != 4 or not all(wanted) or not all(dims):
        return None
    return [out / (own or 1) for out, own in zip(wanted, dims, strict=True)]


def _repeats(node: ir.Node, factor: int) -> bool:
    """Whether output i is input i // factor.

    Position i is at (i + 0.5) / factor - 0.5, less than half from that, or at i / factor
    (the ONNX specification of Resize).
    """
    way = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
    if way in ("half_pixel", "half_pixel_symmetric"):
        return rounding in _HALVES
    return way == "asymmetric" and (
        rounding == "floor" or (rounding == "round_prefer_floor" and factor == 2)
    )


def _comes_from_conv(value: ir.Value) -> bool:
    """Whether a convolution on integers stands behind, with nothing between that minds layouts."""
    pending: list[ir.Value | None] = [value]
    seen: set[ir.Value] = set()
    while pending:
        current = pending.pop()
        node = None if current is None or current in seen else current.producer()
        if node is None or current is None:
            continue
        seen.add(current)
        if _reads_integers(node):
            return True
        if is_op(node, *_PASSED):
            pending += node.inputs
    return False


def _goes_to_conv(node: ir.Node) -> bool:
    """The same of what reads it."""
    pending, seen = [node], {node}
    while pending:
        outputs = pending.pop().outputs
        readers = {use.node: None for each in outputs for use in uses(each)}
        if any(map(_reads_integers, readers)):
            return True
        further = [each for each in readers if each not in seen and is_op(each, *_PASSED)]
        seen.update(further)
        pending += further
    return False


def _reads_integers(node: ir.Node) -> bool:
    dequantized = [v is not None and is_op(v.producer(), "DequantizeLinear") for v in node.inputs]
    return is_op(node, "Conv") and all(dequantized[:2])
