"""Quantized graph in, float graph and its author's parameters out; every form that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.ir.text import to_text

Array = npt.NDArray[Any]
Fixture = Callable[..., Any]

XS, YS, SS = np.float32(0.05), np.float32(0.06), np.float32(1 / 256)
IMAGE, MATRIX = (2, 4, 8, 8), (3, 16)
Q, D = "xq = QuantizeLinear(x, xs, xz)", "y = DequantizeLinear(yq, ys, yz)"
P = "y = DequantizeLinear(p, xs, xz)"
DYNAMIC = "xq, ds, dz = DynamicQuantizeLinear(x)"


def _arrays() -> dict[str, Array]:
    rng = np.random.default_rng(0)

    def signed(*shape: int) -> Array:
        return rng.integers(-127, 128, shape).astype(np.int8)

    found: dict[str, Any] = {
        "xs": XS, "xz": np.asarray(120, np.uint8), "ys": YS, "yz": np.asarray(110, np.uint8),
        "ss": SS, "sz": np.asarray(0, np.uint8), "kernel": signed(6, 4, 3, 3),
        "unsigned": rng.integers(0, 256, (6, 4, 3, 3)).astype(np.uint8),
        "middle": np.asarray(128, np.uint8), "matrix": signed(16, 6), "turned": signed(6, 16),
        "ws": np.float32(0.003), "wz": np.asarray(0, np.int8),
        "channel": rng.uniform(0.001, 0.003, 6).astype(np.float32), "zeros": np.zeros(6, np.int8),
        "bias": rng.integers(-3000, 3000, 6).astype(np.int32), "ones": np.ones(6, np.float32),
        "row": rng.integers(0, 256, 16).astype(np.uint8), "xws": np.float32(XS * 0.003),
        "mask": np.arange(16) % 2 == 0, "edges": np.asarray([0, 2, 1, 0]),
        "filled": np.asarray(200, np.uint8),
        "lines": rng.integers(0, 256, (2, 16)).astype(np.uint8),
    }  # fmt: skip
    return {name: np.asarray(array) for name, array in found.items()}


X, Y, MS = "xq, xs, xz", "ys, yz", "com.microsoft."
FORMS: dict[str, tuple[str, tuple[int, ...], str]] = {
    "QLinearConv": (
        f"{Q} yq = QLinearConv<pads=[1,1,1,1]>({X}, kernel, channel, zeros, {Y}, bias) {D}",
        IMAGE, "Conv",
    ),
    "QLinearConv, u8 weight": (
        f"{Q} yq = QLinearConv({X}, unsigned, ws, middle, {Y}) {D}", IMAGE, "Conv"
    ),
    "QLinearMatMul": (f"{Q} yq = QLinearMatMul({X}, matrix, ws, wz, {Y}) {D}", MATRIX, "MatMul"),
    "QLinearMatMul, channels": (
        f"{Q} yq = QLinearMatMul({X}, matrix, channel, zeros, {Y}) {D}", MATRIX, "MatMul"
    ),
    "QGemm": (
        f"{Q} yq = {MS}QGemm<transB=1>({X}, turned, channel, zeros, bias, {Y}) {D}", MATRIX, "Gemm"
    ),
    "QGemm to float": (
        f"{Q} y = {MS}QGemm<transB=1>({X}, turned, channel, zeros, bias) ", MATRIX, "Gemm"
    ),
    "QLinearAdd": (f"{Q} yq = {MS}QLinearAdd({X}, {X}, {Y}) {D}", MATRIX, "Add"),
    "QLinearAdd, constant": (
        f"{Q} yq = {MS}QLinearAdd({X}, row, ws, middle, {Y}) {D}", MATRIX, "Add"
    ),
    "QLinearMul": (f"{Q} yq = {MS}QLinearMul({X}, {X}, {Y}) {D}", MATRIX, "Mul"),
    "QLinearSigmoid": (
        f"{Q} yq = {MS}QLinearSigmoid({X}, ss, sz) y = DequantizeLinear(yq, ss, sz)",
        MATRIX, "Sigmoid",
    ),
    "QLinearSoftmax": (
        (f"{Q} yq = {MS}QLinearSoftmax<axis=-1, opset=13>({X}, ss, sz)"
        "y = DequantizeLinear(yq, ss, sz)"), MATRIX, "Softmax",
    ),
    "QLinearLeakyRelu": (
        f"{Q} yq = {MS}QLinearLeakyRelu<alpha=0.1>({X}, {Y}) {D}", MATRIX, "LeakyRelu"
    ),
    "QLinearAveragePool": (
        f"{Q} yq = {MS}QLinearAveragePool<kernel_shape=[2,2], strides=[2,2]>({X}, {Y}) {D}",
        IMAGE, "AveragePool",
    ),
    "QLinearGlobalAveragePool": (
        f"{Q} yq = {MS}QLinearGlobalAveragePool<channels_last=0>({X}, {Y}) {D}",
        IMAGE, "GlobalAveragePool",
    ),
    "QLinearConcat": (f"{Q} yq = {MS}QLinearConcat<axis=1>({Y}, {X}, {X}) {D}", MATRIX, "Concat"),
    "QLinearWhere": (f"{Q} yq = {MS}QLinearWhere(mask, {X}, {X}, {Y}) {D}", MATRIX, "Where"),
    "movers": (
        (f"{Q} p = MaxPool<kernel_shape=[2,2]>(xq) t = Transpose<perm=[0,2,3,1]>(p) "
        "y = DequantizeLinear(t, xs, xz)"), IMAGE, "MaxPool Transpose",
    ),
    "Pad by the integer 0": (f"{Q} p = Pad(xq, edges) {P}", MATRIX, "Pad"),
    "Pad by the zero point": (f"{Q} p = Pad(xq, edges, xz) {P}", MATRIX, "Pad"),
    "Pad by another integer": (f"{Q} p = Pad(xq, edges, filled) {P}", MATRIX, "Pad"),
    "Pad by what is there": (
        f"{Q} p = Pad<mode=\"edge\">(xq, edges, filled) {P}", MATRIX, "Pad"
    ),
    "Concat with stored integers": (
        f"{Q} p = Concat<axis=0>(xq, lines, lines) {P}", MATRIX, "Concat"
    ),
    "Gather from stored integers": (
        f"i = Cast<to=7>(x) p = Gather(row, i) {P}", MATRIX, "Cast Gather"
    ),
    "MatMulInteger, dynamic": (
        (f"{DYNAMIC} a = MatMulInteger(xq, matrix, dz, zeros) c = Cast<to=1>(a) "
        "m = Mul(ds, channel) y = Mul(c, m)"), MATRIX, "MatMul",
    ),
    "MatMulInteger, two Mul and a bias": (
        (f"{DYNAMIC} a = MatMulInteger(xq, matrix, dz) c = Cast<to=1>(a) m = Mul(c, ds) "
        "n = Mul(ws, m) y = Add(n, ones)"), MATRIX, "MatMul Add",
    ),
    "MatMulInteger, static": (
        f"{Q} a = MatMulInteger(xq, matrix, xz) c = Cast<to=1>(a) y = Mul(c, xws)",
        MATRIX, "MatMul",
    ),
    "ConvInteger": (
        (f"{DYNAMIC} a = ConvInteger(xq, unsigned, dz) c = Cast<to=1>(a) m = Mul(ds, ws) "
        "y = Mul(c, m)"), IMAGE, "Conv",
    ),
    "MatMulIntegerToFloat": (
        f"{DYNAMIC} y = {MS}MatMulIntegerToFloat(xq, matrix, ds, channel, dz, zeros, ones)",
        MATRIX, "MatMul Add",
    ),
    "DynamicQuantizeMatMul": (
        f"y = {MS}DynamicQuantizeMatMul(x, matrix, ws, wz)", MATRIX, "MatMul"
    ),
    "Q/DQ": (
        (f"{Q} xd = DequantizeLinear(xq, xs, xz) "
        f"w = DequantizeLinear<axis=1>(matrix, channel, zeros) p = MatMul(xd, w) "
        f"yq = QuantizeLinear(p, ys, yz) {D}"), MATRIX, "MatMul",
    ),
}  # fmt: skip


def _on_grid(shape: tuple[int, ...]) -> Array:
    """Data that the input's parameters, fixed or taken from it, stand for exactly."""
    integers = np.random.default_rng(1).integers(0, 256, shape)
    integers.reshape(-1)[:2] = 0, 255
    return np.asarray((integers - 120) * XS, np.float32)


@pytest.mark.parametrize("name", FORMS)
def test_the_float_graph_computes_what_the_integers_stand_for(
    name: str, build: Fixture, run: Fixture, absorb: Fixture
) -> None:
    body, shape, ops = FORMS[name]
    dims = ",".join(map(str, shape))
    rank = ",".join("abcd"[: len(shape)])
    used = {key: array for key, array in _arrays().items() if key in body.replace("(", " ")}
    model = build(f"g (float[{dims}] x) => (float[{rank}] y) {{ {body} }}", used)
    feed = {"x": _on_grid(shape)}
    wanted, program = run(model, feed), absorb(model)
    assert [node.op_type for node in program.graph] == ops.split()
    found = run(program, feed)
    step = 0.0
    if "yq" in body:
        written = program.absorbed.values["y"]
        assert written.same_as(written)
        reach = written.representable
        found, step = np.clip(found, reach.low, reach.high), float(written.scale)
    # Half a step of the output; averages round once more; the rest is float32 over 144 terms.
    slack = 144 * 2.0**-24 * 255 * float(np.abs(wanted).max()) + 1e-6
    assert np.abs(found - wanted).max() <= step * (1.0 if "Pool" in name else 0.5001) + slack


def test_golden_text(build: Fixture, absorb: Fixture) -> None:
    text = f"""g (float[2,4] x) => (float[2,2] y) {{
        {Q} xd = DequantizeLinear(xq, xs, xz)
        w = DequantizeLinear<axis=1>(q, channel)
        b = DequantizeLinear(i, bs)
        p = Gemm(xd, w, b)
        pq = QuantizeLinear(p, ss, sz) pd = DequantizeLinear(pq, ss, sz)
        y = Sigmoid(pd)
    }}"""
    arrays = {
        "q": np.asarray([[1, 2], [3, 4], [5, 6], [7, -8]], np.int8),
        "channel": np.asarray([0.5, 0.25], np.float32),
        "i": np.asarray([4, -4], np.int32), "bs": np.float32(0.5),
        "xs": XS, "xz": np.asarray(120, np.uint8), "ss": SS, "sz": np.asarray(0, np.uint8),
    }  # fmt: skip
    program = absorb(build(text, arrays))
    assert to_text(program).split("g (", 1)[1] == (
        "float[2,4] x) => (float[2,2] y)\n"
        "   <float[4,2] q_float = {0.5, 0.5, 1.5, 1.0, 2.5, 1.5, 3.5, -2.0}, "
        "float[2] i_float = {2.0, -2.0}>\n"
        "{\n"
        "   [Gemm_p] p = Gemm (x, q_float, i_float)\n"
        "   [p_relu_Relu] p_relu = Relu (p)\n"
        "   [Sigmoid_y] y = Sigmoid (p_relu)\n"
        "}\n"
    )
    values = program.absorbed.values
    assert {name: int(params.zero_point) for name, params in values.items()} == {
        "x": 120,
        "p_relu": 0,
    }


@pytest.mark.parametrize(("high", "op"), [(6.0, "Clip"), (9.0, "Relu")])
def test_saturation_that_stood_for_an_activation_is_written_again(
    high: float, op: str, build: Fixture, run: Fixture, absorb: Fixture
) -> None:
    arrays = {"s": np.float32(high / 255), "z": np.asarray(0, np.uint8)}
    text = "g (float[4,4] x) => (float[4,4] y) { n = Neg(x) q = QuantizeLinear(n, s, z) "
    model = build(text + "d = DequantizeLinear(q, s, z) y = Neg(d) }", arrays)
    program = absorb(model)
    assert [node.op_type for node in program.graph] == ["Neg", op, "Neg"]
    x = np.linspace(-high, high, 16, dtype=np.float32).reshape(4, 4)
    feed = {"x": x * (2 if op == "Clip" else 1)}
    assert np.abs(run(model, feed) - run(program, feed)).max() <= high / 510 * 1.0001


def test_what_is_never_negative_gets_no_relu(build: Fixture, absorb: Fixture) -> None:
    arrays = {"s": SS, "z": np.asarray(0, np.uint8)}
    text = "g (float[4,4] x) => (float[4,4] y) { n = Softmax(x) q = QuantizeLinear(n, s, z) "
    program = absorb(build(text + "d = DequantizeLinear(q, s, z) y = Neg(d) }", arrays))
    assert [node.op_type for node in program.graph] == ["Softmax", "Neg"]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("points", [False, True])
def test_products_in_blocks_of_bits(
    bits: int, points: bool, build: Fixture, run: Fixture, absorb: Fixture
) -> None:
    rng, (inputs, outputs, block, blocks) = np.random.default_rng(0), (40, 6, 16, 3)
    arrays: dict[str, Array] = {
        "w": rng.integers(0, 256, (outputs, blocks, block * bits // 8)).astype(np.uint8),
        "s": rng.uniform(0.01, 0.02, outputs * blocks).astype(np.float32),
    }
    if points:
        count = outputs * -(-blocks * bits // 8)
        arrays["z"] = rng.integers(0, 256, count).astype(np.uint8)
    model = build(
        f"g (float[3,40] x) => (float[3,6] y) {{ y = {MS}MatMulNBits<K={inputs}, N={outputs}, "
        f"bits={bits}, block_size={block}>({', '.join(['x', *arrays])}) }}",
        arrays,
    )
    program = absorb(model)
    assert [node.op_type for node in program.graph] == ["MatMul"]
    feed = {"x": rng.standard_normal((3, 40)).astype(np.float32)}
    np.testing.assert_allclose(run(program, feed), run(model, feed), rtol=1e-5, atol=1e-4)


def test_blocks_with_negative_scales_are_read(
    build: Fixture, run: Fixture, absorb: Fixture
) -> None:
    """ONNX Runtime's symmetric 4-bit quantizer divides by the largest element, sign and all."""
    rng = np.random.default_rng(0)
    arrays = {
        "q": rng.integers(-8, 8, (32, 6)).astype(np.int8),
        "s": rng.uniform(-0.1, 0.1, (2, 6)).astype(np.float32),
    }
    text = "g (float[3,32] x) => (float[3,6] y) "
    model = build(
        text + "{ w = DequantizeLinear<axis=0, block_size=16>(q, s) y = MatMul(x, w) }", arrays
    )
    program = absorb(model)
    assert [node.op_type for node in program.graph] == ["MatMul"]
    feed = {"x": rng.standard_normal((3, 32)).astype(np.float32)}
    np.testing.assert_allclose(run(program, feed), run(model, feed), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_read_stays_and_is_told(
    build: Fixture, absorb: Fixture, run: Fixture
) -> None:
    """Activations quantized per channel."""
    arrays = {"s": np.asarray([0.1, 0.2], np.float32), "z": np.asarray([3, 4], np.uint8)}
    text = "g (float[3,2] x) => (float[3,2] y) { q = QuantizeLinear<axis=1>(x, s, z) "
    model = build(text + "y = DequantizeLinear<axis=1>(q, s, z) }", arrays)
    program = absorb(model)
    assert [node.op_type for node in program.graph] == ["QuantizeLinear", "DequantizeLinear"]


def test_a_float_graph_is_left_alone(build: Fixture, absorb: Fixture) -> None:
    program = absorb(build("g (float[2] x) => (float[2] y) { y = Relu(x) }", {}))
    assert program.absorbed is None


def test_inputs_and_outputs_in_integers_keep_their_types(
    build: Fixture, absorb: Fixture, run: Fixture
) -> None:
    arrays: Mapping[str, Array] = {key: _arrays()[key] for key in ("xs", "xz", "ys", "yz")}
    text = "g (uint8[2,4] i) => (uint8[2,4] o) { x = DequantizeLinear(i, xs, xz) r = Neg(x) "
    model = build(text + "o = QuantizeLinear(r, ys, yz) }", arrays)
    program = absorb(model)
    assert set(program.absorbed.values) == {"x", "r"}
    feed = {"i": np.arange(8, dtype=np.uint8).reshape(2, 4)}
    np.testing.assert_array_equal(run(program, feed), run(model, feed))
