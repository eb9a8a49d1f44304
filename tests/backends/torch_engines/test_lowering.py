"""Whole programs: foreign Q/DQ models, float islands, control flow, calling conventions, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime import quantization as ortq

import qcompiler as qc
from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower
from qcompiler.errors import LoweringError
from qcompiler.frontends import load

ENGINES = adapter.available_engines()


class Reader(ortq.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, rng: Any, shape: Any) -> None:
        self._feeds = iter([{name: rng.normal(0, 1, shape).astype(np.float32)} for _ in range(4)])

    def get_next(self) -> Any:
        return next(self._feeds, None)


def small_network(qdq: Any, rng: Any) -> tuple[onnx.ModelProto, str]:
    """Conv, Relu, depthwise Conv, residual Add, MaxPool, Concat, pooling, Gemm."""
    g = qdq()
    x = g.input([2, 8, 12, 12])

    def weight(*shape: int) -> str:
        bound = 1 / np.sqrt(np.prod(shape[1:]))
        return str(g.constant(rng.uniform(-bound, bound, shape).astype(np.float32)))

    a = g.node("Relu", g.node("Conv", x, weight(16, 8, 3, 3), weight(16), pads=[1] * 4))
    b = g.node("Conv", a, weight(16, 16, 3, 3), weight(16), pads=[1] * 4)
    a = g.node("Relu", g.node("Add", a, b))
    a = g.node("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    b = g.node("Conv", a, weight(16, 16, 1, 1), weight(16))
    a = g.node("Concat", a, b, axis=1)
    a = g.node("Flatten", g.node("GlobalAveragePool", a))
    return g.model(g.node("Gemm", a, weight(10, 32), weight(10), transB=1)), x


FORMS = {
    "u8s8-per-channel": {"per_channel": True},
    "u8s8": {},
    "s8s8": {"activation_type": ortq.QuantType.QInt8, "per_channel": True},
    "u8u8": {"weight_type": ortq.QuantType.QUInt8, "activation_type": ortq.QuantType.QUInt8},
    "unfolded": {"extra_options": {"AddQDQPairToWeight": True}},
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("engine", ENGINES)
def test_models_quantized_by_onnxruntime(
    engine: str, form: str, qdq: Any, rng: Any, tmp_path: Path
) -> None:
    model, name = small_network(qdq, rng)
    onnx.save(model, tmp_path / "float.onnx")
    options: Any = {"weight_type": ortq.QuantType.QInt8, **FORMS[form]}
    ortq.quantize_static(
        tmp_path / "float.onnx", tmp_path / "q.onnx", Reader(name, rng, (2, 8, 12, 12)),
        quant_format=ortq.QuantFormat.QDQ, **options,
    )  # fmt: skip
    program = load(tmp_path / "q.onnx")
    lowered = lower(program.model, Setting(engine))
    quantized = {op: n for op, n in lowered.kernels.ops.items() if op.startswith("quantized.")}
    asymmetric = form == "u8u8" and engine in ("onednn", "x86")
    refused = sum("zero point" in reason for reason in lowered.kernels.missed.values())
    weighted = sum(n for op, n in quantized.items() if "conv2d" in op or "linear" in op)
    assert weighted + refused == 4
    assert (refused > 0) == asymmetric
    data = rng.normal(0, 1, (2, 8, 12, 12)).astype(np.float32)
    expected = ort.InferenceSession(tmp_path / "q.onnx").run(None, {name: data})[0]
    with adapter.engine_scope(engine), torch.no_grad():
        got = lowered.module(torch.from_numpy(data))[0].numpy()
    noise = np.sum((got - expected) ** 2) / np.sum(expected**2)
    assert noise < 1e-3, "30 dB: a few LSB of rounding, no wrong kernel"


def test_an_unknown_op_is_named_before_anything_is_built() -> None:
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["y"], name="strings"),
        helper.make_node("Pile", ["m"], ["z"], name="heap", domain="other"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.STRING, [3]),
        helper.make_tensor_value_info("m", TensorProto.FLOAT, [2, 2]),
    ]
    ends = [onnx.ValueInfoProto(name="y"), onnx.ValueInfoProto(name="z")]
    graph = helper.make_graph(nodes, "g", inputs, ends)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("other", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    with pytest.raises(
        LoweringError, match=r"StringNormalizer with elements of type STRING, .*other::Pile"
    ) as raised:
        lower(load(model).model, Setting("fbgemm"))
    assert "heap" in str(raised.value)


def test_an_unknown_engine_is_an_error(qdq: Any) -> None:
    g = qdq()
    program = g.program(g.node("Relu", g.input([2])))
    with pytest.raises(LoweringError, match="no quantized engine none-such"):
        lower(program.model, Setting("none-such"))


def _graph(name: str, nodes: Any, inputs: Any, outputs: Any) -> Any:
    make = helper.make_tensor_value_info
    return helper.make_graph(
        nodes, name, [make(n, t, s) for n, t, s in inputs], [make(n, t, s) for n, t, s in outputs]
    )


F, N, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def if_model() -> onnx.ModelProto:
    then = _graph("t", [helper.make_node("Add", ["x", "k"], ["a"])], [], [("a", F, [3])])
    other = _graph("e", [helper.make_node("Mul", ["x", "x"], ["b"])], [], [("b", F, [3])])
    nodes = [
        helper.make_node("Neg", ["k0"], ["k"]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [("c", B, []), ("x", F, [3]), ("k0", F, [3])]
    return helper.make_model(
        _graph("g", nodes, inputs, [("y", F, [3])]),
        opset_imports=[helper.make_opsetid("", 21)], ir_version=10,
    )  # fmt: skip


def loop_model() -> onnx.ModelProto:
    body = _graph(
        "b",
        [
            helper.make_node("Add", ["s", "x"], ["s2"]),
            helper.make_node("Identity", ["go"], ["go2"]),
            helper.make_node("Mul", ["s2", "s2"], ["row"]),
        ],
        [("i", N, []), ("go", B, []), ("s", F, [3])],
        [("go2", B, []), ("s2", F, [3]), ("row", F, [3])],
    )
    nodes = [helper.make_node("Loop", ["n", "c", "x"], ["last", "rows"], body=body)]
    inputs = [("n", N, []), ("c", B, []), ("x", F, [3])]
    return helper.make_model(
        _graph("g", nodes, inputs, [("last", F, [3]), ("rows", F, ["k", 3])]),
        opset_imports=[helper.make_opsetid("", 21)], ir_version=10,
    )  # fmt: skip


def scan_model() -> onnx.ModelProto:
    body = _graph(
        "b",
        [helper.make_node("Add", ["s", "v"], ["s2"]), helper.make_node("Sqrt", ["s2"], ["row"])],
        [("s", F, [3]), ("v", F, [3])],
        [("s2", F, [3]), ("row", F, [3])],
    )
    nodes = [helper.make_node("Scan", ["x", "seq"], ["l", "rows"], body=body, num_scan_inputs=1)]
    inputs = [("x", F, [3]), ("seq", F, [4, 3])]
    return helper.make_model(
        _graph("g", nodes, inputs, [("l", F, [3]), ("rows", F, [4, 3])]),
        opset_imports=[helper.make_opsetid("", 21)], ir_version=10,
    )  # fmt: skip


X, K = np.array([1, 2, 3], np.float32), np.array([5, 6, 7], np.float32)
CONTROL = [
    (if_model, [np.array(True), X, K]),
    (if_model, [np.array(False), X, K]),
    (loop_model, [np.array(4), np.array(True), X]),
    (scan_model, [X, np.arange(12, dtype=np.float32).reshape(4, 3)]),
]


@pytest.mark.parametrize(("make", "data"), CONTROL)
def test_control_flow(make: Any, data: Any) -> None:
    model = make()
    program = load(model)
    lowered = lower(program.model, Setting("fbgemm"))
    feed = dict(zip((i.name for i in model.graph.input), data, strict=True))
    expected = ort.InferenceSession(model.SerializeToString()).run(None, feed)
    with torch.no_grad():
        got = lowered.module(*(torch.from_numpy(np.array(each)) for each in data))
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)


@pytest.mark.parametrize("later", [True, False])
def test_fused_add_never_overwrites_what_is_read_later(later: bool, qdq: Any, rng: Any) -> None:
    w = rng.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8)
    g = qdq()
    x = g.pair(g.input([1, 8, 6, 6]), 0.02, 120)
    skip = g.pair(g.node("Conv", x, g.weight(w, np.float32(0.004)), pads=[1] * 4), 0.1, 100)
    inner = g.pair(g.node("Relu", skip), 0.1, 100)
    product = g.node("Conv", inner, g.weight(w, np.float32(0.001)), pads=[1] * 4)
    y = g.pair(g.node("Relu", g.node("Add", product, skip)), 0.1, 3)
    ends = [y, g.node("Neg", skip)] if later else [y]
    model, program = g.model(*ends), g.program(*ends)
    lowered = lower(program.model, Setting("onednn"))
    assert lowered.kernels.ops.get("quantized.conv2d_add_relu.default", 0) == (0 if later else 1)
    assert bool(lowered.kernels.missed) == later
    data = rng.normal(0, 1, (1, 8, 6, 6)).astype(np.float32)
    name = model.graph.input[0].name
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {name: data})
    with adapter.engine_scope("onednn"), torch.no_grad():
        got = lowered.module(torch.from_numpy(data))
    for ours, theirs in zip(got, expected, strict=True):
        assert np.abs(ours.numpy() - theirs).max() <= 0.1001, "one step"
        assert np.mean(ours.numpy() != theirs) < 0.02


def test_fused_add_would_overwrite_its_skip_operand() -> None:
    """Negative control: the engine really works in place."""
    with adapter.engine_scope("onednn"):
        x = torch._make_per_tensor_quantized_tensor(
            torch.full((1, 8, 4, 4), 9, dtype=torch.uint8), 0.1, 0
        )
        x = x.contiguous(memory_format=torch.channels_last)
        packed = adapter.pack_conv(
            np.ones((8, 8, 1, 1), np.int8),
            np.float32(0.1),
            np.int64(0),
            None,
            adapter.Window.plain(2),
        )
        skip = x.clone(memory_format=torch.preserve_format)
        adapter.op("conv2d_add")(x, skip, packed, 0.5, 0)
        assert skip.q_scale() == 0.5


@pytest.mark.parametrize(
    ("shape", "fuses"),
    [([2, 8, 6, 6], True), ([1, 8, 6, 6], False), ([2, 8, 1, 1], False), ([8, 1, 1], False)],
)
def test_a_skip_operand_that_is_broadcast_is_not_overwritten(
    shape: list[int], fuses: bool, qdq: Any, rng: Any
) -> None:
    """conv2d_add writes the whole result over it: beyond its memory, if it is smaller."""
    w = rng.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8)
    g = qdq()
    x = g.pair(g.input([2, 8, 6, 6]), 0.02, 120)
    skip = g.pair(g.node("Relu", g.input(shape)), 0.1, 100)
    product = g.node("Conv", x, g.weight(w, np.float32(0.001)), pads=[1] * 4)
    y = g.quantize(g.node("Add", product, skip), 0.1, 100)
    lowered = lower(g.program(y, dtype=2).model, Setting("onednn"))
    assert bool(lowered.kernels.ops.get("quantized.conv2d_add.default", 0)) == fuses
    assert bool(lowered.kernels.missed) != fuses


def test_types_that_numpy_has_not_are_computed_and_saved(tmp_path: Path) -> None:
    """bfloat16, float8 and 4-bit constants and results survive saving."""
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[3] x) => (bfloat16[3] b,
    float8e4m3fn[3] e, int4[3] i, uint4[3] u) { b = Cast<to = 16>(x) e = Cast<to = 17>(x)
    i = Cast<to = 22>(x) u = Cast<to = 21>(x) }"""
    compiled = qc.compile(onnx.parser.parse_model(text), "fbgemm", scheme="float32")
    feed = np.array([-3.0, 2.0, 500.0], np.float32)
    compiled.save(tmp_path / "types.pt")
    again = qc.load_compiled(tmp_path / "types.pt")
    for run in (compiled.run, again.run):
        b, e, i, u = run({"x": feed})
        assert b.dtype == ml_dtypes.bfloat16
        assert np.array_equal(b.astype(np.float32), feed)
        assert e.astype(np.float32).tolist() == [-3.0, 2.0, 448.0]
        assert (i.dtype, i.astype(int).tolist()) == (ml_dtypes.int4, [-3, 2, 4])
        assert (u.dtype, u.astype(int).tolist()) == (ml_dtypes.uint4, [13, 2, 4])
