"""`insert-n-bit-products`: products as `com.microsoft.MatMulNBits`, where Q/DQ cannot say them.

Those with 2-bit weights, for which DequantizeLinear has no type before opset 25, and those whose
weight is read by several products or is a table that is looked up, too: ONNX Runtime's fusion of
DequantizeLinear wants constants of its own for every product, here all read one. The operator's
layout (docs/ContribOperators.md there): weights [outputs, blocks, bytes] with the first element in
the lowest bits, float32 scales [outputs, blocks], zero points [outputs, bytes] packed the same way;
without these, the middle.
`accuracy_level` 4 lets its CPU kernel round activations to int8 within each block, 1 computes with
them in float32. DequantizeLinear + MatMul becomes level 4 when the file is loaded, so for any other
level of the target all products are written here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.backends.onnxruntime.passes.n_bit_lookups import look_up_bytes, tied_product
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.binding import Placed, bound_regions
from qcompiler.decisions.roundings import Rounding, reduction_axis
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.packing import pack
from qcompiler.quantization.qspace import QSpace
from qcompiler.target.capability import Kernel

Array = npt.NDArray[Any]
_UNSIGNED = {2: ir.DataType.UINT2, 4: ir.DataType.UINT4}
_PRODUCTS = ("MatMul", "Gemm")
_FUSED = 4
"""Level that ONNX Runtime's own fusion gives (session.qdq_matmulnbits_accuracy_level)."""
_LEAST = {2: 32, 4: 16, 8: 16}
"""Smallest block that there is a fast kernel for, by bits."""
_Key = tuple[object, ...]
"""A float weight and its integers."""


@dataclass(frozen=True)
class InsertNBitProducts(Pass):
    """Rewrites MatMul and Gemm with 2-bit weights or a shared one, and look-ups in blocks."""

    name: ClassVar[str] = "insert-n-bit-products"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        placed = bound_regions(program, Kernel.WEIGHT_ONLY)
        level = _accuracy_level(context)
        products = {p: _key(p) for p in placed if _in_blocks(p) and p.region.kind in _PRODUCTS}
        look_ups = {
            each: found
            for each in placed
            if each.region.kind == "Gather" and (found := _bytes_for(each, list(products)))
        }
        owners = {each: _Bytes.of(owner) for each, owner in look_ups.items()}
        readers = Counter([*products.values(), *(owner.key for owner in owners.values())])
        stored: dict[_Key, tuple[ir.Value, ...]] = {}
        written = 0
        for each, key in products.items():
            rounding = each.decided.rounding
            assert rounding is not None
            if rounding.params.space.storage_bits == 2 or readers[key] > 1 or level != _FUSED:
                if key not in stored:
                    stored[key] = _store(each, rounding, rewriter)
                _rewrite(each, rounding, stored[key], level, rewriter)
                written += 1
        for each, owner in owners.items():
            if owner.key not in stored:
                stored[owner.key] = _store(each, owner.rounding, rewriter)
            space = owner.rounding.params.space
            look_up_bytes(each.region.anchor, stored[owner.key], space, owner.width, rewriter)
        rewriter.drop_unused_constants()
        figures = {"products": written, "look-ups": len(look_ups), "weights": len(stored)}
        return Outcome(details=figures)


@dataclass(frozen=True, eq=False)
class _Bytes:
    """What a look-up reads.

    Attributes:
        key: Of the weight.
        rounding: Its integers.
        width: Elements of a row of the table.
    """

    key: _Key
    rounding: Rounding
    width: int

    @classmethod
    def of(cls, owner: Placed) -> _Bytes:
        """As long as the owner stands in the graph."""
        rounding = owner.decided.rounding
        assert rounding is not None
        width = int(rounding.integers.shape[reduction_axis(owner.region.anchor)])
        return cls(_key(owner), rounding, width)


def _accuracy_level(context: PassContext) -> int:
    target = context.target
    return target.accuracy_level if isinstance(target, OnnxRuntime) else _FUSED


def _bytes_for(look_up: Placed, products: Sequence[Placed]) -> Placed | None:
    """Whose bytes a look-up reads: those of a product with the same table, or its own."""
    return tied_product(look_up, products) or (look_up if _in_blocks(look_up) else None)


def _in_blocks(placed: Placed) -> bool:
    rounding = placed.decided.rounding
    if rounding is None:
        return False
    space = rounding.params.space
    return space.group_size is not None and not space.is_table


def _key(placed: Placed) -> _Key:
    operand, rounding = placed.region.weight, placed.decided.rounding
    return (operand and operand.value, *(rounding.key if rounding else ()))


def _rewrite(
    placed: Placed,
    rounding: Rounding,
    stored: tuple[ir.Value, ...],
    level: int,
    rewriter: Rewriter,
) -> None:
    node, output = placed.region.anchor, placed.region.anchor.outputs[0]
    space, axis = rounding.params.space, reduction_axis(node)
    bias = node.inputs[2] if is_op(node, "Gemm") and len(node.inputs) > 2 else None
    points: Sequence[ir.Value | None] = stored[2:] or (None,)
    product = rewriter.insert(
        "MatMulNBits",
        [_rows(node, rewriter), *stored[:2], *points, None, bias],
        before=node,
        domain="com.microsoft",
        attributes={
            "K": rounding.integers.shape[axis], "N": rounding.integers.shape[1 - axis],
            "block_size": _block(rounding.integers.shape[axis], space),
            "bits": space.storage_bits, "accuracy_level": level,
        },
        outputs=[f"{output.name}_product"],
        origin=[node],
        dtype=ir.DataType.FLOAT,
        shape=output.shape,
    )  # fmt: skip
    product.metadata_props[REGION_KEY] = node.name or ""
    rewriter.replace_uses(output, product.outputs[0])
    rewriter.erase_dead(node)


def _rows(node: ir.Node, rewriter: Rewriter) -> ir.Value | None:
    """The activations as [rows, inputs]."""
    if not is_op(node, "Gemm") or not node.attributes.get_int("transA", 0):
        return node.inputs[0]
    turned = rewriter.insert(
        "Transpose", [node.inputs[0]], before=node, attributes={"perm": [1, 0]}, origin=[node]
    )
    return turned.outputs[0]


def _store(placed: Placed, rounding: Rounding, rewriter: Rewriter) -> tuple[ir.Value, ...]:
    """Initializers of the main graph, which every graph reads: bytes, scales, zero points."""
    operand = placed.region.weight
    assert operand is not None
    turned = rounding if reduction_axis(placed.region.anchor) else rounding.transposed()
    stem = operand.value.name or "weight"
    names = (f"{rounding.params.space.storage_bits}_bits", "scale", "zero_point")
    parts = zip(_packed(turned), names, strict=False)
    return tuple(rewriter.constant(part, f"{stem}_{name}") for part, name in parts)


def _block(inputs: int, space: QSpace) -> int:
    """Elements of a block as it is written.

    The last one is filled up, which may cost more than parts of blocks that repeat the scale.
    """
    assert space.group_size is not None
    sizes = [space.group_size]
    while sizes[-1] // 2 >= _LEAST[space.storage_bits]:
        sizes.append(sizes[-1] // 2)
    bits = space.storage_bits
    return min(sizes, key=lambda size: -(-inputs // size) * (size * bits / 8 + 4))


def _packed(rounding: Rounding) -> tuple[Array, ...]:
    """Bytes, scales and zero points of an [outputs, inputs] weight in blocks of its rows."""
    params, space = rounding.params, rounding.params.space
    assert space.group_size is not None
    outputs, inputs = rounding.integers.shape
    size = _block(inputs, space)
    blocks = -(-inputs // size)
    scale, point = (
        np.repeat(part, space.group_size // size, axis=1)[:, :blocks]
        for part in (np.asarray(params.scale, np.float32), params.zero_point)
    )
    shift = 0 if space.qmin >= 0 else 2 ** (space.storage_bits - 1)
    integers = np.full((outputs, blocks * size), shift, np.uint8)
    integers[:, :inputs] = rounding.integers.astype(np.int16) + shift
    data = _bytes(integers, space.storage_bits).reshape(outputs, blocks, -1)
    if shift and not np.any(point):
        return data, scale
    per_byte = 8 // space.storage_bits
    zero = np.zeros((outputs, -(-blocks // per_byte) * per_byte), np.uint8)
    zero[:, :blocks] = point + shift
    return data, scale, _bytes(zero, space.storage_bits).reshape(outputs, -1)


def _bytes(integers: Array, bits: int) -> Array:
    return integers.reshape(-1) if bits == 8 else pack(integers, _UNSIGNED[bits])
