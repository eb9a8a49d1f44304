"""A roofline model of TensorRT: where the time of a placed graph would go on a GPU.

TensorRT does not run here, so this is a model, never a measurement: a kernel takes the longer of
what its operations take at the peak rate and what its bytes take at the memory's (Williams,
Waterman and Patterson, Roofline, CACM 52(4), 2009), plus a launch. It knows nothing of caches,
tiles or tactics. It orders plans for the search; no speed may be claimed from it.

What is counted follows TensorRT's fusions (developer guide, Q/DQ networks): a Q moves back through
ops that only move data and is part of the kernel that computes its operand, a DQ of the one that
reads it; a Q on a graph input is a kernel of its own. Reshapes cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from qcompiler.backends.tensorrt.gpus import Gpu
from qcompiler.ir.optraits import LINEAR, traits
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.signature import Feed, plain_arrays
from qcompiler.ir.walk import is_constant, is_op, uses
from qcompiler.target.artifact import ConversionCost, CostSample
from qcompiler.target.contract import Target
from qcompiler.target.placement import lowered_regions

LAUNCH_SECONDS = 3e-6
"""One kernel, however small. NVIDIA's blog "Getting Started with CUDA Graphs" (2019) measures a
kernel of 2.9 µs that takes 3.4 µs in a graph and 3.8 µs in a stream."""
_FREE = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Constant")
_PAIR = ("QuantizeLinear", "DequantizeLinear")
_PRODUCTS = ("MatMul", "Gemm")


@dataclass(frozen=True)
class Roofline:
    """The model for one GPU.

    Attributes:
        gpu: Its peak rates.
        base: Type of what is not quantized: `float32`, `fp16`, `bf16`.
    """

    gpu: Gpu
    base: str = "float32"

    @property
    def conversion(self) -> ConversionCost:
        """A fused conversion writes, or reads, one more byte per element; it is not launched."""
        seconds = 1 / (1e9 * self.gpu.bandwidth)
        return ConversionCost(seconds, seconds, 0.0)

    @property
    def width(self) -> int:
        """Bytes of an element of the base type."""
        return 4 if self.base == "float32" else 2

    def peak(self, quantized: str | None) -> float:
        """Operations per second of products on operands of a quantized type, or of the base."""
        if quantized in ("int8", "fp8"):
            return 1e12 * (self.gpu.int8 if quantized == "int8" else self.gpu.fp8)
        if self.base == "float32":
            return 1e12 * (self.gpu.tf32 or self.gpu.fp32)
        return 1e12 * self.gpu.fp16

    def kernel(self, operations: float, moved: float, peak: float) -> float:
        """Seconds of one kernel; `moved` is in bytes."""
        return max(operations / peak, moved / (1e9 * self.gpu.bandwidth)) + LAUNCH_SECONDS


def modelled(program: Program, target: Target, roofline: Roofline, feed: Feed) -> CostSample:
    """Where a run with this feed would spend its time, by the model.

    Args:
        program: Placed, or in float.
        target: Whose regions the time is attributed to.
        roofline: The model.
        feed: Gives the shapes.
    """
    shaped = _with_shapes(program, feed)
    count = _Count(roofline)
    regions = lowered_regions(shaped, target)
    seconds = {region.key: count.region(region) for region in regions}
    inside = {node for region in regions for node in region.nodes}
    conversions = other = 0.0
    for node in shaped.graph:
        if is_op(node, "QuantizeLinear") and not is_constant(node.inputs[0]):
            conversions += 0.0 if _is_computed(node.inputs[0]) else count.conversion(node)
        elif node not in inside and not is_op(node, *_PAIR, *_FREE):
            other += count.loose(node)
    return CostSample(seconds, conversions, other)


def _is_computed(value: ir.Value | None) -> bool:
    """Whether a kernel computes the value, so that it may write it quantized."""
    producer = value.producer() if value is not None else None
    while producer is not None and _moves(producer):
        value = producer.inputs[0]
        producer = value.producer() if value is not None else None
    return producer is not None


def _moves(node: ir.Node) -> bool:
    return traits(node).moves_data or is_op(node, *_FREE)


def _wanted(value: ir.Value) -> tuple[bool, bool]:
    """Whether readers behind movers want the value quantized, and whether any wants it plain."""
    quantized, plain = False, value.is_graph_output()
    for use in uses(value):
        if is_op(use.node, "QuantizeLinear"):
            quantized = True
        elif _moves(use.node):
            found = [_wanted(output) for output in use.node.outputs]
            quantized |= any(each for each, _ in found)
            plain |= any(each for _, each in found)
        else:
            plain = True
    return quantized, plain or not quantized


@dataclass(frozen=True)
class _Count:
    """Operations and bytes of nodes of a program with shapes."""

    roofline: Roofline

    def region(self, region: Region) -> float:
        """Seconds of a region's kernel; nothing for a change of shape."""
        if is_op(region.anchor, *_FREE):
            return 0.0
        if _moves(region.anchor):
            return self.roofline.kernel(0.0, 2 * self._written(region.output), math.inf)
        operands = [operand.value for operand in region.activations]
        stored = [] if region.weight is None else [region.weight.value]
        moved = sum(map(self._read, [*operands, *stored])) + self._written(region.output)
        if not is_op(region.anchor, *LINEAR):
            peak = 1e12 * self.roofline.gpu.fp32
            return self.roofline.kernel(_elements(region.output), moved, peak)
        kinds = {_quantized(value) for value in region.anchor.inputs[:2]}
        kind = next(iter(kinds)) if len(kinds) == 1 else None
        return self.roofline.kernel(_operations(region.anchor), moved, self.roofline.peak(kind))

    def conversion(self, node: ir.Node) -> float:
        """A Q that is a kernel of its own."""
        moved = _elements(node.inputs[0]) * (self.roofline.width + 1)
        return self.roofline.kernel(0.0, moved, 1e12 * self.roofline.gpu.fp32)

    def loose(self, node: ir.Node) -> float:
        """A node that belongs to no region: its bytes; a chain of them is launched once.

        Arithmetic on shapes is done before anything runs.
        """
        kind = node.outputs[0].dtype
        if kind is not None and not kind.is_floating_point():
            return 0.0
        read = sum(self._read(value) for value in node.inputs if not is_constant(value))
        moved = read + sum(map(self._written, node.outputs))
        seconds = moved / (1e9 * self.roofline.gpu.bandwidth)
        before = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        return seconds + (LAUNCH_SECONDS if before is None or is_op(before, *LINEAR) else 0.0)

    def _read(self, value: ir.Value | None) -> float:
        """Bytes read of an operand: one per element behind a DQ."""
        kind = _quantized(value)
        width = {"int8": 1.0, "fp8": 1.0, "int4": 0.5}.get(kind or "", self.roofline.width)
        return _elements(value) * width

    def _written(self, value: ir.Value) -> float:
        """Bytes written of a result: as integers where a Q reads it, in the base for others."""
        if _quantized(value) is not None:
            return _elements(value)  # a mover's or a MaxPool's, behind a DQ
        quantized, plain = _wanted(value)
        return _elements(value) * (quantized + self.roofline.width * plain)


_NAMES = {
    ir.DataType.INT8: "int8",
    ir.DataType.FLOAT8E4M3FN: "fp8",
    ir.DataType.INT4: "int4",
}


def _quantized(value: ir.Value | None) -> str | None:
    """The type behind a value that a DQ makes, None for one of the base type."""
    producer = value.producer() if value is not None else None
    while producer is not None and (_moves(producer) or traits(producer).shares_scale):
        data = producer.inputs[0]
        producer = data.producer() if data is not None else None
    if producer is None or not is_op(producer, "DequantizeLinear"):
        return None
    integers = producer.inputs[0]
    return None if integers is None or integers.dtype is None else _NAMES.get(integers.dtype)


def _elements(value: ir.Value | None) -> float:
    """Elements by shape; an unknown dimension counts as 1."""
    if value is None or value.shape is None:
        return 0.0
    return float(np.prod([dim if isinstance(dim, int) else 1 for dim in value.shape]))


def _operations(node: ir.Node) -> float:
    """Multiplications and additions of a convolution or product."""
    data, weight = node.inputs[0], node.inputs[1]
    if is_op(node, *_PRODUCTS):
        axis = -2 if node.attributes.get_int("transA", 0) else -1
        return 2.0 * _elements(node.outputs[0]) * _dimension(data, axis)
    per_channel = _elements(weight) / max(_dimension(weight, 0), 1.0)
    driven = data if is_op(node, "ConvTranspose") else node.outputs[0]
    return 2.0 * _elements(driven) * per_channel


def _dimension(value: ir.Value | None, axis: int) -> float:
    if value is None or value.shape is None or not len(value.shape):
        return 1.0
    dim = value.shape[axis]
    return float(dim) if isinstance(dim, int) else 1.0


def _with_shapes(program: Program, feed: Feed) -> Program:
    """A copy whose values have the shapes that they have with this feed, as far as inferable."""
    copy = program.clone()
    graph = copy.model.graph
    arrays = dict(plain_arrays(feed))
    for value in graph.inputs:
        if value.name in arrays:
            value.shape = ir.Shape(arrays[value.name].shape)
    for value in _computed(graph):
        value.shape = None
    for value in graph.outputs:
        value.shape = None
    ShapeInferencePass(check_type=False, strict_mode=False)(copy.model)
    return copy


def _computed(graph: ir.Graph) -> Iterator[ir.Value]:
    for node in graph:
        yield from node.outputs
