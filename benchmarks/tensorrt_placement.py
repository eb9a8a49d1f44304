"""Where Q/DQ stand in a ResNet-50 compiled for TensorRT, and what NVIDIA's builder makes of it.

    python -m benchmarks.tensorrt_placement [--float FILE] [--modelopt FILE]

Prints, per op, how many nodes have quantized operands. `--float FILE` writes the network, and
`--modelopt FILE` compares, node by node, with that file quantized by nvidia-modelopt. The weights
are random: nothing here is an accuracy.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from benchmarks.tensorrt_net import Net
from qcompiler.backends.tensorrt.lint.view import dequantizer
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.frontends import load
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
_COUNTED = ("Conv", "Add", "MaxPool", "GlobalAveragePool", "Gemm")


def resnet50(size: int = 64) -> onnx.ModelProto:
    """He et al. 2016, table 1, 50 layers: 53 convolutions, 16 residual adds; no batch norms."""
    net = Net()
    net.input((1, 3, size, size))
    x = net.add("Relu", _conv(net, "x", 3, 64, 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for stage, (channels, blocks) in enumerate(_STAGES):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _bottleneck(net, x, width, channels, stride)
            width = 4 * channels
    x = net.add("Flatten", net.add("GlobalAveragePool", x), axis=1)
    weight = net.random.normal(0, 0.02, (1000, width)).astype(np.float32)
    bias = net.const(np.zeros(1000, np.float32))
    return net.model(net.add("Gemm", x, net.const(weight, "w"), bias, transB=1))


def placement(model: ir.Model) -> dict[str, tuple[bool, ...]]:
    """Node name -> which of its first two operands are dequantized, for the counted ops."""
    nodes = [node for node in all_nodes(model) if is_op(node, *_COUNTED)]
    return {
        node.name or "": tuple(dequantizer(value) is not None for value in node.inputs[:2])
        for node in nodes
    }


def main() -> None:
    """Compiles, prints the table, and what the builder compiled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--modelopt", type=Path, help="the same network, quantized by ModelOpt")
    parser.add_argument("--float", type=Path, help="write the float network here and stop")
    given = parser.parse_args()
    if given.float is not None:
        onnx.save(resnet50(), given.float)
        return
    target = TensorRT()
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.normal(0, 1, (1, 3, 64, 64)).astype(np.float32)} for _ in range(4)]
    program = load(resnet50())
    text = "canonicalize,dead-code,insert-observers,calibrate,"
    text += "assign-precision{scheme=int8},resolve-placement,"
    Pipeline.parse(text + target.placement).run(program, PassContext(target, feeds))
    ours = placement(program.model)
    kinds = {node.name or "": node.op_type for node in all_nodes(program.model)}
    for (op, operands), count in sorted(
        Counter((kinds[n], ops) for n, ops in ours.items()).items()
    ):
        print(f"{op:20} quantized operands {operands}: {count}")
    print(target.lower(program).statement())
    if given.modelopt is not None:
        _compare(ours, placement(ir.load(given.modelopt)), kinds)


def _compare(
    ours: dict[str, tuple[bool, ...]], theirs: dict[str, tuple[bool, ...]], kinds: dict[str, str]
) -> None:
    common = sorted(set(ours) & set(theirs))
    differing = [name for name in common if ours[name] != theirs[name]]
    print(f"ModelOpt: {len(common) - len(differing)} of {len(common)} nodes placed alike")
    for name in differing:
        print(f"  {kinds[name]} {name}: ours {ours[name]}, ModelOpt {theirs[name]}")


def _conv(net: Net, x: str, width: int, channels: int, kernel: int, stride: int = 1) -> str:
    deviation = (2.0 / (width * kernel * kernel)) ** 0.5
    shape = (channels, width, kernel, kernel)
    weight = net.const(net.random.normal(0, deviation, shape).astype(np.float32), "w")
    pads = [kernel // 2] * 4
    return net.conv(x, weight, channels, strides=[stride, stride], pads=pads)


def _bottleneck(net: Net, x: str, width: int, channels: int, stride: int) -> str:
    y = net.add("Relu", _conv(net, x, width, channels, 1))
    y = net.add("Relu", _conv(net, y, channels, channels, 3, stride))
    y = _conv(net, y, channels, 4 * channels, 1)
    projected = stride != 1 or width != 4 * channels
    skip = _conv(net, x, width, 4 * channels, 1, stride) if projected else x
    return net.add("Relu", net.add("Add", y, skip))


if __name__ == "__main__":
    main()
