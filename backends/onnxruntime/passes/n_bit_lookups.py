"""Rows of a table taken from the bytes of MatMulNBits: a tied table is stored once.

Language models use one table E [V, D] for Gather(E, ids) and for a product with its transpose. The
product's bytes lie by rows of E, so Gather takes those of a row, its scales and its zero points;
only what is looked up is unpacked, with the first element in the lowest bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from qcompiler.decisions.binding import Placed
from qcompiler.decisions.roundings import reduction_axis
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import rank, stored_array
from qcompiler.quantization.qspace import QSpace

FLOAT, INT64, UINT8 = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.UINT8


def tied_product(look_up: Placed, products: Sequence[Placed]) -> Placed | None:
    """The first product whose weight is the table that is looked up, either way round."""
    gather = look_up.region.anchor
    table = stored_array(gather.inputs[0])
    if table is None:
        return None
    for each in products:
        weight = None if each.region.weight is None else stored_array(each.region.weight.value)
        if weight is None or each.decided.rounding is None:
            continue
        rows = weight if reduction_axis(each.region.anchor) else weight.T
        if rows.shape == table.shape and np.array_equal(rows, table):
            return each
    return None


def look_up_bytes(
    gather: ir.Node, stored: Sequence[ir.Value], space: QSpace, width: int, rewriter: Rewriter
) -> None:
    """Rewrites Gather(E, ids) as (unpacked(Gather(bytes, ids)) - point) * Gather(scales, ids).

    Args:
        gather: The look-up.
        stored: Bytes uint8 [V, blocks, bytes], scales float32 [V, blocks] and, where the middle is
            not the zero point, zero points uint8 [V, bytes].
        space: Of the elements.
        width: D.
        rewriter: Of the program.
    """
    ids, output = gather.inputs[1], gather.outputs[0]
    _, blocks, size = _dims(stored[0])
    per_byte = 8 // space.storage_bits
    known = rank(ids)
    write = _Writer(gather, rewriter, 1 if known is None else known)
    if known is None:
        write.flatten()
    taken = [write.rows(each) for each in stored]
    elements = write.unpacked(taken[0], space.storage_bits, [blocks, size * per_byte])
    if len(taken) > 2:
        held = _dims(stored[2])[1] * per_byte
        points = write.unpacked(taken[2], space.storage_bits, [held])
        point = write.column(write.cut(points, held, blocks))
    else:
        point = write.number(np.float32(2 ** (space.storage_bits - 1)), "point")
    centred = write.add("Sub", [elements, point], "centred")
    scaled = write.add("Mul", [centred, write.column(taken[1])], "blocks")
    held = blocks * size * per_byte
    result = write.cut(write.reshaped(scaled, [held]), held, width)
    if known is None:
        result = write.shaped_as(ids, result, width)
    result.shape = output.shape
    rewriter.replace_uses(output, result)
    rewriter.erase_dead(gather)


def _dims(value: ir.Value | None) -> list[int]:
    assert value is not None
    assert value.shape is not None
    return [int(each) for each in value.shape.numpy()]


@dataclass(eq=False)
class _Writer:
    """Nodes in the place of one Gather; `rank` is that of its indices."""

    gather: ir.Node
    rewriter: Rewriter
    rank: int
    ids: ir.Value | None = field(init=False)

    def __post_init__(self) -> None:
        self.ids = self.gather.inputs[1]

    def add(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        part: str,
        dtype: ir.DataType = FLOAT,
        **attributes: int | str,
    ) -> ir.Value:
        return self.rewriter.insert(
            op,
            list(inputs),
            before=self.gather,
            attributes=attributes,
            outputs=[f"{self.gather.outputs[0].name or 'embedding'}_{part}"],
            origin=[self.gather],
            dtype=dtype,
        ).outputs[0]

    def flatten(self) -> None:
        """Looks up a row of indices, for those of which not even the rank is known."""
        flat = self.number(np.asarray([-1], np.int64), "flat")
        self.ids = self.add("Reshape", [self.ids, flat], "ids", INT64)

    def shaped_as(self, ids: ir.Value | None, rows: ir.Value, width: int) -> ir.Value:
        """Rows [n, width] as [ids..., width]."""
        dims = self.add("Shape", [ids], "dims", INT64)
        last = self.number(np.asarray([width], np.int64), "width")
        shape = self.add("Concat", [dims, last], "shape", INT64, axis=0)
        return self.add("Reshape", [rows, shape], "shaped", FLOAT, allowzero=1)

    def number(self, array: object, part: str) -> ir.Value:
        stem = self.gather.outputs[0].name or "embedding"
        return self.rewriter.constant(np.asarray(array), f"{stem}_{part}")

    def rows(self, stored: ir.Value) -> ir.Value:
        dtype = stored.dtype or UINT8
        return self.add("Gather", [stored, self.ids], "rows", dtype, axis=0)

    def unpacked(self, packed: ir.Value, bits: int, last: Sequence[int]) -> ir.Value:
        """float32 [ids..., *last] of bytes with 8 / `bits` elements each."""
        if bits < 8:
            shifts = self.number(np.arange(0, 8, bits, dtype=np.uint8), "shifts")
            mask = self.number(np.uint8(2**bits - 1), "mask")
            apart = self.column(packed)
            moved = self.add("BitShift", [apart, shifts], "moved", UINT8, direction="RIGHT")
            packed = self.add("BitwiseAnd", [moved, mask], "elements", UINT8)
            packed = self.reshaped(packed, last)
        return self.add("Cast", [packed], "steps", to=int(FLOAT))

    def column(self, value: ir.Value) -> ir.Value:
        last = self.number(np.asarray([-1], np.int64), "last")
        return self.add("Unsqueeze", [value, last], "column", value.dtype or FLOAT)

    def reshaped(self, value: ir.Value, last: Sequence[int]) -> ir.Value:
        """[ids..., *last]; a 0 copies the extent, and nothing is divided where that is 0, too."""
        shape = self.number(np.asarray([0] * self.rank + list(last), np.int64), "shape")
        return self.add("Reshape", [value, shape], "reshaped", value.dtype or FLOAT)

    def cut(self, value: ir.Value, held: int, count: int) -> ir.Value:
        """The first elements of the last axis: blocks and bytes may hold more than there is."""
        if held == count:
            return value
        ends = [np.asarray([each], np.int64) for each in (0, count, -1)]
        bounds = [self.number(each, "bound") for each in ends]
        return self.add("Slice", [value, *bounds], "cut")
