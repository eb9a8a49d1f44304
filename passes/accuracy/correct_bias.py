"""`correct-bias`: takes the mean error of every output channel out of the biases.

Rounding weights and clipping activations shifts the mean of a channel; the shift is measured on
samples and subtracted from the bias (empirical bias correction: Nagel et al. 2019, Data-Free
Quantization Through Weight Equalization and Bias Correction, section 4.2 and appendix D). The mean
is taken in front of the activation, where the bias acts, so a clamp that a saturating output
stands for is not disturbed.

Every node is measured on the float values that feed it, all in one run, as NNCF's fast bias
correction does. Measured inside the quantized program, regions corrected in one run take out again
what those before them take out already: resnet18_mnist fell from 39 to 21-30 dB in one to four
runs. With `cascade` they are measured there all the same, but one after the other, each on what the
corrected ones before it give (appendix D there). The program is run block by block for that, and
the values between two blocks are kept, so all of it costs a few runs, not one for each region.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.calibration.mean_errors import QuantizedTwin, mean_errors
from qcompiler.decisions.binding import Placed, bound_regions, decided
from qcompiler.decisions.placement import RegionPlacement
from qcompiler.ir.blocks import find_blocks
from qcompiler.ir.program import Program, Property
from qcompiler.ir.qdq import dequantized_params
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import is_op, rank, stored_array
from qcompiler.passes.accuracy.torch_needed import require_torch
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.quantization.biases import BIAS_LIMIT
from qcompiler.quantization.numerics import dequantize
from qcompiler.target.capability import Kernel

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CorrectBias(Pass):
    """Corrects the biases of static integer regions of the main graph in the placement.

    Fitted to `context.samples`; without samples nothing is done.

    Attributes:
        cascade: In order, on what the corrected regions before give; needs torch.
    """

    name: ClassVar[str] = "correct-bias"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})
    stage: ClassVar[Stage] = Stage.PLACED

    cascade: bool = False

    def price(self, samples: int) -> str:
        if self.cascade:
            return f"block by block, about three runs over {samples} samples"
        return f"one float run over {samples} samples, every quantized product twice"

    def runs(self, samples: int, program: Program | None) -> float:
        return (8.0 if self.cascade else 3.0) * samples

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if not context.samples:
            return Outcome(details={"biases": 0})
        if self.cascade:
            return Outcome(details={"biases": _cascaded(program, context.samples)})
        found = list(_measurable(program))
        errors = mean_errors(program, [twin for _, twin in found], context.samples)
        changed = {}
        for placed, twin in found:
            if twin.node in errors:
                region = _corrected(placed, errors[twin.node].mean(axis=0))
                if region is not None:
                    changed[region.key] = region
        program.placement = decided(program).with_regions(changed)
        return Outcome(details={"biases": len(changed)})


def _cascaded(program: Program, samples: Sequence[Feed]) -> int:
    """Corrects one region after the other; returns how many biases moved."""
    require_torch("correct-bias{cascade=true}")
    from qcompiler.lowering.torch_fx.block_run import BlockRun

    movable = {each.region.anchor: each for each in _movable(program) if _axis(each) is not None}
    whole = [each.region.nodes for kernel in Kernel for each in bound_regions(program, kernel)]
    blocks = find_blocks(program, movable, 1, whole)
    run = BlockRun(program, blocks, samples)
    changed = 0
    for block in blocks:
        for node in block.nodes:
            placed = movable.get(node)
            if placed is None or placed.region.bias is None:
                continue
            axis = _axis(placed)
            assert axis is not None
            result = placed.region.bias.node.outputs[0]
            error = run.mean_error(block, result, axis, decided(program))
            now = replace(placed, decided=decided(program).regions[placed.region.key])
            region = _corrected(now, error)
            if region is not None:
                program.placement = decided(program).with_regions({region.key: region})
                changed += 1
        run.advance(block, decided(program))
    return changed


def _movable(program: Program) -> Iterator[Placed]:
    """Regions with a bias that can be moved."""
    for placed in bound_regions(program):
        bias = placed.region.bias
        if bias is not None and bias.node.graph is program.graph and not _is_scaled(bias.node):
            yield placed


def _measurable(program: Program) -> Iterator[tuple[Placed, QuantizedTwin]]:
    """The same with what their anchors read."""
    for placed in _movable(program):
        twin = _twin(placed)
        if twin is not None:
            yield placed, twin


def _axis(placed: Placed) -> int | None:
    """The channel axis of what the anchor gives; None where its rank is unknown."""
    anchor = placed.region.anchor
    dims = rank(anchor.outputs[0])
    if dims is None:
        return None
    return 1 if is_op(anchor, "Conv", "ConvTranspose") else dims - 1


def _is_scaled(node: ir.Node) -> bool:
    """Whether a Gemm multiplies its bias."""
    return node.attributes.get_float("beta", 1.0) != 1.0


def _twin(placed: Placed) -> QuantizedTwin | None:
    """What the anchor reads; None if it is not a per-tensor activation and an integer weight."""
    region = placed.region
    anchor, weight = region.anchor, region.weight
    axis = _axis(placed)
    if axis is None or weight is None or weight.node is not anchor or weight.index != 1:
        return None
    params = placed.decided.activations[0].params
    params = params or dequantized_params(region.activations[0].value)
    restored = _weight(placed)
    if params is None or params.axis is not None or restored is None:
        return None
    zero = params.zero_point.astype(params.space.dtype.numpy())
    return QuantizedTwin(anchor.name or "", axis, params.scale, zero, restored)


def _weight(placed: Placed) -> Array | None:
    """The float32 weight that the integers stand for."""
    weight, rounding = placed.region.weight, placed.decided.rounding
    assert weight is not None
    if rounding is not None:
        return dequantize(rounding.integers, rounding.params)
    if is_op(weight.value.producer(), "DequantizeLinear"):
        return stored_array(weight.value)
    return None


def _corrected(placed: Placed, error: Array) -> RegionPlacement | None:
    """The region with a bias less its mean error; None where nothing changes."""
    region, bias = placed.decided, placed.region.bias
    assert bias is not None
    integers = region.bias_rounding
    numbers = stored_array(bias.value) if integers is None else integers.integers
    if numbers is None or error.size != numbers.size or not np.all(np.isfinite(error)):
        return None
    steps = None if integers is None else np.asarray(integers.scale, np.float64)
    moved = _moved(numbers, error.reshape(numbers.shape), steps)
    if np.array_equal(moved, numbers):
        return None
    if integers is None:
        return replace(region, bias_value=np.asarray(moved, np.float32))
    return replace(region, bias_rounding=replace(integers, integers=moved))


def _moved(numbers: Array, error: Array, steps: Array | None) -> Array:
    """numbers - error, in steps for integers; a channel that would leave the range stays."""
    old = np.asarray(numbers, np.float64)
    if steps is None:
        return (old - error).astype(numbers.dtype)
    moved = old - np.rint(error / steps)
    return np.where(np.abs(moved) <= BIAS_LIMIT, moved, old).astype(numbers.dtype)
