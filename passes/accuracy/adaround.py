"""`adaround`: each weight rounded up or down by what its block gives, not by which is nearer.

Nagel et al. 2020 (AdaRound, arXiv 2004.10568), over blocks of layers instead of single ones (BRECQ,
arXiv 2102.05426), which read what the quantized layers before them give, with activations left in
float at random (QDrop, arXiv 2203.05740). Scales stay. Blocks are fitted one after the other, so
memory holds the values between two of them, and a block whose own error is not lowered keeps its
integers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import onnx_ir as ir

from qcompiler.decisions.absorbed import SOURCE, TRAINED
from qcompiler.decisions.binding import Placed, bound_regions, decided
from qcompiler.decisions.placement import Placement, RegionPlacement
from qcompiler.decisions.roundings import Rounding
from qcompiler.errors import ConfigurationError
from qcompiler.ir.blocks import Block, find_blocks
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import stored_array
from qcompiler.passes.accuracy.torch_needed import require_torch
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.target.capability import Kernel

if TYPE_CHECKING:
    from qcompiler.lowering.torch_fx.block_run import BlockRun
    from qcompiler.lowering.torch_fx.rounding_fit import Fit, Samples

_IN_TORCH, _FORTH_AND_BACK = 2.0, 3.0
"""How much longer a run takes in torch than on the engine, and an update than a run."""


@dataclass(frozen=True)
class AdaRound(Pass):
    """Weights of static and weight-only regions, rounded by reconstruction on `context.samples`.

    Needs torch. The result is the same in each run, unless `seconds` ends it.

    Attributes:
        steps: Updates of every block.
        batch: Samples of one update.
        rate: Step size of Adam.
        weights: Weights of one block, about; 1 is layer by layer.
        drop: Probability that an element of an activation stays float while weights are fitted.
        bits: Weights of more bits than these stay as they are.
        seconds: Blocks that do not come to an end within this stay as they are.
        seed: Of the order of samples and of what stays float.

    Raises:
        ConfigurationError: An option out of range.
    """

    name: ClassVar[str] = "adaround"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})
    stage: ClassVar[Stage] = Stage.PLACED

    steps: int = 150
    batch: int = 4
    rate: float = 0.1
    weights: int = 4
    drop: float = 0.5
    bits: int = 8
    seconds: float = 240.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.weights) < 1 or not 0 <= self.drop < 1:
            raise ConfigurationError(
                f"steps {self.steps}, batch {self.batch}, weights {self.weights}, "
                f"drop {self.drop} fit nothing",
                fix="give steps, batch and weights of at least 1, and 0 <= drop < 1",
            )

    def price(self, samples: int) -> str:
        return (
            f"{self.steps} updates of every block with {self.batch} of {samples} samples, "
            f"at most {self.seconds:g} s"
        )

    def runs(self, samples: int, program: Program | None) -> float:
        return _IN_TORCH * (_FORTH_AND_BACK * self.steps * self.batch + 4.0 * samples)

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        found = _weights(program, self.bits) if context.samples else {}
        if not found:
            return Outcome(details={"weights": 0})
        require_torch(self.name)
        from qcompiler.lowering.torch_fx.block_run import BlockRun

        deadline = time.monotonic() + self.seconds
        anchors = {each.region.anchor for each in found.values()}
        whole = [each.region.nodes for kernel in Kernel for each in bound_regions(program, kernel)]
        blocks = find_blocks(program, anchors, self.weights, whole)
        run = BlockRun(program, blocks, context.samples)
        weights = left = 0
        for block in blocks:
            keys = [key for key, each in found.items() if each.region.anchor in block.nodes]
            fit = self._fit(deadline)
            changed = _reconstructed(run, block, keys, decided(program), fit)
            left += changed is None
            program.placement = decided(program).with_regions(changed or {})
            weights += len(changed or {})
            run.advance(block, decided(program))
        return Outcome(details={"weights": weights, "blocks": len(blocks), "out of time": left})

    def _fit(self, deadline: float) -> Fit:
        from qcompiler.lowering.torch_fx.rounding_fit import Fit

        return Fit(
            self.steps,
            self.batch,
            self.rate,
            drop=self.drop,
            seed=self.seed,
            deadline=deadline,
        )


def _weights(program: Program, bits: int) -> Mapping[str, Placed]:
    """Regions of the main graph whose integers may change, by key; each has a weight of its own."""
    placed = [
        each
        for kernel in (Kernel.STATIC, Kernel.WEIGHT_ONLY)
        for each in bound_regions(program, kernel)
    ]
    readers = Counter(_stored(each) for each in placed)
    found = {}
    for each in placed:
        rounding, value = each.decided.rounding, _stored(each)
        if rounding is None or value is None or readers[value] > 1:
            continue
        if rounding.how in (SOURCE, TRAINED):
            continue  # whoever made the model chose them
        space = rounding.params.space
        whole = each.region.anchor.graph is program.graph and bool(each.region.activations)
        even = not space.is_float and not space.is_table
        plain = even and stored_array(value) is not None
        if whole and plain and space.storage_bits <= bits:
            found[each.region.key] = each
    return found


def _stored(placed: Placed) -> ir.Value | None:
    return None if placed.region.weight is None else placed.region.weight.value


def _reconstructed(
    run: BlockRun, block: Block, keys: Sequence[str], placement: Placement, fit: Fit
) -> dict[str, RegionPlacement] | None:
    """Regions whose integers change; None where the time was up."""
    from qcompiler.lowering.torch_fx.reconstruction import quantized_block
    from qcompiler.lowering.torch_fx.rounding_fit import block_loss, fit_rounding

    if not keys:
        return {}
    samples: Samples = run.samples(block)
    before = block_loss(quantized_block(block, placement), samples)
    trained = quantized_block(block, placement, keys, fit.seed)
    if not fit_rounding(trained, samples, fit):
        return None
    if not block_loss(trained, samples) < before:
        return {}
    changed = {}
    for key, weight in trained.weights.items():
        region = placement.regions[key]
        assert region.rounding is not None
        integers = weight.integers().astype(region.rounding.integers.dtype)
        rounding = Rounding(region.rounding.params, integers, AdaRound.name)
        changed[key] = replace(region, rounding=rounding)
    return changed
