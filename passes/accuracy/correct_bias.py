"""`correct-bias`: takes the mean error of every output channel out of the biases.

Rounding weights and clipping activations shifts the mean of a channel; the shift is measured on
samples and subtracted from the bias (empirical bias correction: Nagel et al. 2019, Data-Free
Quantization Through Weight Equalization and Bias Correction, section 4.2 and appendix D). The mean
is taken in front of the activation, where the bias acts, so a clamp that a saturating output
stands for is not disturbed.

Every node is measured on the float values that feed it, all in one run, as NNCF's fast bias
correction does. Measured inside the quantized program, regions corrected in one run take out again
what those before them take out already: resnet18_mnist fell from 39 to 21-30 dB in one to four
runs, and one run per region came to 40.1 dB on unseen samples at ten times the cost, where this
comes to 40.3 dB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.calibration.mean_errors import QuantizedTwin, mean_errors
from qcompiler.decisions.binding import bound_regions
from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand, Region
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import constant, is_op, rank, sole_user
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import BIAS_LIMIT

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CorrectBias(Pass):
    """Corrects the biases of static integer regions of the main graph.

    The float program and the samples come as options of the context: `reference`, the calibrated
    Program that was placed (nodes have the same names), and `samples`, feeds by input name.
    Without samples nothing is done.
    """

    name: ClassVar[str] = "correct-bias"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.WEIGHTS_QUANTIZED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        feeds: Sequence[Feed] = tuple(context.options.get("samples", ()))
        reference = context.options.get("reference")
        if not feeds:
            return Outcome(details={"biases": 0})
        if not isinstance(reference, Program):
            raise ConfigurationError("correct-bias needs the float program as `reference`")
        found = list(_measurable(program))
        errors = mean_errors(reference, [twin for _, twin in found], feeds)
        count = sum(
            _correct(bias, errors[twin.node].mean(axis=0), rewriter)
            for bias, twin in found
            if twin.node in errors
        )
        rewriter.drop_unused_constants()
        return Outcome(details={"biases": count})


def _measurable(program: Program) -> Iterator[tuple[Operand, QuantizedTwin]]:
    """Regions with a bias that can be moved, with what their anchors read."""
    for placed in bound_regions(program):
        region = placed.region
        if region.bias is None or region.bias.node.graph is not program.graph:
            continue
        if _stored(region.bias.value) is None or _is_scaled(region.bias.node):
            continue
        twin = _twin(region)
        if twin is not None:
            yield region.bias, twin


def _is_scaled(node: ir.Node) -> bool:
    """Whether a Gemm multiplies its bias."""
    return node.attributes.get_float("beta", 1.0) != 1.0


def _twin(region: Region) -> QuantizedTwin | None:
    """What the anchor reads; None if it is not a per-tensor activation and an integer weight."""
    anchor, weight = region.anchor, region.weight
    dims = rank(anchor.outputs[0])
    source = anchor.inputs[0].producer() if anchor.inputs[0] is not None else None
    if dims is None or weight is None or weight.node is not anchor or weight.index != 1:
        return None
    if source is None or not is_op(source, "DequantizeLinear") or len(source.inputs) < 3:
        return None
    scale, zero = constant(source.inputs[1]), constant(source.inputs[2])
    restored = _dequantized(weight.value.producer())
    if scale is None or zero is None or scale.size != 1 or restored is None:
        return None
    axis = 1 if is_op(anchor, "Conv", "ConvTranspose") else dims - 1
    return QuantizedTwin(anchor.name or "", axis, scale.reshape(()), zero.reshape(()), restored)


def _dequantized(node: ir.Node | None) -> Array | None:
    """float32 weight behind a DequantizeLinear per tensor or per channel, else None."""
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    parts = [constant(operand) for operand in node.inputs[:3]]
    if len(parts) < 3 or any(part is None for part in parts):
        return None
    numbers, scale, zero = (np.asarray(part) for part in parts)
    if scale.ndim > 1 or "block_size" in node.attributes:
        return None
    shape = [1] * numbers.ndim
    if scale.size > 1:
        shape[node.attributes.get_int("axis", 1)] = -1
    steps = numbers.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    return np.asarray(steps * scale.reshape(shape), np.float32)


@dataclass(frozen=True, eq=False)
class _Stored:
    """A bias in the graph.

    Attributes:
        value: Initializer with the numbers.
        steps: Size of one step per channel; None for a float bias.
        dequantize: Node that makes it float, if it is stored as integers.
    """

    value: ir.Value
    steps: Array | None = None
    dequantize: ir.Node | None = None


def _stored(bias: ir.Value) -> _Stored | None:
    if constant(bias) is not None:
        return _Stored(bias)
    node = bias.producer()
    if node is None or not is_op(node, "DequantizeLinear") or sole_user(bias) is None:
        return None
    numbers, scale = node.inputs[0], constant(node.inputs[1])
    if numbers is None or constant(numbers) is None or scale is None:
        return None
    return _Stored(numbers, np.asarray(scale, np.float64), node)


def _correct(bias: Operand, error: Array, rewriter: Rewriter) -> bool:
    stored = _stored(bias.value)
    assert stored is not None
    numbers = constant(stored.value)
    assert numbers is not None
    if error.size != numbers.size or not np.all(np.isfinite(error)):
        return False
    corrected = _moved(numbers, error.reshape(numbers.shape), stored.steps)
    if np.array_equal(corrected, numbers):
        return False
    operand = rewriter.constant(corrected, f"{stored.value.name}_corrected")
    if stored.dequantize is None:
        rewriter.set_input(bias.node, bias.index, operand)
    else:
        rewriter.set_input(stored.dequantize, 0, operand)
    return True


def _moved(numbers: Array, error: Array, steps: Array | None) -> Array:
    """numbers - error, in steps for integers; a channel that would leave the range stays."""
    old = np.asarray(numbers, np.float64)
    if steps is None:
        return (old - error).astype(numbers.dtype)
    moved = old - np.rint(error / steps)
    return np.where(np.abs(moved) <= BIAS_LIMIT, moved, old).astype(numbers.dtype)
