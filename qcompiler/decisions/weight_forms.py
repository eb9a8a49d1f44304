"""Forms of products whose weights are stored in integers, by type, bits and block size."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qcompiler.decisions.schemes import WEIGHT_BLOCKS, blocked
from qcompiler.quantization.qspace import Granularity, QSpace
from qcompiler.target.capability import Implementation, Kernel


@dataclass(frozen=True)
class StoredWeights:
    """How a weight-only form stores a weight.

    Attributes:
        dtype: Storage type; unsigned ones have a zero point per block.
        bits: Bits used of it.
        sizes: Weights per scale, along the reduction axis.
    """

    dtype: ir.DataType
    bits: int
    sizes: tuple[int, ...] = WEIGHT_BLOCKS

    def space(self, size: int) -> QSpace:
        """The space in blocks of a size."""
        used = None if self.bits == self.dtype.bitwidth else self.bits
        symmetric = self.dtype in (ir.DataType.INT8, ir.DataType.INT4)
        return QSpace(self.dtype, symmetric, Granularity.GROUP, size, bits=used)


def block_forms(
    types: Mapping[str, StoredWeights], own: int | None, searched: Collection[str]
) -> Iterator[Implementation]:
    """Weight-only forms in blocks.

    Args:
        types: By name without a size.
        own: Block size that a name without one stands for; None gives no form of that name.
        searched: Names of the forms that the search tries.
    """
    for name, stored in types.items():
        sizes = {} if own is None else {name: own}
        sizes |= {blocked(name, size): size for size in stored.sizes}
        for precision, size in sizes.items():
            yield Implementation(
                precision,
                kernel=Kernel.WEIGHT_ONLY,
                weight=stored.space(size),
                searched=precision in searched,
            )
