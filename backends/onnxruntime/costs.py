"""Measured costs on ONNX Runtime: its profile joined with regions, and Q/DQ per element."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import onnx_ir as ir

from qcompiler.backends.onnxruntime.renaming import known_names, owners
from qcompiler.execution.profile import KernelTime
from qcompiler.execution.session import OrtSession
from qcompiler.execution.timing import fastest
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.walk import all_nodes
from qcompiler.target.artifact import ConversionCost, CostSample

_CONVERSIONS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput", "DynamicQuantizeLinear"}
)
_LAYOUT = re.compile(r"^Transpose(_token_\d+|_\d+)?$")
"""Name of the Transposes that its layout optimizer adds (a model's own have the model's names)."""


def cost_sample(
    program: Program, regions: Sequence[Region], times: Sequence[KernelTime]
) -> CostSample:
    """Attributes kernels to regions by node name, or by the name of the value they compute."""
    owner = owners(program, regions)
    known = {node.name for node in all_nodes(program.model)}
    seconds: dict[str, float] = {}
    conversions = other = 0.0
    for kernel in times:
        key = next((owner[name] for name in known_names(kernel.node) if name in owner), None)
        if kernel.op in _CONVERSIONS or (
            kernel.op == "Transpose" and kernel.node not in known and _LAYOUT.match(kernel.node)
        ):
            conversions += kernel.seconds
        elif key is not None:
            seconds[key] = seconds.get(key, 0.0) + kernel.seconds
        else:
            other += kernel.seconds
    return CostSample(seconds, conversions, other)


@cache
def measure_conversions(threads: int | None) -> ConversionCost:
    """Times Q and DQ with the layout change that goes with them, at two sizes, on this machine.

    Quantizing an image into the NHWC layout of QLinearConv is Q + Transpose; leaving it is
    Transpose + DQ.
    """
    small, large = (1, 16, 16, 16), (1, 64, 64, 64)
    times = {}
    for kind in ("quantize", "dequantize"):
        for shape in (small, large):
            session = OrtSession(_conversion_model(kind, shape), threads=threads)
            dtype = np.float32 if kind == "quantize" else np.uint8
            feed = {"x": np.zeros(shape, dtype)}
            times[kind, shape] = fastest(partial(session.run_checked, feed), _ROUNDS)
    span = float(np.prod(large) - np.prod(small))
    slope = {
        kind: max(times[kind, large] - times[kind, small], 0.0) / span
        for kind in ("quantize", "dequantize")
    }
    return ConversionCost(slope["quantize"], slope["dequantize"], _KERNEL_SECONDS)


_ROUNDS = 25
_KERNEL_SECONDS = 2e-6
"""Dispatch of one more kernel; the smallest kernels in ONNX Runtime's profiles take 1–3 µs."""


def _conversion_model(kind: str, shape: tuple[int, ...]) -> ir.Model:
    floating, integer = ir.DataType.FLOAT, ir.DataType.UINT8
    source, result = (floating, integer) if kind == "quantize" else (integer, floating)
    x = ir.Value(name="x", type=ir.TensorType(source), shape=ir.Shape(shape))
    scale = _initializer(np.float32(0.1), "scale")
    zero = _initializer(np.uint8(128), "zero")
    order = (0, 2, 3, 1) if kind == "quantize" else (0, 3, 1, 2)
    if kind == "quantize":
        first = ir.node("QuantizeLinear", [x, scale, zero])
        second = ir.node("Transpose", [first.outputs[0]], {"perm": order})
    else:
        first = ir.node("Transpose", [x], {"perm": order})
        second = ir.node("DequantizeLinear", [first.outputs[0], scale, zero])
    output = second.outputs[0]
    output.name, output.type = "y", ir.TensorType(result)
    graph = ir.Graph(
        [x], [output], nodes=[first, second], initializers=[scale, zero], opset_imports={"": 21}
    )
    return ir.Model(graph, ir_version=10)


def _initializer(number: np.generic, name: str) -> ir.Value:
    tensor = ir.Tensor(np.asarray(number), name=name)
    return ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor
    )
