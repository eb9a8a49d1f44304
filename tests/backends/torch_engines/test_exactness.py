"""Every integer kernel on random shapes against integer arithmetic in numpy.

Oracle: float64 sums of integers (exact), one float32 multiplier per channel, round half to even,
clamp. fbgemm adds the bias in float: (acc + b / (sx * sw)) * m; qnnpack adds it in int32. Bounds
are those of docs/torch-engines.md: fbgemm and qnnpack 0 LSB, onednn and x86 1 LSB on 0.1 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import Lowered, lower

ENGINES = adapter.available_engines()
_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
SX, ZX, SY, ZY = 0.02, 120, 0.11, 110


def integers(lowered: Lowered, engine: str, *inputs: Any) -> Any:
    """The uint8 output of a lowered program."""
    with adapter.engine_scope(engine), torch.no_grad():
        return lowered.module(*(torch.from_numpy(each) for each in inputs))[0].numpy()


def requantize(
    total: Any, scale: Any, bias: Any, engine: str, relu: bool, channel_axis: int, size: int
) -> Any:
    """Integers out of exact sums, with each engine's bias rule."""
    shape = [-1 if i == channel_axis else 1 for i in range(total.ndim)]
    scales = np.broadcast_to(np.asarray(scale, np.float32), (size,)).reshape(shape)
    step = np.float32(SX) * scales
    steps = (
        bias.reshape(shape)
        if engine == "qnnpack"
        else ((bias.reshape(shape).astype(np.float32) * step) / step)
    )
    multiplier = step / np.float32(SY)
    product = (total.astype(np.float32) + steps.astype(np.float32)) * multiplier
    levels = np.rint(product) + ZY
    return np.clip(levels, ZY if relu else 0, 255).astype(np.uint8)


def assert_close(got: Any, expected: Any, engine: str) -> None:
    difference = np.abs(got.astype(np.int16) - expected.astype(np.int16))
    assert got.shape == expected.shape
    assert np.ptp(expected) > 20, "the case does not exercise the output range"
    if engine in ("fbgemm", "qnnpack"):
        assert difference.max() == 0
    else:
        assert difference.max() <= 1
        assert np.mean(difference > 0) <= max(0.001, 2 / difference.size)


CONV_CASES = [
    # spatial, in, out, groups, kernel, attributes, per channel, bias, relu
    (1, 6, 8, 1, (3,), {"pads": [1, 1]}, True, True, False),
    (2, 8, 12, 1, (3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}, True, True, True),
    (2, 3, 8, 1, (5, 5), {"pads": [2, 1, 2, 1]}, False, True, False),
    (2, 3, 8, 1, (3, 3), {"pads": [0, 1, 2, 1]}, True, False, False),
    (2, 16, 16, 4, (3, 3), {"dilations": [2, 2]}, True, False, True),
    (2, 5, 7, 1, (1, 1), {}, True, True, False),
    (2, 6, 9, 1, (3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, True, True, False),
    (3, 4, 6, 1, (3, 3, 3), {"pads": [1] * 6}, True, False, False),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CONV_CASES, ids=[f"{c[0]}d-{c[4]}" for c in CONV_CASES])
def test_conv(engine: str, case: Any, qdq: Any, rng: Any) -> None:
    spatial, cin, cout, groups, kernel, attributes, channels, biased, relu = case
    size = [11, 9, 7][:spatial]
    w = rng.integers(-127, 128, (cout, cin // groups, *kernel)).astype(np.int8)
    span = np.sqrt(w[0].size) * 127 * 74 * SX
    scale = rng.uniform(6, 20, cout if channels else ()) * SY * 5 / span
    scale = np.asarray(scale, np.float32)
    bias = rng.integers(-9000, 9000, cout) if biased else np.zeros(cout)
    g = qdq()
    x = g.input([2, cin, *size])
    parts = [g.pair(x, SX, ZX), g.weight(w, scale)]
    parts += [g.bias(bias, np.float32(SX) * scale)] if biased else []
    y = g.node("Conv", *parts, group=groups, **attributes)
    y = g.node("Relu", y) if relu else y
    program = g.program(g.quantize(y, SY, ZY), dtype=2)
    lowered = lower(program.model, Setting(engine))
    assert lowered.kernels.missed == {}
    q = rng.integers(0, 256, (2, cin, *size)).astype(np.uint8)
    real = ((q.astype(np.float32) - ZX) * np.float32(SX)).astype(np.float32)
    centred = torch.from_numpy(q.astype(np.float64) - ZX)
    total = _exact_conv(centred, torch.from_numpy(w.astype(np.float64)), groups, attributes)
    expected = requantize(total, scale, bias, engine, relu, 1, cout)
    assert_close(integers(lowered, engine, real), expected, engine)


def _exact_conv(x: Any, w: Any, groups: int, attributes: Any) -> Any:
    rank = w.dim() - 2
    stride = attributes.get("strides", [1] * rank)
    dilation = attributes.get("dilations", [1] * rank)
    pads = attributes.get("pads", [0] * 2 * rank)
    if attributes.get("auto_pad") == "SAME_UPPER":
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in
                  zip(x.shape[2:], stride, w.shape[2:], strict=True)]  # fmt: skip
        pads = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    flat = [pads[a + side * rank] for a in reversed(range(rank)) for side in (0, 1)]
    padded = functional.pad(x, flat)
    return _CONV[rank](padded, w, None, stride, 0, dilation, groups).numpy()


TRANSPOSED_CASES = [
    (1, 8, 8, 1, (3,), {"strides": [2]}),
    (2, 6, 6, 1, (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    (2, 8, 6, 1, (4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    (2, 8, 8, 2, (3, 3), {}),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", TRANSPOSED_CASES, ids=[str(c[:5]) for c in TRANSPOSED_CASES])
def test_conv_transpose(engine: str, case: Any, qdq: Any, rng: Any) -> None:
    spatial, cin, cout, groups, kernel, attributes = case
    size = [7, 6][:spatial]
    w = rng.integers(-127, 128, (cin, cout // groups, *kernel)).astype(np.int8)
    scale = np.float32(0.004)
    g = qdq()
    x = g.input([2, cin, *size])
    y = g.node("ConvTranspose", g.pair(x, SX, ZX), g.weight(w, scale), group=groups, **attributes)
    program = g.program(g.quantize(y, SY * 4, ZY), dtype=2)
    lowered = lower(program.model, Setting(engine))
    q = rng.integers(0, 256, (2, cin, *size)).astype(np.uint8)
    real = ((q.astype(np.float32) - ZX) * np.float32(SX)).astype(np.float32)
    unequal = cin != cout and engine in ("x86", "onednn")
    assert bool(lowered.kernels.missed) == unequal
    total = _TRANSPOSE[spatial](
        torch.from_numpy(q.astype(np.float64) - ZX), torch.from_numpy(w.astype(np.float64)), None,
        attributes.get("strides", 1), attributes.get("pads", [0])[0], 0, groups,
    ).numpy()  # fmt: skip
    multiplier = np.float32(SX) * scale / np.float32(SY * 4)
    expected = np.clip(np.rint(total.astype(np.float32) * multiplier) + ZY, 0, 255).astype(np.uint8)
    assert_close(integers(lowered, engine, real), expected, "x86" if unequal else engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", ["gemm", "gemm_kn", "matmul_add", "matmul_3d"])
def test_linear(engine: str, form: str, qdq: Any, rng: Any) -> None:
    k, n = 24, 17
    w = rng.integers(-127, 128, (n, k)).astype(np.int8)
    scale = rng.uniform(0.002, 0.006, n).astype(np.float32)
    bias = rng.integers(-9000, 9000, n)
    shape = (3, 5, k) if form == "matmul_3d" else (7, k)
    g = qdq()
    x = g.pair(g.input(shape), SX, ZX)
    b = g.bias(bias, np.float32(SX) * scale)
    if form == "gemm":
        y = g.node("Gemm", x, g.weight(w, scale), b, transB=1)
    elif form == "gemm_kn":
        y = g.node("Gemm", x, g.weight(np.ascontiguousarray(w.T), scale, axis=1), b)
    else:
        product = g.node("MatMul", x, g.weight(np.ascontiguousarray(w.T), scale, axis=1))
        y = g.node("Add", b, product) if form == "matmul_add" else g.node("Add", product, b)
    y = g.node("Relu", y)
    program = g.program(g.quantize(y, SY, ZY), dtype=2)
    lowered = lower(program.model, Setting(engine))
    assert lowered.kernels.ops.get("quantized.linear_relu.default") == 1
    q = rng.integers(0, 256, shape).astype(np.uint8)
    real = ((q.astype(np.float32) - ZX) * np.float32(SX)).astype(np.float32)
    total = (q.astype(np.float64) - ZX) @ w.T.astype(np.float64)
    expected = requantize(total, scale, bias, engine, True, total.ndim - 1, n)
    assert_close(integers(lowered, engine, real), expected, engine)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


UNARY: dict[str, tuple[Callable[[Any], Any], dict[str, Any], float, int]] = {
    "Sigmoid": (sigmoid, {}, 1 / 256, 0),
    "Tanh": (np.tanh, {}, 1 / 128, 128),
    "HardSwish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), {}, 0.012, 20),
    "LeakyRelu": (lambda x: np.where(x < 0, 0.1 * x, x), {"alpha": 0.1}, 0.012, 30),
    "Elu": (lambda x: np.where(x < 0, 0.7 * np.expm1(x), x), {"alpha": 0.7}, 0.012, 70),
    "HardSigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), {"alpha": 1 / 6}, 1 / 256, 0),
    "Softmax": (lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True), {"axis": -1}, 1 / 256, 0),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("op", list(UNARY))
def test_unary(engine: str, op: str, qdq: Any, rng: Any) -> None:
    function, attributes, scale, zero = UNARY[op]
    g = qdq()
    x = g.input([3, 4, 32])
    y = g.node(op, g.pair(x, SX, ZX), **attributes)
    lowered = lower(g.program(g.quantize(y, scale, zero), dtype=2).model, Setting(engine))
    assert not lowered.kernels.missed
    assert len(lowered.kernels.integer) == 1
    q = rng.integers(0, 256, (3, 4, 32)).astype(np.uint8)
    real = (q.astype(np.float64) - ZX) * np.float32(SX)
    expected = np.clip(np.rint(function(real) / np.float32(scale)) + zero, 0, 255)
    got = integers(lowered, engine, real.astype(np.float32))
    difference = np.abs(got.astype(np.int16) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) <= 0.02


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("other", [(2, 4, 5, 5), (4, 1, 1), (2, 4, 1, 1), (1,)])
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("relu", [True, False])
def test_binary(engine: str, other: Any, op: str, relu: bool, qdq: Any, rng: Any) -> None:
    g = qdq()
    a, b = g.input([2, 4, 5, 5]), g.input(other)
    y = g.node(op, g.pair(a, SX, ZX), g.pair(b, 0.03, 77))
    y = g.node("Relu", y) if relu else y
    lowered = lower(g.program(g.quantize(y, 0.05, 60), dtype=2).model, Setting(engine))
    assert len(lowered.kernels.integer) == 1
    qa, qb = (rng.integers(0, 256, s).astype(np.uint8) for s in ((2, 4, 5, 5), other))
    ra = (qa.astype(np.float64) - ZX) * np.float32(SX)
    rb = (qb.astype(np.float64) - 77) * np.float32(0.03)
    exact = (ra + rb if op == "Add" else ra * rb) / np.float32(0.05)
    expected = np.clip(np.rint(exact) + 60, 60 if relu else 0, 255)
    got = integers(lowered, engine, ra.astype(np.float32), rb.astype(np.float32))
    difference = np.abs(got.astype(np.int16) - expected)
    ties = np.abs(exact - np.floor(exact) - 0.5) < 1e-4
    assert difference[~ties].max(initial=0) == 0
    assert difference.max() <= 1


@pytest.mark.parametrize("engine", ENGINES)
def test_concat_of_different_scales(engine: str, qdq: Any, rng: Any) -> None:
    g = qdq()
    a, b = g.input([2, 3, 4]), g.input([2, 5, 4])
    y = g.node("Concat", g.pair(a, SX, ZX), g.pair(b, 0.5, 3), axis=1)
    lowered = lower(g.program(g.quantize(y, 0.37, 9), dtype=2).model, Setting(engine))
    qa, qb = (rng.integers(0, 256, (2, c, 4)).astype(np.uint8) for c in (3, 5))
    ra, rb = (qa - 120.0) * np.float32(SX), (qb - 3.0) * np.float32(0.5)
    exact = np.concatenate([ra, rb], 1) / np.float32(0.37)
    expected = np.clip(np.rint(exact.astype(np.float32)) + 9, 0, 255)
    got = integers(lowered, engine, ra.astype(np.float32), rb.astype(np.float32))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_average_pool_gives_the_nearest_integer(engine: str, qdq: Any, rng: Any) -> None:
    g = qdq()
    x = g.input([1, 8, 8, 8])
    y = g.node("AveragePool", g.pair(x, SX, ZX), kernel_shape=[2, 2], strides=[2, 2])
    lowered = lower(g.program(g.quantize(y, SX, ZX), dtype=2).model, Setting(engine))
    q = rng.integers(0, 256, (1, 8, 8, 8)).astype(np.uint8)
    mean = q.reshape(1, 8, 4, 2, 4, 2).astype(np.float64).mean((3, 5))
    real = ((q - 120.0) * np.float32(SX)).astype(np.float32)
    got = integers(lowered, engine, real).astype(np.float64)
    assert np.abs(got - mean).max() <= 0.5 + 1e-3, "float sums take ties either way"


NORMS = {
    "LayerNormalization": ([6], {"axis": -1}),
    "GroupNormalization": ([4], {"num_groups": 2}),
    "InstanceNormalization": ([4], {}),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("op", list(NORMS))
def test_normalization(engine: str, op: str, qdq: Any, rng: Any) -> None:
    shape, attributes = NORMS[op]
    scale, bias = rng.uniform(0.5, 1.5, shape), rng.uniform(-1, 1, shape)
    g = qdq()
    x = g.input([2, 4, 5, 6])
    constants = [g.constant(each.astype(np.float32)) for each in (scale, bias)]
    y = g.node(op, g.pair(x, SX, ZX), *constants, **attributes)
    lowered = lower(g.program(g.quantize(y, 0.03, 120), dtype=2).model, Setting(engine))
    assert len(lowered.kernels.integer) == 1
    q = rng.integers(0, 256, (2, 4, 5, 6)).astype(np.uint8)
    real = (q.astype(np.float64) - ZX) * np.float32(SX)
    along: tuple[int, ...]
    if op == "LayerNormalization":
        grouped, along = real, (-1,)
    else:
        grouped = real.reshape(2, 2, 2, 5, 6) if op == "GroupNormalization" else real
        along = (2, 3, 4) if op == "GroupNormalization" else (2, 3)
    centred = grouped - grouped.mean(along, keepdims=True)
    normal = (centred / np.sqrt((centred**2).mean(along, keepdims=True) + 1e-5)).reshape(real.shape)
    place = (-1,) if op == "LayerNormalization" else (-1, 1, 1)
    exact = normal * scale.reshape(place) + bias.reshape(place)
    expected = np.clip(np.rint(exact / np.float32(0.03)) + 120, 0, 255)
    difference = np.abs(integers(lowered, engine, real.astype(np.float32)) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) <= 0.01


MOVES: dict[str, tuple[list[Any], dict[str, Any], Callable[[Any], Any]]] = {
    "Reshape": ([np.array([2, -1])], {}, lambda q: q.reshape(2, -1)),
    "Transpose": ([], {"perm": [0, 2, 3, 1]}, lambda q: q.transpose(0, 2, 3, 1)),
    "Slice": ([np.array([1]), np.array([3]), np.array([1])], {}, lambda q: q[:, 1:3]),
    "Pad": ([np.array([0, 0, 1, 1, 0, 0, 1, 2])], {},
            lambda q: np.pad(q, [(0, 0), (0, 0), (1, 1), (1, 2)], constant_values=ZX)),
    "MaxPool": ([], {"kernel_shape": [2, 2], "strides": [2, 2]},
                lambda q: q.reshape(2, 4, 3, 2, 3, 2).max((3, 5))),
    "Gather": ([np.array([2, 0])], {"axis": 1}, lambda q: q[:, [2, 0]]),
    "DepthToSpace": ([], {"blocksize": 2, "mode": "CRD"},
                     lambda q: q.reshape(2, 1, 2, 2, 6, 6).transpose(0, 1, 4, 2, 5, 3)
                     .reshape(2, 1, 12, 12)),
    "Resize": (["", np.array([1, 1, 2, 2], np.float32)],
               {"mode": "nearest", "nearest_mode": "floor",
                "coordinate_transformation_mode": "asymmetric"},
               lambda q: q.repeat(2, 2).repeat(2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("form", ["between", "on integers"])
@pytest.mark.parametrize("op", list(MOVES))
def test_movement_stays_on_integers(op: str, form: str, dtype: Any, qdq: Any, rng: Any) -> None:
    extra, attributes, function = MOVES[op]
    zero = ZX if dtype is np.uint8 else ZX - 128
    g = qdq()
    x = g.input([2, 4, 6, 6])
    operands = ["" if isinstance(e, str) else g.constant(e) for e in extra]
    if form == "between":
        y = g.quantize(
            g.node(op, g.pair(x, SX, zero, dtype), *operands, **attributes), SX, zero, dtype
        )
    else:
        operands += [g.constant(dtype(zero))] if op == "Pad" else []
        y = g.node(op, g.quantize(x, SX, zero, dtype), *operands, **attributes)
    y = g.dequantize(y, SX, zero, dtype)
    lowered = lower(g.program(y).model, Setting("fbgemm"))
    assert "int_repr" not in lowered.module.code
    assert lowered.module.code.count("dequantize") == 1 + lowered.module.code.count(
        "dequantizelinear"
    )
    q = rng.integers(0, 256, (2, 4, 6, 6)).astype(np.uint8)
    real = ((q - 120.0) * np.float32(SX)).astype(np.float32)
    expected = (function(q).astype(np.float32) - ZX) * np.float32(SX)
    np.testing.assert_array_equal(integers(lowered, "fbgemm", real), expected)
