"""Mean errors per channel that a quantized node makes, measured on ONNX Runtime.

The float program runs once with a second copy of every node of interest beside it: the copy reads
quantized operands. Both are reduced to channel means in the graph, so every node is measured on
what float feeds it, in one run over the samples, however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.execution.session import OrtSession
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import rank

Array = npt.NDArray[Any]
Means = Mapping[str, npt.NDArray[np.float64]]
"""By node name: float64 [feeds, channels]."""


@dataclass(frozen=True, eq=False)
class QuantizedTwin:
    """A weighted node of a float program, and what it reads when it is quantized.

    Attributes:
        node: Name of the node, whose operand 0 is the activation and 1 the weight.
        axis: Channel axis of its output, not negative.
        scale: float32 scale of the activation, scalar.
        zero_point: Zero point of the activation, scalar; its dtype is the integer type.
        weight: float32 weight as the integers stand for it.
    """

    node: str
    axis: int
    scale: Array
    zero_point: Array
    weight: Array


def mean_errors(program: Program, twins: Sequence[QuantizedTwin], feeds: Sequence[Feed]) -> Means:
    """Mean of quantized minus float result, by node, feed and channel.

    Args:
        program: The float program; not changed.
        twins: Nodes of the main graph; one that the program lacks is left out.
        feeds: Feeds by input name.

    Raises:
        LoweringError: ONNX Runtime refuses the program.
    """
    copy = program.clone()
    rewriter = Rewriter(copy)
    nodes = {node.name: node for node in copy.graph}
    outputs: dict[str, tuple[str, str]] = {}
    for twin in twins:
        original = nodes.get(twin.node)
        if original is not None and rank(original.outputs[0]) is not None:
            quantized = _twin_of(original, twin, rewriter)
            both = (quantized.outputs[0], original.outputs[0])
            twin_mean, float_mean = (
                _reduced(value, twin.axis, quantized, copy, rewriter) for value in both
            )
            outputs[twin.node] = (twin_mean, float_mean)
    return _run(copy, outputs, feeds) if outputs and feeds else {}


def _run(program: Program, outputs: Mapping[str, tuple[str, str]], feeds: Sequence[Feed]) -> Means:
    session = OrtSession(program.model)
    names = [name for both in outputs.values() for name in both]
    errors = []
    for feed in feeds:
        means = [np.asarray(each, np.float64) for each in session.run_checked(feed, names)]
        errors.append([a - b for a, b in zip(means[::2], means[1::2], strict=True)])
    return {node: np.stack([each[index] for each in errors]) for index, node in enumerate(outputs)}


def _twin_of(node: ir.Node, twin: QuantizedTwin, rewriter: Rewriter) -> ir.Node:
    value = node.inputs[0]
    assert value is not None
    stem = f"{node.outputs[0].name}_twin"
    scale = rewriter.constant(np.asarray(twin.scale, np.float32), f"{stem}_scale")
    zero = rewriter.constant(np.asarray(twin.zero_point), f"{stem}_zero_point")
    common: dict[str, Any] = {"after": node, "shape": value.shape}
    weight = rewriter.constant(twin.weight, f"{stem}_weight")
    integer = ir.DataType.from_numpy(twin.zero_point.dtype)
    quantize = rewriter.insert("QuantizeLinear", [value, scale, zero], dtype=integer, **common)
    common["after"] = quantize
    restored = rewriter.insert(
        "DequantizeLinear", [quantize.outputs[0], scale, zero], dtype=value.dtype, **common
    )
    result = rewriter.insert(
        node.op_type,
        [restored.outputs[0], weight, *node.inputs[2:]],
        after=restored,
        outputs=(stem,),
        dtype=node.outputs[0].dtype,
        shape=node.outputs[0].shape,
    )
    result.attributes.update(node.attributes)
    return result


def _reduced(
    value: ir.Value, axis: int, after: ir.Node, program: Program, rewriter: Rewriter
) -> str:
    """Adds the mean over all axes but one as a graph output; returns its name."""
    others = [index for index in range(rank(value) or 0) if index != axis]
    axes = rewriter.constant(np.array(others, np.int64), f"{value.name}_mean_axes")
    mean = rewriter.insert(
        "ReduceMean",
        [value, axes],
        after=after,
        attributes={"keepdims": 0, "noop_with_empty_axes": 1},
        outputs=(f"{value.name}_mean",),
        dtype=value.dtype or ir.DataType.FLOAT,
        shape=ir.Shape([None]),
    )
    program.graph.outputs.append(mean.outputs[0])
    return mean.outputs[0].name or ""
