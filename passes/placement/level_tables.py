"""`insert-level-tables`: weights whose levels are not even, as packed indices and a table.

Standard ONNX operators take the indices out of their bytes and look the levels up:
Gather(levels, indices) [* scale]. Elements of b bits lie behind each other, the first in the lowest
bits (`quantization/packing.py`), so b / gcd(b, 8) bytes hold 8 / gcd(b, 8) whole elements. A row of
so many bytes becomes a row of elements: the byte that one begins in and the next one are put
together, shifted and masked. Everything follows from constants alone: a runtime that folds them
computes it once, when it loads the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.decisions.binding import bound_regions
from qcompiler.decisions.roundings import Rounding
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.packing import pack_bits
from qcompiler.quantization.qspace import QParams
from qcompiler.target.capability import Kernel

UINT8, UINT32, INT32 = ir.DataType.UINT8, ir.DataType.UINT32, ir.DataType.INT32
FLOAT = ir.DataType.FLOAT
Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class InsertLevelTables(Pass):
    """Writes the weight of every region whose form has a table of levels."""

    name: ClassVar[str] = "insert-level-tables"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        stored: dict[tuple[object, ...], tuple[ir.Value, ...]] = {}
        made: dict[tuple[object, ...], ir.Value] = {}
        numbers = _Numbers(rewriter)
        for each in bound_regions(program, Kernel.WEIGHT_ONLY):
            rounding, operand = each.decided.rounding, each.region.weight
            if rounding is None or operand is None or not rounding.params.space.is_table:
                continue
            key = (operand.value, *rounding.key)
            if key not in stored:
                stored[key] = _initializers(rewriter, operand.value.name or "weight", rounding)
            here = (*key, operand.node.graph)
            if here not in made:
                made[here] = _Unpacking(rewriter, operand, rounding, numbers).values(stored[key])
            rewriter.set_input(operand.node, operand.index, made[here])
        rewriter.drop_unused_constants()
        return Outcome(details={"weights": len(stored)})


def _initializers(rewriter: Rewriter, stem: str, rounding: Rounding) -> tuple[ir.Value, ...]:
    """Rows of bytes and levels, and scales where they are not 1; once, in the main graph."""
    params = rounding.params
    assert params.levels is not None
    bits = params.space.packed_bits
    row, whole = _unit(bits)
    data = pack_bits(rounding.integers, bits)
    padded = np.zeros(-(-rounding.integers.size // whole) * row, np.uint8)
    padded[: data.size] = data
    held = [
        rewriter.constant(padded.reshape(-1, row), f"{stem}_packed"),
        rewriter.constant(np.asarray(params.levels, np.float32).reshape(-1), f"{stem}_levels"),
    ]
    if np.any(params.scale != 1.0):
        held.append(rewriter.constant(_spread(params, rounding.integers.ndim), f"{stem}_scale"))
    return tuple(held)


def _unit(bits: int) -> tuple[int, int]:
    """The fewest bytes that hold whole elements, and how many."""
    common = gcd(bits, 8)
    return bits // common, 8 // common


def _spread(params: QParams, rank: int) -> npt.NDArray[np.float32]:
    """Scales in a shape that broadcasts to the weight's."""
    scale = np.asarray(params.scale, np.float32)
    if scale.ndim == 0 or params.axis is None:
        return scale
    return scale.reshape((-1,) + (1,) * (rank - params.axis % rank - 1))


class _Numbers:
    """Shifts, masks and shapes: initializers of the main graph, each of them once."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._held: dict[tuple[bytes, str, tuple[int, ...]], ir.Value] = {}

    def of(self, array: Array, part: str) -> ir.Value:
        key = (array.tobytes(), str(array.dtype), array.shape)
        if key not in self._held:
            self._held[key] = self._rewriter.constant(array, f"levels_{part}")
        return self._held[key]


@dataclass(eq=False)
class _Unpacking:
    """Nodes in front of one that reads a weight."""

    rewriter: Rewriter
    operand: Operand
    rounding: Rounding
    numbers: _Numbers

    def values(self, stored: Sequence[ir.Value]) -> ir.Value:
        """The float weight that rows of bytes, levels and scales stand for."""
        index = self._with_table(self._indices(stored[0]))
        value = self._add("Gather", [stored[1], index], "looked_up", FLOAT)
        if len(stored) > 2:
            value = self._add("Mul", [value, stored[2]], "scaled", FLOAT)
        value.shape = self.operand.value.shape or ir.Shape(self.rounding.integers.shape)
        return value

    def _indices(self, packed: ir.Value) -> ir.Value:
        """int32 in the weight's shape."""
        bits, shape = self.rounding.params.space.packed_bits, self.rounding.integers.shape
        row, whole = _unit(bits)
        elements = packed if whole == 1 else self._elements(packed, bits, row, whole)
        flat = self._add("Cast", [elements], "indices", INT32, to=int(INT32))
        count = int(np.prod(shape))
        if count % whole:
            flat = self._reshaped(flat, (-1,))
            ends = [self._number(np.asarray([each], np.int64), "end") for each in (0, count)]
            flat = self._add("Slice", [flat, *ends], "kept", INT32)
        return self._reshaped(flat, shape)

    def _elements(self, packed: ir.Value, bits: int, row: int, whole: int) -> ir.Value:
        """[rows, elements]; every element lies in one byte, or in that and the next one."""
        places = np.arange(whole) * bits
        kind = UINT8 if row == 1 else UINT32
        if row > 1:
            wide = self._add("Cast", [packed], "bytes", UINT32, to=int(UINT32))
            first, second = (
                self._add(
                    "Gather", [wide, self._number(np.minimum(each, row - 1), "byte")], "byte",
                    UINT32, axis=1,
                )
                for each in (places // 8, places // 8 + 1)
            )  # fmt: skip
            eight = self._number(np.asarray(8, np.uint32), "eight")
            high = self._add("BitShift", [second, eight], "high", UINT32, direction="LEFT")
            packed = self._add("BitwiseOr", [first, high], "pair", UINT32)
        shifts = self._number((places % 8).astype(kind.numpy()), "shifts")
        moved = self._add("BitShift", [packed, shifts], "moved", kind, direction="RIGHT")
        mask = self._number(np.asarray(2**bits - 1, kind.numpy()), "mask")
        return self._add("BitwiseAnd", [moved, mask], "elements", kind)

    def _with_table(self, index: ir.Value) -> ir.Value:
        """Indices into all tables behind each other, where channels have tables of their own."""
        params = self.rounding.params
        assert params.levels is not None
        if params.levels.ndim == 1:
            return index
        axis, rank = params.axis, self.rounding.integers.ndim
        assert axis is not None
        channels = np.arange(self.rounding.integers.shape[axis]) // (params.space.group_size or 1)
        first = (channels * params.levels.shape[1]).astype(np.int32)
        shaped = first.reshape((-1,) + (1,) * (rank - axis % rank - 1))
        return self._add("Add", [index, self._number(shaped, "tables")], "placed", INT32)

    def _reshaped(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        wanted = self._number(np.asarray(shape, np.int64), "shape")
        return self._add("Reshape", [value, wanted], "reshaped", value.dtype or INT32)

    def _number(
        self, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], part: str
    ) -> ir.Value:
        return self.numbers.of(array, part)

    @property
    def _stem(self) -> str:
        return self.operand.value.name or "weight"

    def _add(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        part: str,
        dtype: ir.DataType,
        **attributes: int | str,
    ) -> ir.Value:
        return self.rewriter.insert(
            op,
            list(inputs),
            before=self.operand.node,
            attributes=attributes,
            outputs=[f"{self._stem}_{part}"],
            dtype=dtype,
        ).outputs[0]
