"""float16 models in float32: what is computed, what the caller sees, and what is quantized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.ir.verifier import verify
from qcompiler.ir.walk import all_graphs, all_nodes
from qcompiler.passes.float16 import Float16ToFloat32
from qcompiler.pipeline.contract import PassContext

Array = npt.NDArray[Any]
HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
HALF = ir.DataType.FLOAT16

NETWORK = """g (float16[n,16] x) => (float16[n,8] y, float16[n,16] h)
<float16[16,16] w, float16[16] b, float16[16,8] v>
{ a = MatMul(x, w) c = Add(a, b) h = Relu(c) y = MatMul(h, v) }"""
BRANCHES = """g (float16[n,16] x, bool c) => (float16[n,16] y)
<float16[16,16] w, float16 two>
{ y = If(c) <
    then_branch = yes () => (float16[n,16] t) { s = MatMul(x, w) t = Mul(s, two) },
    else_branch = no () => (float16[n,16] e) <float16[16,16] u> { e = MatMul(x, u) } > }"""
CASTS = """g (float[n,16] x) => (float[n,16] y) <float16[16,16] w>
{ a = Cast<to = 10>(x) k = Constant<value = float {0.5}>() p = MatMul(a, w) q = Mul(p, k)
  s = Shape(q) z = ConstantOfShape<value = float[1] {1.0}>(s) r = Add(q, z)
  y = Cast<to = 1>(r) }"""
THROUGH = """g (float16[n,16] x) => (float16[n,16] x, float16[n,16] y) <float16[16,16] w>
{ y = MatMul(x, w) }"""


def drawn(text: str, rng: np.random.Generator) -> onnx.ModelProto:
    """The model with random weights of order 1/4 in the place of those without values."""
    proto = onnx.parser.parse_model(HEAD + text)
    for attribute in [each for node in proto.graph.node for each in node.attribute]:
        if attribute.HasField("t"):  # the parser writes no float16 numbers
            value = onnx.numpy_helper.to_array(attribute.t).astype(np.float16)
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(value))
    for graph in [proto.graph, *(a.g for n in proto.graph.node for a in n.attribute if a.g.node)]:
        for info in list(graph.value_info):
            dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            if info.name in {"w", "b", "v", "u", "two"}:
                array = (0.25 * rng.standard_normal(dims)).astype(np.float16)
                graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
                graph.value_info.remove(info)
    return proto


def widened(proto: onnx.ModelProto) -> Program:
    program = load(proto)
    report = Float16ToFloat32().run(program, PassContext(target=OnnxRuntime(1)))
    assert report.modified
    assert [str(finding) for finding in verify(program)] == []
    again = Float16ToFloat32().run(program, PassContext(target=OnnxRuntime(1)))
    assert not [v for n in all_nodes(program.model) for v in n.inputs if v and _inner_half(v)]
    assert not again.modified
    return program


def _inner_half(value: ir.Value) -> bool:
    return value.dtype is HALF and not value.is_graph_input()


def ran(model: bytes, feed: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def exact(x: Array, proto: onnx.ModelProto, *names: str) -> list[Array]:
    """The constants in float64, by name."""
    found = {each.name: onnx.numpy_helper.to_array(each) for each in proto.graph.initializer}
    return [x.astype(np.float64), *(found[name].astype(np.float64) for name in names)]


def test_a_network_is_computed_in_float32_and_keeps_its_types(rng: np.random.Generator) -> None:
    """Against float64: one rounding to float16 of each output, 2^-11, and float32 sums."""
    proto = drawn(NETWORK, rng)
    x = rng.standard_normal((5, 16)).astype(np.float16)
    y, h = ran(ir.to_proto(widened(proto).model).SerializeToString(), {"x": x})
    a, w, b, v = exact(x, proto, "w", "b", "v")
    hidden = np.maximum(a @ w + b, 0)
    assert {str(each.dtype) for each in (y, h)} == {"float16"}
    np.testing.assert_allclose(h, hidden, rtol=2**-11, atol=1e-6)
    np.testing.assert_allclose(y, hidden @ v, rtol=2**-11, atol=1e-5)
    # The float16 model itself rounds on the way, and is no nearer to the truth.
    before = ran(proto.SerializeToString(), {"x": x})[0]
    assert np.abs(y - hidden @ v).mean() <= np.abs(before - hidden @ v).mean()


@pytest.mark.parametrize("text", [BRANCHES, CASTS, THROUGH], ids=["branches", "casts", "through"])
def test_other_shapes_of_models_agree_with_the_float16_engine(
    text: str, rng: np.random.Generator
) -> None:
    """Within what float16 rounds: a few halves of 2^-10 of the largest partial result."""
    proto = drawn(text, rng)
    program = widened(proto)
    names = [each.name for each in program.graph.inputs]
    assert names == [each.name for each in proto.graph.input]
    kind = np.float16 if "float16[n,16] x" in text else np.float32
    x = rng.standard_normal((3, 16)).astype(kind)
    for c in (True, False) if "c" in names else (None,):
        feed = {"x": x} if c is None else {"x": x, "c": np.asarray(c)}
        wanted = ran(proto.SerializeToString(), feed)
        found = ran(ir.to_proto(program.model).SerializeToString(), feed)
        for a, b in zip(wanted, found, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=0, atol=2**-9 * max(1.0, np.abs(a).max()))


def test_a_target_with_float16_kernels_keeps_them(rng: np.random.Generator) -> None:
    program = load(drawn(NETWORK, rng))
    report = Float16ToFloat32().run(program, PassContext(target=TensorRT()))
    assert not report.modified
    assert any(each.dtype is HALF for g in all_graphs(program.model) for each in g.inputs)


def test_float32_models_are_left_alone() -> None:
    text = "g (float[2,4] x) => (float[2,4] y) <float[4,4] w> { y = MatMul(x, w) }"
    program = load(onnx.parser.parse_model(HEAD + text.replace(" <float[4,4] w>", "").replace(
        "MatMul(x, w)", "Relu(x)")))  # fmt: skip
    assert not Float16ToFloat32().run(program, PassContext()).modified


@pytest.mark.parametrize("scheme", ["int8", "dynamic", "int4-weights", "auto"])
def test_float16_models_are_quantized(
    scheme: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    proto = drawn(NETWORK, rng)
    path = tmp_path / "half.onnx"
    onnx.save(proto, path)
    feeds = [{"x": rng.standard_normal((5, 16)).astype(np.float16)} for _ in range(8)]
    compiled = qc.compile(path, OnnxRuntime(1), feeds, scheme=scheme, recipe="fast")
    if scheme != "auto":
        assert sum(p != "float32" for p in compiled.plan.precisions.values()) >= 2
        compiled.verify().require()
    wanted, found = ran(proto.SerializeToString(), feeds[0])[0], compiled.run(feeds[0])[0]
    assert found.dtype == np.float16
    noise = np.square(wanted.astype(np.float64) - found).sum()
    share = 0.05 if scheme == "int4-weights" else 0.01
    assert noise < share * np.square(wanted.astype(np.float64)).sum()
