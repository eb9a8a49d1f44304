"""`insert-dynamic-quantization`: matrix products whose activations are quantized at each call.

The standard ONNX form, which engines fuse: DynamicQuantizeLinear → MatMulInteger → Cast → Mul by
(activation scale * weight scale). Products of one activation share its DynamicQuantizeLinear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.decisions.binding import Placed, bound_regions
from qcompiler.decisions.roundings import Rounding
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program, Property
from qcompiler.ir.qdq import stored_constant
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.target.capability import Kernel


@dataclass(frozen=True)
class InsertDynamicQuantization(Pass):
    """Rewrites every MatMul and Gemm that the plan runs in a dynamic form."""

    name: ClassVar[str] = "insert-dynamic-quantization"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        writer = _Writer(rewriter)
        placed = bound_regions(program, Kernel.DYNAMIC)
        products = [each for each in placed if each.region.kind in ("MatMul", "Gemm")]
        for each in products:
            writer.rewrite(each)
        rewriter.drop_unused_constants()
        return Outcome(details={"products": len(products)})


@dataclass(frozen=True, eq=False)
class _IntegerWeight:
    """Initializers of an int8 [K, N] weight with one scale per column."""

    data: ir.Value
    scale: ir.Value
    zero_point: ir.Value


class _Writer:
    """Emits dynamic products; activations and weights used several times are quantized once."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._activations: dict[tuple[ir.Value, ir.Graph | None], ir.Node] = {}
        self._weights: dict[tuple[object, ...], _IntegerWeight] = {}
        self._turned: dict[tuple[ir.Value, ir.Graph | None], ir.Value] = {}

    def rewrite(self, placed: Placed) -> None:
        anchor = placed.region.anchor
        source = self._rows(placed.region.activations[0].value, anchor)
        weight = self._weight(placed)
        activation = self._activation(source, anchor)
        quantized, scale, zero = activation.outputs
        stem = anchor.outputs[0].name or "product"
        product = self._add(
            "MatMulInteger",
            [quantized, weight.data, zero, weight.zero_point],
            anchor,
            f"{stem}_int32",
            ir.DataType.INT32,
        )
        cast = self._add("Cast", [product], anchor, f"{stem}_sum", to=ir.DataType.FLOAT)
        scales = self._add("Mul", [scale, weight.scale], anchor, f"{stem}_scales")
        result = self._add("Mul", [cast, scales], anchor, f"{stem}_product")
        if anchor.op_type == "Gemm" and len(anchor.inputs) > 2 and anchor.inputs[2] is not None:
            result = self._add("Add", [result, anchor.inputs[2]], anchor, f"{stem}_biased")
        result.shape = anchor.outputs[0].shape
        self._rewriter.replace_uses(anchor.outputs[0], result)
        self._rewriter.erase_dead(anchor)

    def _add(
        self,
        op_type: str,
        inputs: list[ir.Value | None],
        anchor: ir.Node,
        name: str,
        dtype: ir.DataType = ir.DataType.FLOAT,
        **attributes: int,
    ) -> ir.Value:
        node = self._rewriter.insert(
            op_type,
            inputs,
            before=anchor,
            attributes=attributes,
            outputs=[name],
            origin=[anchor],
            dtype=dtype,
        )
        node.metadata_props[REGION_KEY] = anchor.name or ""
        return node.outputs[0]

    def _rows(self, source: ir.Value, anchor: ir.Node) -> ir.Value:
        """The activations as [rows, inputs]: MatMulInteger has no `transA`."""
        if anchor.op_type != "Gemm" or not anchor.attributes.get_int("transA", 0):
            return source
        key = (source, anchor.graph)
        if key not in self._turned:
            node = self._rewriter.insert(
                "Transpose", [source], before=anchor, attributes={"perm": [1, 0]},
                outputs=[f"{source.name}_turned"], origin=[anchor], dtype=ir.DataType.FLOAT,
            )  # fmt: skip
            self._turned[key] = node.outputs[0]
        return self._turned[key]

    def _activation(self, source: ir.Value, anchor: ir.Node) -> ir.Node:
        key = (source, anchor.graph)
        if key not in self._activations:
            inside = source.graph is not anchor.graph
            self._activations[key] = self._rewriter.insert(
                "DynamicQuantizeLinear",
                [source],
                after=None if inside else source.producer(),
                graph=anchor.graph,
                origin=[anchor],
                outputs=[f"{source.name}_{part}" for part in ("u8", "scale", "zero_point")],
                dtype=ir.DataType.UINT8,
                shape=source.shape,
            )
        return self._activations[key]

    def _weight(self, placed: Placed) -> _IntegerWeight:
        operand, rounding = placed.region.weight, placed.decided.rounding
        assert operand is not None
        assert rounding is not None
        transposed = _is_transposed(operand.node)
        key = (operand.value, transposed, *rounding.key)
        if key not in self._weights:
            turned = rounding.transposed() if transposed else rounding
            self._weights[key] = self._store(operand.value, turned)
        return self._weights[key]

    def _store(self, value: ir.Value, rounding: Rounding) -> _IntegerWeight:
        stem = value.name or "weight"
        return _IntegerWeight(
            *stored_constant(self._rewriter, stem, rounding.params, rounding.integers)
        )


def _is_transposed(node: ir.Node) -> bool:
    return node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
