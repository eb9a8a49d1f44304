"""float-movers, share-dequantized and quantize-weight-blocks; ONNX Runtime runs both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from benchmarks.tensorrt_net import SCALE, ZERO, Net
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import Program, Property
from qcompiler.ir.walk import is_op, uses
from qcompiler.passes.placement.float_movers import FloatMovers
from qcompiler.passes.placement.share_dequantized import ShareDequantized
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

_MOVERS: dict[str, dict[str, Any]] = {
    "MaxPool": {"kernel_shape": [2, 2]},
    "Transpose": {"perm": [0, 2, 3, 1]},
    "Flatten": {"axis": 1},
}


def _explicit(model: onnx.ModelProto) -> Program:
    program = load(model)
    program.properties |= {Property.QDQ_EXPLICIT}
    return program


def _run(program: Program) -> Any:
    x = np.random.default_rng(1).normal(0, 1, (1, 4, 6, 6)).astype(np.float32)
    return OrtSession(program.model, optimize=False).run({"x": x})


def _integer_mover(op: str, outside: bool = False) -> onnx.ModelProto:
    """Q -> mover on integers -> DQ; with `outside` the integers are a graph output too."""
    net = Net()
    net.input((1, 4, 6, 6))
    scale, zero = net.const(SCALE), net.const(ZERO)
    moved = net.add(op, net.add("QuantizeLinear", "x", scale, zero), **_MOVERS[op])
    result = net.add("Relu", net.add("DequantizeLinear", moved, scale, zero))
    if not outside:
        return net.model(result)
    model = net.model(result, moved)
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT8
    return model


@pytest.mark.parametrize("op", _MOVERS)
def test_movers_work_on_dequantized_values_with_the_same_bits(op: str) -> None:
    program = _explicit(_integer_mover(op))
    before = _run(program)
    report = FloatMovers().run(program, PassContext())
    assert report.details["moved"] == 1
    (mover,) = [node for node in program.graph if is_op(node, op)]
    assert is_op(mover.inputs[0].producer() if mover.inputs[0] else None, "DequantizeLinear")
    assert mover.outputs[0].dtype is ir.DataType.FLOAT
    np.testing.assert_array_equal(_run(program)[0], before[0])


def test_integers_that_leave_the_graph_stay() -> None:
    program = _explicit(_integer_mover("MaxPool", outside=True))
    assert not FloatMovers().run(program, PassContext()).modified


def test_a_clone_is_not_touched() -> None:
    program = _explicit(_integer_mover("MaxPool"))
    other = program.clone()
    text = ir.to_proto(other.model).SerializeToString()
    FloatMovers().run(program, PassContext())
    assert ir.to_proto(other.model).SerializeToString() == text


def _two_readings() -> onnx.ModelProto:
    net = Net()
    net.input((1, 4, 6, 6))
    y = net.add("Relu", "x")
    pooled = net.add("GlobalAveragePool", net.quantize(y))
    return net.model(net.add("Mul", y, pooled))


def test_all_readers_read_the_dequantized_value() -> None:
    program = _explicit(_two_readings())
    before = _run(program)[0]
    assert ShareDequantized().run(program, PassContext()).details["redirected"] == 1
    (relu,) = [node for node in program.graph if is_op(node, "Relu")]
    assert [use.node.op_type for use in uses(relu.outputs[0])] == ["QuantizeLinear"]
    after = _run(program)[0]
    assert not np.array_equal(after, before)
    # |y - DQ(Q(y))| <= scale / 2 below saturation (127 * 0.02 = 2.54), times the gate's mean < 1
    assert np.abs(after - before).max() <= max(0.01, 4.5 - 2.54)


def test_sharing_twice_changes_nothing_more() -> None:
    program = _explicit(_two_readings())
    ShareDequantized().run(program, PassContext())
    assert not ShareDequantized().run(program, PassContext()).modified


@pytest.mark.parametrize("transposed", [0, 1])
def test_blocks_lie_along_the_reduction_axis(transposed: int) -> None:
    net = Net()
    net.input((8, 128))
    shape = (32, 128) if transposed else (128, 32)
    weight = net.random.normal(0, 0.1, shape).astype(np.float32)
    product = net.add("Gemm", "x", net.const(weight, "w"), transB=transposed)
    program = load(net.model(product))
    target = TensorRT(precision="int4-weights", block=64)
    Pipeline.parse(
        "assign-precision{scheme=int4-weights},resolve-placement,quantize-weight-blocks"
    ).run(program, PassContext(target))
    (node,) = [each for each in program.graph if is_op(each, "DequantizeLinear")]
    axis = 1 if transposed else 0
    assert node.attributes.get_int("axis", 9) == axis
    assert node.attributes.get_int("block_size", 0) == 64
    x = np.eye(8, 128, dtype=np.float32)
    found = OrtSession(program.model, optimize=False).run({"x": x})[0]
    wanted = (weight.T if transposed else weight)[:8]
    # Symmetric int4 steps are max|w| / 7 of a block; an error of half a step, a little more at -8.
    assert 0 < np.abs(found - wanted).max() <= np.abs(weight).max() / 7
