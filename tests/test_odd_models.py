"""Odd but valid models, each under every scheme: right results or an error of ours.

The oracle is ONNX Runtime on the source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import LegalityError

Array = npt.NDArray[Any]
Feeds = list[dict[str, Array]]
Case = tuple[str, dict[str, Array], Feeds]

RNG = np.random.default_rng(7)
BOUND = {"int8": 0.01, "dynamic": 0.01, "int8-weights": 0.01, "int4-weights": 0.06}
"""Noise-to-signal ratio: three layers at 25 dB each, or of 4 bits at about 17 dB each."""

FLOAT_ONLY = {"double precision", "nothing to quantize", "no inputs"}
"""Nothing in these has an integer form."""


def _normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def _images(count: int = 1) -> Feeds:
    return [{"x": _normal(count, 3, 9, 9)} for _ in range(3)]


def _vectors(*shape: int) -> Feeds:
    return [{"x": _normal(*shape)} for _ in range(3)]


FILTER, SECOND, SQUARE = _normal(8, 3, 3, 3), _normal(8, 8, 3, 3), _normal(64, 64) / 8
CASES: dict[str, Callable[[], Case]] = {
    "scalar inputs": lambda: (
        "g (float x, float s) => (float y) { a = Mul(x, s) y = Add(a, s) }",
        {},
        [{"x": np.asarray(i, np.float32), "s": np.asarray(2.0, np.float32)} for i in range(1, 4)],
    ),
    "empty batches": lambda: (
        "g (float[n,64] x) => (float[n,64] y) <float[64,64] w> { a = MatMul(x, w) y = Relu(a) }",
        {"w": SQUARE},
        [{"x": _normal(count, 64)} for count in (3, 0, 5)],
    ),
    "only empty batches": lambda: (
        "g (float[n,64] x) => (float[n,64] y) <float[64,64] w> { y = MatMul(x, w) }",
        {"w": SQUARE},
        [{"x": _normal(0, 64)}] * 2,
    ),
    "vectors": lambda: (
        "g (float[64] x) => (float[64] y) <float[64,64] w> { a = MatMul(x, w) y = Relu(a) }",
        {"w": SQUARE},
        _vectors(64),
    ),
    "half precision": lambda: (
        "g (float16[4,64] x) => (float16[4,64] y) <float16[64,64] w> { y = MatMul(x, w) }",
        {"w": SQUARE.astype(np.float16)},
        [{"x": _normal(4, 64).astype(np.float16)} for _ in range(2)],
    ),
    "half beside single": lambda: (
        """g (float16[4,64] x) => (float16[4,64] y) <float[64,64] w, float16[64,64] h>
        { a = Cast<to = 1>(x) b = MatMul(a, w) c = Cast<to = 10>(b) y = MatMul(c, h) }""",
        {"w": SQUARE, "h": SQUARE.astype(np.float16)},
        [{"x": _normal(4, 64).astype(np.float16)} for _ in range(2)],
    ),
    "double precision": lambda: (
        "g (double[4,64] x) => (double[4,64] y) <double[64,64] w> { y = MatMul(x, w) }",
        {"w": SQUARE.astype(np.float64)},
        [{"x": _normal(4, 64).astype(np.float64)} for _ in range(2)],
    ),
    "strings": lambda: (
        """g (float[4,64] x, string[2] s) => (float[4,64] y, string[2] t) <float[64,64] w>
        { y = MatMul(x, w) t = Identity(s) }""",
        {"w": SQUARE},
        [{"x": _normal(4, 64), "s": np.asarray(["a", "b"], object)} for _ in range(2)],
    ),
    "sequences": lambda: (
        """g (float[4,64] x) => (float[4,64] y) <float[64,64] w>
        { p, q = Split<axis = 1, num_outputs = 2>(x) s = SequenceConstruct(p, q)
          c = ConcatFromSequence<axis = 1>(s) y = MatMul(c, w) }""",
        {"w": SQUARE},
        _vectors(4, 64),
    ),
    "pads of every kind": lambda: (
        """g (float[n,3,9,9] x) => (float[n,8,d,e] y) <float[8,3,3,3] w, float[8,8,3,3] v>
        { a = Conv<auto_pad = "SAME_UPPER", strides = [2,2]>(x, w) b = Relu(a)
          c = Conv<pads = [0,1,2,3]>(b, v)
          y = AveragePool<kernel_shape = [2,2], auto_pad = "SAME_LOWER">(c) }""",
        {"w": FILTER, "v": SECOND},
        _images(),
    ),
    "an output twice, and one inside": lambda: (
        """g (float[n,3,9,9] x) => (float[n,8,7,7] y, float[n,8,7,7] a, float[n,8,7,7] y)
        <float[8,3,3,3] w> { a = Conv(x, w) y = Relu(a) }""",
        {"w": FILTER},
        _images(),
    ),
    "weights and inputs as outputs": lambda: (
        """g (float[4,64] x) => (float[4,64] y, float[64,64] w, float[64] b, float[4,64] x)
        <float[64,64] w, float[64] b> { a = Gemm<transB = 1>(x, w, b) y = Relu(a) }""",
        {"w": SQUARE, "b": _normal(64)},
        _vectors(4, 64),
    ),
    "one weight both ways": lambda: (
        """g (float[4,64] x) => (float[4,64] y) <float[64,64] w>
        { a = Gemm<transB = 1>(x, w) b = MatMul(a, w) y = Gemm<alpha = 0.5>(b, w) }""",
        {"w": SQUARE},
        _vectors(4, 64),
    ),
    "one-element constants": lambda: (
        """g (float[n,3,9,9] x) => (float[n,8,7,7] y) <float[8,3,3,3] w, float[1] k>
        { a = Conv(x, w) b = Mul(a, k) c = Add(b, k) y = Div(c, k) }""",
        {"w": FILTER, "k": np.asarray([1.7], np.float32)},
        _images(),
    ),
    "bodies with weights of their own": lambda: (
        """g (bool c, float[4,64] x) => (float[4,64] y) <float[64,64] w>
        { y = If(c) <
            then_branch = yes () => (float[4,64] t) { t = MatMul(x, w) },
            else_branch = no () => (float[4,64] e) { m = MatMul(x, w) e = Relu(m) } > }""",
        {"w": SQUARE},
        [{"c": np.asarray(i % 2 == 0), "x": _normal(4, 64)} for i in range(4)],
    ),
    "nothing to quantize": lambda: (
        "g (float[4,64] x) => (float[4,64] y) { y = Identity(x) }",
        {},
        _vectors(4, 64),
    ),
    "no inputs": lambda: (
        "g () => (float[1,8,7,7] y) <float[1,3,9,9] x, float[8,3,3,3] w> { y = Conv(x, w) }",
        {"x": _normal(1, 3, 9, 9), "w": FILTER},
        [{}, {}],
    ),
}


def _model(text: str, weights: dict[str, Array]) -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}')
    for name, array in weights.items():
        parsed.graph.initializer.append(numpy_helper.from_array(array, name))
    for info in [info for info in parsed.graph.value_info if info.name in weights]:
        parsed.graph.value_info.remove(info)
    return parsed


def _source(model: onnx.ModelProto | Path, feeds: Feeds) -> list[list[Array]]:
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(given, providers=["CPUExecutionProvider"])
    return [session.run(None, feed) for feed in feeds]


def _check(wanted: Sequence[Array], found: Sequence[Array], bound: float) -> None:
    assert len(wanted) == len(found)
    for one, other in zip(wanted, found, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if one.dtype.kind != "f":
            np.testing.assert_array_equal(one, other)
            continue
        error = np.square(one.astype(np.float64) - other).sum()
        assert error <= bound * np.square(one.astype(np.float64)).sum()


@pytest.mark.parametrize("scheme", BOUND)
@pytest.mark.parametrize("name", CASES)
def test_odd_models_are_right_or_refused(name: str, scheme: str, tmp_path: Path) -> None:
    text, weights, feeds = CASES[name]()
    model = _model(text, weights)
    wanted = _source(model, feeds)
    try:
        compiled = qc.compile(model, OnnxRuntime(1), feeds, scheme=scheme, recipe="fast")
    except LegalityError:
        assert scheme != "int8" or name in FLOAT_ONLY
        return
    assert name not in FLOAT_ONLY
    saved = _source(compiled.save(tmp_path / "out.onnx"), feeds)
    for feed, expected, from_file in zip(feeds, wanted, saved, strict=True):
        _check(expected, compiled.run(feed), BOUND[scheme])
        _check(expected, from_file, BOUND[scheme])


@pytest.mark.parametrize("name", ["nothing to quantize", "no inputs"])
def test_auto_returns_float_where_nothing_can_be_quantized(name: str) -> None:
    text, weights, feeds = CASES[name]()
    model = _model(text, weights)
    compiled = qc.compile(model, OnnxRuntime(1), feeds, recipe="fast")
    assert "no op that onnxruntime quantizes" in compiled.report.summary
    for feed, expected in zip(feeds, _source(model, feeds), strict=True):
        _check(expected, compiled.run(feed), 1e-12)


def test_small_external_weights_are_read(tmp_path: Path) -> None:
    """Those below the packing threshold as well, where ONNX Runtime would open the file itself."""
    text = """g (float[4,64] x) => (float[4,64] y) <float[64,64] w, float[64] b>
    { y = Gemm<transB = 1>(x, w, b) }"""
    path = tmp_path / "m.onnx"
    onnx.save(
        _model(text, {"w": SQUARE, "b": _normal(64)}),
        path,
        save_as_external_data=True,
        location="m.bin",
        size_threshold=0,
    )
    feeds = _vectors(4, 64)
    compiled = qc.compile(path, OnnxRuntime(1), feeds, scheme="int8", recipe="fast")
    for feed, expected in zip(feeds, _source(path, feeds), strict=True):
        _check(expected, compiled.run(feed), BOUND["int8"])


@pytest.mark.parametrize(
    "name", ["вес/重み[0] 😀", "n" * 2000, "a:0"], ids=["unicode", "long", "tf"]
)
def test_names_may_be_anything(name: str) -> None:
    nodes = [
        helper.make_node("Conv", [name, "w"], [f"{name}c"], name=f"{name}n"),
        helper.make_node("Relu", [f"{name}c"], [f"{name}y"], name=f"{name}m"),
    ]
    shapes = [(name, [1, 3, 9, 9]), (f"{name}y", [1, 8, 7, 7])]
    first, last = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes]
    graph = helper.make_graph(nodes, "g", [first], [last], [numpy_helper.from_array(FILTER, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    feeds = [{name: feed["x"]} for feed in _images()]
    compiled = qc.compile(model, OnnxRuntime(1), feeds, scheme="int8", recipe="fast")
    assert compiled.kernels.integer == (f"{name}n",)
    for feed, expected in zip(feeds, _source(model, feeds), strict=True):
        _check(expected, compiled.run(feed), BOUND["int8"])
