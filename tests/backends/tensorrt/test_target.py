"""TensorRT's placement, node by node, and what its artifact says; ONNX Runtime is the oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import qcompiler as qc
from qcompiler.backends.tensorrt import stand_in
from qcompiler.backends.tensorrt.base_type import with_base_type
from qcompiler.backends.tensorrt.gate import available
from qcompiler.backends.tensorrt.lint import lint
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.errors import ConfigurationError, LoweringError
from qcompiler.execution.openvino.session import available as openvino_available
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.diagnostics import Severity
from qcompiler.ir.program import Program
from qcompiler.ir.walk import constant, is_op, uses

Place = Callable[..., tuple[Program, Program]]
MakeFeed = Callable[..., dict[str, Any]]
needs_wheels = pytest.mark.skipif(
    not available(), reason="the TensorRT-RTX wheels are absent: qcompiler[tensorrt-check]"
)
needs_openvino = pytest.mark.skipif(
    not openvino_available(), reason="openvino is not installed: qcompiler[openvino]"
)


def _nodes(program: Program, *ops: str) -> list[ir.Node]:
    return [node for node in program.graph if is_op(node, *ops)]


def _from_dq(value: ir.Value | None) -> bool:
    return value is not None and is_op(value.producer(), "DequantizeLinear")


def _skips_from_dq(value: ir.Value | None) -> bool:
    """Whether a DQ makes the value, directly or through the MaxPool of this net."""
    producer = value.producer() if value is not None else None
    pooled = producer is not None and is_op(producer, "MaxPool") and _from_dq(producer.inputs[0])
    return _from_dq(value) or pooled


def _noise(found: Any, wanted: Any) -> float:
    """Noise to signal in power."""
    return float(((found - wanted) ** 2).sum() / (np.asarray(wanted) ** 2).sum())


def test_every_weighted_operand_is_dequantized_and_no_output_quantized(
    residual_net: onnx.ModelProto, place: Place
) -> None:
    _, program = place(residual_net, TensorRT())
    convs = _nodes(program, "Conv")
    assert len(convs) == 7
    for node in convs:
        assert _from_dq(node.inputs[1])
        assert constant(node.inputs[2]) is not None, "bias stays float"
    adds = _nodes(program, "Add")
    assert [sum(map(_skips_from_dq, node.inputs)) for node in adds] == [1, 1]
    behind = [use.node for node in convs for use in uses(node.outputs[0])]
    quantizers = [node for node in behind if is_op(node, "QuantizeLinear")]
    assert len(quantizers) == 1, "the projected skip is the only quantized output of a convolution"
    assert not any(
        is_op(use.node, "QuantizeLinear")
        for node in _nodes(program, "Gemm")
        for use in uses(node.outputs[0])
    )


def test_no_pair_behind_movers_and_one_scale_for_concat(
    residual_net: onnx.ModelProto, place: Place
) -> None:
    _, program = place(residual_net, TensorRT())
    for node in _nodes(program, "MaxPool", "Flatten", "Reshape", "Concat"):
        assert not any(is_op(use.node, "QuantizeLinear") for use in uses(node.outputs[0]))
    (concat,) = _nodes(program, "Concat")
    scales = {float(constant(v.producer().inputs[1])) for v in concat.inputs}  # type: ignore[union-attr, arg-type]
    assert len(scales) == 1


def test_parameters_are_symmetric_scalars_with_int8_zero_points(
    residual_net: onnx.ModelProto, place: Place
) -> None:
    _, program = place(residual_net, TensorRT())
    for node in _nodes(program, "QuantizeLinear", "DequantizeLinear"):
        scale, zero = constant(node.inputs[1]), constant(node.inputs[2])
        assert scale is not None
        assert zero is not None
        assert zero.dtype == np.int8
        assert not zero.any()
        assert zero.shape == scale.shape
        if constant(node.inputs[0]) is None:
            assert scale.shape == ()
    assert lint(program.model) == ()


def test_attention_quantizes_both_products_and_the_softmax_range_is_fixed(
    attention_net: onnx.ModelProto, place: Place
) -> None:
    _, program = place(attention_net, TensorRT())
    assert lint(program.model) == ()
    (softmax,) = _nodes(program, "Softmax")
    (quantize,) = [use.node for use in uses(softmax.outputs[0])]
    scale = constant(quantize.inputs[1])
    assert scale is not None
    np.testing.assert_allclose(scale, 1 / 127, rtol=1e-6)
    products = _nodes(program, "MatMul")
    assert len(products) == 6
    computed = [node for node in products if node.inputs[1] is not None]
    assert len(computed) == 6


@needs_wheels
@pytest.mark.parametrize(
    ("target", "scheme"),
    [
        (TensorRT(), "int8"),
        (TensorRT(precision="fp8", compute_capability=89), "fp8"),
        (TensorRT(base="fp16"), "int8"),
        (TensorRT(base="bf16"), "int8"),
        (TensorRT(compute_capability=120), "int8"),
    ],
    ids=["int8", "fp8", "fp16", "bf16", "sm120"],
)
def test_the_builder_compiles_every_weighted_op_as_meant(
    residual_net: onnx.ModelProto,
    attention_net: onnx.ModelProto,
    place: Place,
    target: TensorRT,
    scheme: str,
) -> None:
    for model, count in ((residual_net, 8), (attention_net, 6)):
        _, program = place(model, target, scheme)
        kernels = target.lower(program).kernels()
        assert kernels.missed == {}
        assert len(kernels.integer) == count


@needs_wheels
def test_the_statement_claims_a_compilation_and_nothing_else(
    residual_net: onnx.ModelProto, place: Place
) -> None:
    _, program = place(residual_net, TensorRT())
    assert TensorRT().lower(program).statement() == (
        "accepted by NVIDIA's parser and compiled ahead of time by TensorRT-RTX; "
        "7 of 7 convolutions and 1 of 1 matmuls compiled with Int8 inputs"
    )


@needs_wheels
@pytest.mark.parametrize("block", [64, 128])
def test_int4_weights_in_blocks(wide_net: onnx.ModelProto, place: Place, block: int) -> None:
    target = TensorRT(precision="int4-weights", block=block)
    _, program = place(wide_net, target, "int4-weights")
    artifact = target.lower(program)
    assert len(artifact.kernels().integer) == 2
    assert artifact.statement().endswith("2 of 2 matmuls compiled with Int4 weights")
    for node in _nodes(program, "DequantizeLinear"):
        assert node.attributes.get_int("block_size", 0) == block


@pytest.mark.parametrize(
    ("target", "scheme", "bound"),
    [
        (TensorRT(), "int8", 5e-3),
        (TensorRT(precision="fp8", compute_capability=89), "fp8", 2e-2),
        (TensorRT(base="fp16"), "int8", 5e-3),
        (TensorRT(base="bf16"), "int8", 5e-3),
    ],
    ids=["int8", "fp8", "fp16", "bf16"],
)
def test_outputs_stay_near_float(
    residual_net: onnx.ModelProto,
    place: Place,
    feed: MakeFeed,
    target: TensorRT,
    scheme: str,
    bound: float,
) -> None:
    """8-bit rounding noise is about (1/127)^2/3 per layer; the bounds leave room for eight."""
    before, after = place(residual_net, target, scheme)
    x = feed(residual_net, 99)
    wanted = OrtSession(before.model).run(x)[0]
    noise = _noise(target.lower(after).run(x)[0], wanted)
    assert 0 < noise < bound


@needs_openvino
def test_openvino_as_named_stand_in(
    residual_net: onnx.ModelProto, place: Place, feed: MakeFeed
) -> None:
    target = TensorRT(stand_in="openvino")
    _, program = place(residual_net, target)
    artifact = target.lower(program)
    assert artifact.stand_in == "OpenVINO (as written)"
    x = feed(residual_net, 99)
    exact = OrtSession(program.model, optimize=False).run(x)[0]
    assert _noise(artifact.run(x)[0], exact) < 1e-3


@needs_openvino
@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "OpenVINO (as written)"),
        ({"stand_in": "onnxruntime"}, "ONNX Runtime (unoptimized)"),
        ({"base": "fp16"}, "ONNX Runtime (unoptimized)"),
        ({"precision": "fp8", "compute_capability": 89}, "ONNX Runtime (unoptimized)"),
    ],
)
def test_the_report_names_the_stand_in(
    options: dict[str, Any], name: str, residual_net: onnx.ModelProto, feed: MakeFeed
) -> None:
    feeds = [feed(residual_net, seed) for seed in range(2)]
    compiled = qc.compile(residual_net, TensorRT(**options), feeds, recipe="fast")
    noted = [each.message for each in compiled.report.diagnostics if each.rule == "ENGINE00"]
    assert noted == [f"outputs and losses are those of {name}, in the place of tensorrt"]


def test_without_openvino_onnxruntime_stands_in(
    residual_net: onnx.ModelProto, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "available", lambda: False)
    _, program = place(residual_net, TensorRT())
    assert TensorRT().lower(program).stand_in == "ONNX Runtime (unoptimized)"


def test_sixteen_bit_base_keeps_the_interface_and_the_source(
    residual_net: onnx.ModelProto, place: Place
) -> None:
    _, program = place(residual_net, TensorRT(base="fp16"))
    before = ir.to_proto(program.model).SerializeToString()
    model = with_base_type(program.model, "fp16")
    assert ir.to_proto(program.model).SerializeToString() == before
    assert {value.dtype for value in (*model.graph.inputs, *model.graph.outputs)} == {
        ir.DataType.FLOAT
    }
    kinds = Counter(value.dtype for value in model.graph.initializers.values())
    assert ir.DataType.FLOAT not in kinds
    assert kinds[ir.DataType.FLOAT16] > 0


def test_a_scale_too_small_for_fp16_stays_float32(conv_net: Callable[..., Any]) -> None:
    model = conv_net({"scale": np.float32(1e-6)})
    narrow = with_base_type(ir.from_proto(model), "fp16")
    x = np.random.default_rng(0).normal(0, 1e-4, (1, 16, 12, 12)).astype(np.float32)
    found = OrtSession(narrow, optimize=False).run({"x": x})[0]
    wanted = OrtSession(ir.from_proto(model), optimize=False).run({"x": x})[0]
    assert _noise(found, wanted) < (2.0**-9) ** 2 * 16
    assert lint(narrow) == ()


def test_saves_what_the_lint_accepts(
    residual_net: onnx.ModelProto, place: Place, tmp_path: Path
) -> None:
    _, program = place(residual_net, TensorRT())
    artifact = TensorRT().lower(program)
    artifact.save(tmp_path / "m.onnx")
    assert lint(tmp_path / "m.onnx") == ()
    assert artifact.nbytes > 0
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_rejected_graph_is_not_lowered(residual_net: onnx.ModelProto, place: Place) -> None:
    _, program = place(residual_net, TensorRT())
    quantize = _nodes(program, "QuantizeLinear")[0]
    zero = quantize.inputs[2]
    assert zero is not None
    zero.const_value = ir.Tensor(np.asarray(3, np.int8), name=zero.name)
    assert {d.rule for d in TensorRT().legality(program) if d.severity is Severity.ERROR} == {"T06"}
    with pytest.raises(LoweringError, match="would reject"):
        TensorRT().lower(program)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "int2"},
        {"precision": "fp8", "compute_capability": 86},
        {"base": "fp64"},
        {"block": 48},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        TensorRT(**options)


def test_loss_is_judged_on_the_stand_in_and_nothing_is_timed(
    residual_net: onnx.ModelProto, feed: MakeFeed
) -> None:
    """Loss is against float outputs of the samples; biases are corrected where that lowers it."""
    feeds = [feed(residual_net, seed) for seed in range(4)]
    compiled = qc.compile(residual_net, TensorRT(), feeds, scheme="int8", recipe="balanced")
    (point,) = compiled.frontier
    wanted = [OrtSession(load(residual_net).model).run(each)[0] for each in feeds]
    found = [compiled.run(each)[0] for each in feeds]
    noise = sum(float(((a - b) ** 2).sum()) for a, b in zip(found, wanted, strict=True))
    assert point.loss == pytest.approx(noise / sum(float((b**2).sum()) for b in wanted), rel=1e-3)
    assert point.seconds is None
