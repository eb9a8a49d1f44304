"""`BlockRun`: a program run block by block over samples, in float and as it is placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import Tensor

from qcompiler.decisions.placement import Placement
from qcompiler.errors import LoweringError
from qcompiler.ir.blocks import Block
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.lowering.torch_fx.element_types import tensor_of
from qcompiler.lowering.torch_fx.reconstruction import float_block, quantized_block
from qcompiler.lowering.torch_fx.rounding_fit import Samples, Values

_BYTES = 384 << 20
"""Values between blocks that are alive at once."""


class BlockRun:
    """Values that go on between blocks, by sample: those that no later block reads are dropped.

    Samples are left out, the last first, where all of them would take more than 384 MiB.

    Args:
        program: A float program.
        blocks: All of its main graph, in order.
        feeds: At least one, each by input name.

    Raises:
        LoweringError: An input is no tensor.
    """

    def __init__(self, program: Program, blocks: Sequence[Block], feeds: Sequence[Feed]) -> None:
        self._plain = [inputs_of(program, feed) for feed in feeds]
        self._quantized = [dict(each) for each in self._plain]
        self._wanted: dict[Block, list[Values]] = {}
        self._later: dict[Block, set[ir.Value]] = {}
        read: set[ir.Value] = set()
        for block in reversed(blocks):
            self._later[block] = set(read)
            read |= set(block.inputs)

    def samples(self, block: Block) -> Samples:
        """What the block reads and is to give.

        Raises:
            LoweringError: It has ops that torch has no row for.
        """
        plain, quantized = (_read(block, held) for held in (self._plain, self._quantized))
        return Samples(plain, quantized, self._given(block))

    def advance(self, block: Block, placement: Placement) -> None:
        """Goes on behind a block, as it is placed now.

        Raises:
            LoweringError: It has ops that torch has no row for.
        """
        wanted, placed = self._given(block), quantized_block(block, placement).module
        with torch.no_grad():
            found = [placed(*inputs) for inputs in _read(block, self._quantized)]
        for held, results in ((self._plain, wanted), (self._quantized, found)):
            for values, outputs in zip(held, results, strict=True):
                values.update(zip(block.outputs, outputs, strict=True))
                for gone in set(values) - self._later[block]:
                    del values[gone]
        self._wanted.clear()
        self._limit()

    def mean_error(
        self, block: Block, value: ir.Value, axis: int, placement: Placement
    ) -> npt.NDArray[np.float64]:
        """Mean of quantized minus float, by channel, of a value that a block computes inside.

        Each sample counts alike, however large it is.

        Raises:
            LoweringError: It has ops that torch has no row for.
        """
        end = next(i for i, node in enumerate(block.nodes) if value in node.outputs)
        part = Block(block.nodes[: end + 1], block.inputs, (value,))
        plain, placed = float_block(part), quantized_block(part, placement).module
        total: Tensor = torch.zeros(())
        with torch.no_grad():
            for one, two in zip(
                _read(block, self._plain), _read(block, self._quantized), strict=True
            ):
                gap = placed(*two)[0].double() - plain(*one)[0].double()
                total = total + gap.movedim(axis, 0).flatten(1).mean(dim=1)
        found: npt.NDArray[np.float64] = (total / len(self._plain)).numpy()
        return found

    def _given(self, block: Block) -> list[Values]:
        if block not in self._wanted:
            module = float_block(block)
            with torch.no_grad():
                self._wanted[block] = [module(*inputs) for inputs in _read(block, self._plain)]
        return self._wanted[block]

    def _limit(self) -> None:
        both = zip(self._plain, self._quantized, strict=True)
        used = [sum(_bytes(values) for values in sample) for sample in both]
        kept = int(np.searchsorted(np.cumsum(used), _BYTES, side="right"))
        del self._plain[max(kept, 1) :], self._quantized[max(kept, 1) :]


def inputs_of(program: Program, feed: Feed) -> dict[ir.Value, Tensor]:
    """A feed as tensors, in the order of the inputs.

    Raises:
        LoweringError: An input is no tensor.
    """
    found = {}
    for value in program.graph.inputs:
        array = feed[value.name or ""]
        if not isinstance(array, np.ndarray):
            raise LoweringError(
                f"the input '{value.name}' is no tensor, so blocks cannot be run on their own",
                fix="leave this accuracy pass out",
            )
        found[value] = tensor_of(np.array(array, order="C", copy=True))
    return found


def _read(block: Block, held: Sequence[Mapping[ir.Value, Tensor]]) -> list[Values]:
    return [tuple(values[value] for value in block.inputs) for values in held]


def _bytes(values: Mapping[ir.Value, Tensor]) -> int:
    return sum(each.numel() * each.element_size() for each in values.values())
