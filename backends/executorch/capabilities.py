"""What the XNNPACK delegate of ExecuTorch runs in integers.

Every op has Q/DQ around it; signed affine activations per tensor, symmetric weights per channel,
float biases. Source: executorch 1.5.1, backends/xnnpack/partition/config/{gemm,generic_node}_
configs.py (`supported_precision_types`, `check_constraints`, `fused_acts`), checked with the
delegated graphs that it makes of these rows and with XNNPACK's kernel names in its trace.
"""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.regions import Epilogue, Region, RegionPattern, Stage
from qcompiler.ir.walk import rank, scalar
from qcompiler.quantization.qspace import S8_AFFINE, S8_SYMMETRIC_PER_CHANNEL
from qcompiler.target.capability import (
    CapabilityTable,
    Constraint,
    Implementation,
    Kernel,
    OpCapability,
)
from qcompiler.target.constraints import float32_data, stored_weight, two_activations


def _fusible(node: ir.Node) -> bool:
    """Relu, or Clip between two numbers, which becomes a hardtanh."""
    if node.op_type == "Relu":
        return True
    ends = [scalar(value) if value is not None else None for value in node.inputs[1:3]]
    low, high, *_ = [*ends, None, None]
    return low is not None and high is not None and low < high


_ACTIVATION = Epilogue(Stage.ACTIVATION, frozenset({"Relu", "Clip"}), _fusible)
_RELU = Epilogue(Stage.ACTIVATION, frozenset({"Relu"}))
_BIAS = Epilogue(Stage.BIAS_ADD, frozenset({"Add"}))
_WEIGHTED = Implementation(
    "int8", activation=S8_AFFINE, weight=S8_SYMMETRIC_PER_CHANNEL, output=S8_AFFINE
)
_DYNAMIC = Implementation("int8-dynamic", kernel=Kernel.DYNAMIC, weight=S8_SYMMETRIC_PER_CHANNEL)
_ELEMENTWISE = Implementation("int8", activation=S8_AFFINE, output=S8_AFFINE)
_KEPT = Implementation("int8", activation=S8_AFFINE, output=S8_AFFINE, shares_scale=True)


def _spatial(region: Region) -> str | None:
    dims = rank(region.activations[0].value)
    return None if dims in (3, 4) else f"XNNPACK has 1 or 2 spatial axes, this has {dims} axes"


def _image(region: Region) -> str | None:
    dims = rank(region.activations[0].value)
    return None if dims == 4 else f"XNNPACK takes images of 4 axes, this has {dims}"


def _ungrouped(region: Region) -> str | None:
    if region.anchor.attributes.get_int("group", 1) != 1:
        return "XNNPACK has no scales per channel for transposed convolutions with groups"
    return None


def _matrix(region: Region) -> str | None:
    if region.weight is not None and rank(region.weight.value) != 2:
        return "its weight is no matrix"
    return None


def _plain_gemm(region: Region) -> str | None:
    attributes = region.anchor.attributes
    scaled = attributes.get_float("alpha", 1.0) != 1.0 or attributes.get_float("beta", 1.0) != 1.0
    if scaled or attributes.get_int("transA"):
        return "Gemm with alpha, beta or transA"
    given = len(region.anchor.inputs) > 2 and region.anchor.inputs[2] is not None
    if given and (region.bias is None or rank(region.bias.value) != 1):
        return "its bias is no stored vector"
    return None


def _overlapping_window(region: Region) -> str | None:
    attributes = region.anchor.attributes
    kernel = list(attributes.get_ints("kernel_shape", ()))
    strides = list(attributes.get_ints("strides", ())) or [1] * len(kernel)
    if any(stride > size for stride, size in zip(strides, kernel, strict=True)):
        return "its strides are larger than its window"
    pads = list(attributes.get_ints("pads", ())) or [0] * 2 * len(kernel)
    half = len(pads) // 2
    same = attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    wide = any(2 * pad > size for pad, size in zip(pads[:half], kernel, strict=True))
    if not same or pads[:half] != pads[half:] or wide or attributes.get_int("ceil_mode"):
        return "its padding differs at the two ends"
    return None


FLOAT32 = Constraint("ET01", float32_data)
_STORED = Constraint("ET02", stored_weight)
_SPATIAL = Constraint("ET03", _spatial, "ConvolutionConfig.check_constraints")
_IMAGE = Constraint("ET04", _image, "MeanDimConfig, MaxPool2dConfig")
_MATRIX = Constraint("ET05", _matrix)
_GEMM = Constraint("ET06", _plain_gemm)
_PAIR = Constraint("ET07", two_activations, "accuracy; constants are per tensor")
_WINDOW = Constraint("ET08", _overlapping_window, "MaxPool2dConfig.check_constraints")
_UNGROUPED = Constraint("ET09", _ungrouped, "ConvolutionConfig.check_constraints")

_PRODUCT = (_WEIGHTED, _DYNAMIC)
TABLE = CapabilityTable(
    (
        OpCapability(
            RegionPattern("Conv", (_ACTIVATION,)), (_WEIGHTED,), (FLOAT32, _STORED, _SPATIAL)
        ),
        OpCapability(
            RegionPattern("ConvTranspose", (_ACTIVATION,)),
            (_WEIGHTED,),
            (FLOAT32, _STORED, _IMAGE, _UNGROUPED),
        ),
        OpCapability(
            RegionPattern("Gemm", (_ACTIVATION,)), _PRODUCT, (FLOAT32, _STORED, _MATRIX, _GEMM)
        ),
        OpCapability(
            RegionPattern("MatMul", (_BIAS, _ACTIVATION)), _PRODUCT, (FLOAT32, _STORED, _MATRIX)
        ),
        OpCapability(RegionPattern("Add", (_RELU,)), (_ELEMENTWISE,), (FLOAT32, _PAIR)),
        OpCapability(RegionPattern("Sub"), (_ELEMENTWISE,), (FLOAT32, _PAIR)),
        OpCapability(RegionPattern("Mul"), (_ELEMENTWISE,), (FLOAT32, _PAIR)),
        OpCapability(RegionPattern("MaxPool"), (_KEPT,), (FLOAT32, _IMAGE, _WINDOW)),
        OpCapability(RegionPattern("Concat"), (_KEPT,), (FLOAT32,)),
        OpCapability(RegionPattern("GlobalAveragePool"), (_ELEMENTWISE,), (FLOAT32, _IMAGE)),
    )
)

EDGE_OPS = {
    "Add": "add",
    "Mul": "mul",
    "Sub": "sub",
    "MaxPool": "max_pool2d",
    "Concat": "cat",
    "GlobalAveragePool": "mean",
}
"""What rows without a weight are called in ExecuTorch's graph: their layers have no other name."""
