"""OpenVINO's faults in integers on minimal graphs: they are there, are found, and are avoided.

ONNX Runtime without optimizations is the oracle. A fault that OpenVINO has mended makes the first
assertion of its test fail: then rule and rewrite may go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import qcompiler as qc
from benchmarks.tensorrt_net import Net
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.execution.openvino.faults import is_pooled
from qcompiler.execution.openvino.findings import findings
from qcompiler.execution.openvino.session import OpenVinoSession, available
from qcompiler.execution.openvino.stored_floats import float_constants
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text

needs_openvino = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)
EXACT = 1e-6
"""Noise to signal of the same integers computed in another order: float32 rounding, squared."""
FEED = {
    "x": np.random.default_rng(0).uniform(-8, 8, (1, 8, 8, 10)).astype(np.float32),
    "y": np.ones((2, 2), np.float32),
}
Middle = Callable[[Net, str], str]


def _pair(net: Net, x: str, dtype: type[np.generic], zero: int, scale: float = 0.068) -> str:
    return net.quantize(x, np.float32(scale), np.array(zero, dtype))


def _int8_conv(net: Net, x: str) -> str:
    return net.add("Conv", x, net.weight((8, 8, 1, 1)))


def _max_pool(net: Net, x: str) -> str:
    return net.add("MaxPool", x, kernel_shape=[2, 1], strides=[2, 1])


def _transpose(net: Net, x: str) -> str:
    return net.add("Transpose", x, perm=[0, 1, 3, 2])


def _relu(net: Net, x: str) -> str:
    return net.add("Relu", x)


def _nothing(net: Net, x: str) -> str:
    return x


def _far(
    middle: Middle, dtype: type[np.generic] = np.int8, zero: int = 0, concat: bool = True
) -> onnx.ModelProto:
    """Q/DQ -> middle -> convolution, and a Concat that has nothing to do with them."""
    net = Net()
    net.input((1, 8, 8, 10))
    outputs = [_int8_conv(net, middle(net, _pair(net, "x", dtype, zero)))]
    if concat:
        net.input((2, 2), name="y")
        outputs.append(net.add("Concat", "y", "y", axis=0))
    return net.model(*outputs)


def _mixed(dynamic: bool) -> onnx.ModelProto:
    """A convolution whose result one reader quantizes and another reads in float."""
    net = Net()
    net.input(("n" if dynamic else 1, 8, 8, 10))
    result = _int8_conv(net, _pair(net, "x", np.uint8, 128))
    pooled = net.add("GlobalAveragePool", _pair(net, result, np.uint8, 128, 0.0517))
    return net.model(pooled, net.add("Sigmoid", result))


def _noise(program: Program, **options: Any) -> float:
    """Of OpenVINO's first output to ONNX Runtime's, in power."""
    feed = {each.name: FEED[each.name] for each in program.signature.inputs}
    wanted = OrtSession(program.model, optimize=False).run(feed)[0]
    found = OpenVinoSession(program.model, program.signature, **options).run(feed)[0]
    return float(((found - wanted) ** 2).sum() / (wanted**2).sum())


def _rules(program: Program) -> set[str]:
    return {each.rule for each in findings(program)}


@needs_openvino
@pytest.mark.parametrize("middle", [_max_pool, _transpose, _relu])
@pytest.mark.parametrize("zero", [0, 10])
def test_signed_pair_before_a_mover_beside_a_concat(middle: Middle, zero: int) -> None:
    program = load(_far(middle, zero=zero))
    assert _noise(program) > 100 * EXACT
    assert _rules(program) == {"OV-F1"}
    assert _noise(float_constants(program), as_written=True) < EXACT


@needs_openvino
@pytest.mark.parametrize(
    "model",
    [
        _far(_max_pool, concat=False),
        _far(_nothing),
        _far(_max_pool, np.uint8, 128),
        _mixed(dynamic=False),
    ],
    ids=["no concat", "no mover", "unsigned", "static"],
)
def test_graphs_without_the_faults_are_right_and_not_found(model: onnx.ModelProto) -> None:
    program = load(model)
    assert _noise(program) < EXACT
    assert findings(program) == ()


@needs_openvino
def test_mixed_readers_in_a_dynamic_model() -> None:
    program = load(_mixed(dynamic=True))
    assert _noise(program) > 100 * EXACT
    assert _rules(program) == {"OV-F2"}
    assert _noise(program, fixed_shapes=True) < EXACT


def _branches(net: Net, result: str) -> str:
    return net.add("Add", result, net.add("Tanh", result))


@needs_openvino
def test_a_convolution_added_to_a_function_of_itself() -> None:
    """OV-F10: c is written over before tanh(c) is read."""
    net = Net()
    net.input(("n", 8, 8, 10))
    program = load(net.model(_branches(net, _int8_conv(net, _pair(net, "x", np.uint8, 128)))))
    assert _noise(program) > 0.1
    assert _noise(program, as_written=True) < EXACT


POOL = "p = MaxPool<kernel_shape: ints = [2, 2]>(c)"
NEAREST = "p = Resize(c, , twice)"
ITSELF = "t = Tanh(c) p = Add(c, t)"
SHAPES = {"w": (8, 8), "k": (8, 8, 1, 1), "m": (1, 8, 1, 1)}
GRAPHS = {
    "conv and itself": f"c = Conv(z, k) {ITSELF}",
    "conv and its pool": "c = Conv(z, k) q = MaxPool<kernel_shape: ints = [1, 1]>(c) p = Add(q, c)",
    "conv and a negative product": "d = Conv(z, k) c = Relu(d) p = Mul(c, m)",
    "product and pool": f"c = MatMul(z, w) {POOL}",
    "scaled product and pool": f"d = MatMul(z, w) c = Mul(d, two) {POOL}",
    "product and resize": f"c = MatMul(z, w) {NEAREST}",
}


@needs_openvino
@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
@pytest.mark.parametrize("name", GRAPHS)
def test_scales_stay_where_they_are(name: str, target: str) -> None:
    """OV-F7, OV-F9, OV-F10; the oracle is the float model. Noise of two layers is below 1e-3."""
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[n,8,8,8] x) => (float[a,8,h,b] p)
    <float two = {{2}}, float[4] twice = {{1, 1, 2, 2}}> {{ z = Conv(x, k) {GRAPHS[name]} }}""")
    rng = np.random.default_rng(0)
    for key, shape in SHAPES.items():
        uneven = np.linspace(0.2, 2, 8).reshape(8, *[1] * (len(shape) - 1)).astype(np.float32)
        array = rng.standard_normal(shape).astype(np.float32)
        array = array * (uneven if key == "k" else uneven.ravel() if key == "w" else 1)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
    feeds = [{"x": rng.standard_normal((1, 8, 8, 8)).astype(np.float32)} for _ in range(2)]
    compiled = qc.compile(model, target, feeds, scheme="int8", recipe="fast")
    wanted = OrtSession(load(model).model, optimize=False).run(feeds[0])[0]
    noise = np.square(compiled(feeds[0])[0] - wanted).sum() / np.square(wanted).sum()
    assert noise < 1e-3


def test_windows_may_be_far_away() -> None:
    """Further than Python's stack is deep."""
    body = " ".join(f"v{i + 1} = Identity(v{i})" for i in range(1200))
    for end, pooled in (("MaxPool<kernel_shape = [2, 2]>", True), ("Relu", False)):
        program = from_text(f"""g (float[1,1,4,4] v0) => (float[a,b,c,d] y)
        {{ {body} y = {end}(v1200) }}""")
        assert is_pooled(program.graph.inputs[0]) == pooled


def test_lint_warns_of_both() -> None:
    found = qc.lint(_far(_max_pool), OpenVino())
    assert {each.rule for each in found} >= {"OV-F1"}
    assert all(each.hint for each in found if each.rule == "OV-F1")


@needs_openvino
def test_a_session_with_fixed_shapes_takes_feeds_of_other_shapes() -> None:
    program = load(_mixed(dynamic=True))
    session = OpenVinoSession(program.model, program.signature, fixed_shapes=True)
    reference = OrtSession(program.model, optimize=False)
    for count in (1, 3, 1):
        feed: dict[str, Any] = {"x": np.repeat(FEED["x"], count, axis=0)}
        for found, wanted in zip(session.run(feed), reference.run(feed), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def _vector_product(channels: int) -> onnx.ModelProto:
    """Q/DQ of x[64] times int8[64, 64] with one scale, or one per channel."""
    net = Net()
    net.input((64,))
    rng = np.random.default_rng(0)
    stored = net.const(rng.integers(-127, 128, (64, 64)).astype(np.int8))
    scales = np.linspace(0.01, 0.02, channels, dtype=np.float32)
    scale = net.const(scales if channels > 1 else scales[0])
    weight = net.add("DequantizeLinear", stored, scale, axis=1)
    return net.model(net.add("MatMul", net.quantize("x"), weight))


@needs_openvino
@pytest.mark.parametrize("channels", [1, 64])
def test_a_vector_times_a_matrix(channels: int) -> None:
    program = load(_vector_product(channels))
    feed = {"x": np.random.default_rng(1).uniform(-6, 6, 64).astype(np.float32)}
    found = OpenVinoSession(program.model, program.signature).run(feed)[0]
    faulty = channels > 1
    assert found.shape == ((1, 64) if faulty else (64,))
    assert _rules(program) == ({"OV-F3"} if faulty else set())


@needs_openvino
@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_vectors_keep_their_shape(target: str) -> None:
    """OpenVINO leaves the product in float, TensorRT's stand-in is another."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[64] x, float[4,64] z) => (float[64] y, float[4,64] u) <float[64,64] w>
    { y = MatMul(x, w) u = MatMul(z, w) }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    del model.graph.initializer[:]
    weight = rng.standard_normal((64, 64)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    feeds = [
        {
            "x": rng.standard_normal(64).astype(np.float32),
            "z": rng.standard_normal((4, 64)).astype(np.float32),
        }
        for _ in range(4)
    ]
    compiled = qc.compile(model, target, feeds, scheme="int8", recipe="fast")
    y, u = compiled(feeds[0])
    assert (y.shape, u.shape) == ((64,), (4, 64))
    for found, wanted in ((y, feeds[0]["x"] @ weight), (u, feeds[0]["z"] @ weight)):
        assert np.square(found - wanted).sum() < 1e-2 * np.square(wanted).sum()


def _two_products(rows: int | str, width: int) -> onnx.ModelProto:
    """Q/DQ around two products of int8 weights with a Relu between."""
    net, rng = Net(), np.random.default_rng(0)
    net.input((rows, width))
    x = "x"
    for zero in (128, 0):
        stored = net.const(rng.integers(-127, 128, (width, width)).astype(np.int8))
        scale = net.const(np.linspace(0.001, 0.002, width, dtype=np.float32))
        weight = net.add("DequantizeLinear", stored, scale, axis=1)
        x = net.add("MatMul", _pair(net, x, np.uint8, zero), weight)
        x = net.add("Relu", x) if zero else x
    return net.model(x)


@needs_openvino
@pytest.mark.parametrize(
    ("rows", "width", "faulty"), [(2, 64, True), (2, 257, False), ("n", 64, False)]
)
def test_small_products_in_a_row(rows: int | str, width: int, faulty: bool) -> None:
    program = load(_two_products(rows, width))
    assert _rules(program) == ({"OV-F5"} if faulty else set())
    feed = {"x": np.random.default_rng(1).uniform(-6, 6, (2, width)).astype(np.float32)}
    wanted = OrtSession(program.model, optimize=False).run(feed)[0]
    noise = {}
    for kept in (True, False):
        session = OpenVinoSession(program.model, program.signature, threads=1, as_written=kept)
        noise[kept] = np.square(session.run(feed)[0] - wanted).sum() / np.square(wanted).sum()
    assert bool(noise[False] > 0.5) is faulty
    assert noise[True] < 1e-3  # a step here and there


@needs_openvino
@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_a_perceptron_of_fixed_size_is_right(target: str) -> None:
    rng = np.random.default_rng(0)
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[2,16] x) => (float[2,16] y) <float[16,16] w, float[16,16] u>
    { a = MatMul(x, w) b = Relu(a) y = MatMul(b, u) }"""
    model = onnx.parser.parse_model(text)
    del model.graph.initializer[:]
    w, u = (rng.standard_normal((16, 16)).astype(np.float32) for _ in range(2))
    for name, array in (("w", w), ("u", u)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    feeds = [{"x": rng.standard_normal((2, 16)).astype(np.float32)} for _ in range(4)]
    scheme = "int8" if target == "tensorrt" else "auto"
    compiled = qc.compile(model, target, feeds, scheme=scheme, recipe="fast")
    wanted = np.maximum(feeds[0]["x"] @ w, 0) @ u
    assert np.square(compiled(feeds[0])[0] - wanted).sum() < 1e-2 * np.square(wanted).sum()


@needs_openvino
def test_feeds_without_rows_give_no_rows_whatever_ran_before() -> None:
    net = Net()
    net.input(("n", 8, 8, 10))
    pooled = net.add("MaxPool", _int8_conv(net, _pair(net, "x", np.uint8, 128)),
                     kernel_shape=[2, 2])  # fmt: skip
    program = load(net.model(pooled))
    session = OpenVinoSession(program.model, program.signature)
    assert session.run({"x": FEED["x"]})[0].shape == (1, 8, 7, 9)
    assert session.run({"x": FEED["x"][:0]})[0].shape == (0, 8, 7, 9)
    assert session.run({"x": FEED["x"]})[0].shape == (1, 8, 7, 9)


@needs_openvino
def test_the_report_of_a_compilation_warns() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[2,8] x) => (float[2,3] v, int64[2,3] i) <int64[1] k = {3}> { v, i = TopK(x, k) }"""
    x = np.random.default_rng(0).permutation(16).reshape(2, 8).astype(np.float32)
    model = onnx.parser.parse_model(text)
    compiled = qc.compile(model, "openvino", [{"x": x}], scheme="float32", recipe="fast")
    assert "OV-F6" in {each.rule for each in compiled.report.diagnostics}
    assert "OV-F6" not in {
        each.rule for each in qc.compile(model, "onnxruntime", scheme="float32").report.diagnostics
    }
