"""Quantized models compiled anew: same integers, same results, no data where none is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

import qcompiler as qc
from qcompiler.decisions.absorbed import SOURCE
from qcompiler.errors import CalibrationError
from tests.oracle import unoptimized_session

Array = npt.NDArray[Any]
Feed = dict[str, Array]

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N,3,8,8] x) => (float[N,5] y) {
    c = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(c)
    d = Conv<pads=[1,1,1,1]>(r, w2, b2) s = Add(r, d) t = Relu(s)
    p = GlobalAveragePool(t) f = Flatten(p) y = Gemm<transB=1>(f, w3, b3)
}"""


def _model(rng: np.random.Generator) -> onnx.ModelProto:
    model = onnx.parser.parse_model(TEXT)
    shapes = {
        "w1": (8, 3, 3, 3),
        "b1": (8,),
        "w2": (8, 8, 3, 3),
        "b2": (8,),
        "w3": (5, 8),
        "b3": (5,),
    }
    for name, shape in shapes.items():
        array = (rng.standard_normal(shape) * 0.3).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.fixture
def feeds() -> list[Feed]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((2, 3, 8, 8)).astype(np.float32)} for _ in range(4)]


class _Reader:
    """Feeds as ONNX Runtime's quantizer takes them."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._left = list(feeds)

    def get_next(self) -> Feed | None:
        return self._left.pop(0) if self._left else None


Quantize = Callable[..., Path]


@pytest.fixture
def quantized(tmp_path: Path, feeds: list[Feed]) -> Quantize:
    """The model as ONNX Runtime's static quantizer writes it."""

    def write(**options: Any) -> Path:
        source, path = tmp_path / "float.onnx", tmp_path / "quantized.onnx"
        onnx.save(_model(np.random.default_rng(0)), source)
        quantize_static(source, path, _Reader(feeds), **options)
        return path

    return write


def _run(path: Path, feeds: Sequence[Feed]) -> Array:
    """What the file means: ONNX Runtime without optimizations."""
    session = unoptimized_session(path)
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def _results(compiled: qc.Compiled, feeds: Sequence[Feed]) -> Array:
    return np.concatenate([np.asarray(compiled.run(feed)[0]) for feed in feeds])


def _steps_apart(compiled: qc.Compiled, wanted: Array, found: Array) -> Array:
    """Differences in steps of the output."""
    placement = compiled.program.placement
    assert placement is not None
    apart: Array = np.abs(wanted - found) / float(placement.params("y").scale)
    return apart


STATIC: dict[str, dict[str, Any]] = {
    "u8s8": {},
    "s8s8": {"activation_type": QuantType.QInt8},
    "per channel": {"per_channel": True},
    "reduced range": {"reduce_range": True, "per_channel": True},
    "operators": {"quant_format": QuantFormat.QOperator},
    "operators, per channel": {"quant_format": QuantFormat.QOperator, "per_channel": True},
}


@pytest.mark.parametrize("name", STATIC)
def test_static_files_keep_their_integers(
    name: str, quantized: Quantize, feeds: list[Feed]
) -> None:
    path = quantized(weight_type=QuantType.QInt8, **STATIC[name])
    compiled = qc.compile(str(path), "onnxruntime", feeds, scheme="int8", recipe="fast")
    placement = compiled.program.placement
    assert placement is not None
    found = [each.rounding.how for each in placement.regions.values() if each.rounding]
    assert found == [SOURCE] * 3
    assert placement.reranged == ()
    rules = [each.rule for each in compiled.report.diagnostics]
    assert "SOURCE02" not in rules  # the file as it came is what results are compared with
    apart = _steps_apart(compiled, _run(path, feeds), _results(compiled, feeds))
    assert np.mean(apart <= 1.001) >= 0.999


def test_a_fixed_range_needs_no_data(quantized: Quantize, feeds: list[Feed]) -> None:
    path = quantized(weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8)
    compiled = qc.compile(str(path), "onnxruntime", scheme="int8")
    assert "int8" in compiled.report.counts()
    apart = _steps_apart(compiled, _run(path, feeds), _results(compiled, feeds))
    assert np.mean(apart <= 1.001) >= 0.999
    with pytest.raises(CalibrationError):
        qc.compile(_model(np.random.default_rng(0)), "onnxruntime", scheme="int8")


def test_dynamic_files_keep_their_weights(tmp_path: Path, feeds: list[Feed]) -> None:
    source, path = tmp_path / "float.onnx", tmp_path / "dynamic.onnx"
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[N,16] x) => (float[N,6] y) '
    model = onnx.parser.parse_model(text + "{ y = MatMul(x, w) }")
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16, 6)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, source)
    quantize_dynamic(source, path, weight_type=QuantType.QInt8, per_channel=True)
    rows = [{"x": rng.standard_normal((3, 16)).astype(np.float32)} for _ in range(2)]
    compiled = qc.compile(str(path), "onnxruntime", rows, scheme="dynamic", recipe="fast")
    placement = compiled.program.placement
    assert placement is not None
    assert [each.rounding.how for each in placement.regions.values() if each.rounding] == [SOURCE]
    np.testing.assert_allclose(_results(compiled, rows), _run(path, rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "tensorrt"])
def test_our_own_files_come_back(target: str, tmp_path: Path, feeds: list[Feed]) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    path = tmp_path / "placed.onnx"
    model = _model(np.random.default_rng(0))
    qc.compile(model, target, feeds, scheme="int8", recipe="fast").save(path)
    compiled = qc.compile(str(path), "onnxruntime", feeds, scheme="int8", recipe="fast")
    placement = compiled.program.placement
    assert placement is not None
    assert all(each.rounding.how == SOURCE for each in placement.regions.values() if each.rounding)
    wanted, found = _run(path, feeds), _results(compiled, feeds)
    if target == "onnxruntime":
        np.testing.assert_array_equal(wanted, found)
    assert np.mean((wanted - found) ** 2) < 1e-3 * np.mean(wanted**2)  # 30 dB


def test_a_source_returned_as_it_came_verifies(
    quantized: Quantize, feeds: list[Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a plan, which asks for nothing: what its maker quantized is no promise of ours."""
    monkeypatch.setattr("qcompiler.search.searched.choose", lambda *_: "float")
    path = quantized(weight_type=QuantType.QInt8)
    compiled = qc.compile(str(path), "onnxruntime", feeds, scheme="auto", recipe="fast")
    kinds = {node.op_type for node in compiled.program.graph}
    assert "QuantizeLinear" in kinds
    checked = compiled.verify()
    assert checked.ok, checked.text()
    assert checked.integer == 0
