"""Weights that cannot leave int16 in pairs: a proof for whatever integers a layer has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text


def product(weight: np.ndarray) -> Program:
    rows, columns = weight.shape
    text = f"""net (float[N,{rows}] x) => (float[N,{columns}] y) <float[{rows},{columns}] w> {{
        [mm] y = MatMul(x, w)
    }}"""
    return from_text(text, {"w": weight})


def bits(weight: np.ndarray, cpu: str, form: str = "int8") -> int:
    target = OnnxRuntime(cpu=cpu)
    (region,) = target.regions(product(weight))
    found = target.implementation(region, form)
    assert found is not None
    assert found.weight is not None
    return found.weight.used_bits


def alone(size: int = 8) -> np.ndarray:
    """One large weight in each column, so that no pair is large."""
    weight = np.zeros((size, size), np.float32)
    np.fill_diagonal(weight, 1.0)
    return weight


@pytest.mark.parametrize("form", ["int8", "int8-float-out", "int8-dynamic"])
def test_seven_bits_where_two_weights_of_a_column_are_large(form: str) -> None:
    weight = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    assert bits(weight, "portable", form) == bits(weight, "avx2", form) == 7
    assert bits(weight, "vnni", form) == 8


@pytest.mark.parametrize("form", ["int8", "int8-float-out", "int8-dynamic"])
def test_a_layer_that_cannot_saturate_keeps_its_bits(form: str) -> None:
    assert bits(alone(), "portable", form) == 8


def test_weight_only_forms_are_left_alone() -> None:
    weight = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    assert bits(weight, "portable", "int8-weights") == 8


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_recurrent_layers_have_no_proof(op: str) -> None:
    gates = 4 if op == "LSTM" else 3
    sizes = f"float[1,{4 * gates},3] w, float[1,{4 * gates},4] r"
    extra = ", linear_before_reset = 1" if op == "GRU" else ""
    program = from_text(
        f"""net (float[S,1,3] x) => (float[S,1,1,4] y) <{sizes}> {{
        [rnn] y = {op}<hidden_size = 4{extra}>(x, w, r)
    }}""",
        {
            "w": np.ones((1, 4 * gates, 3), np.float32),
            "r": np.ones((1, 4 * gates, 4), np.float32),
        },
    )
    for cpu, wanted in (("vnni", ["int8-dynamic"]), ("portable", [])):
        target = OnnxRuntime(cpu=cpu)
        (region,) = target.regions(program)
        assert [each.precision for each in target.implementations(region)] == wanted


@pytest.mark.parametrize(("cpu", "warned"), [("native", True), ("portable", False)])
def test_a_file_that_relies_on_more_than_this_processor_has_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpu: str, warned: bool
) -> None:
    weight = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    feeds = [{"x": np.random.default_rng(i).random((4, 16), np.float32)} for i in range(2)]
    target = f"onnxruntime{{cpu={cpu}}}"
    compiled = qc.compile(product(weight), target, feeds, scheme="int8", recipe="fast")
    path = compiled.save(tmp_path / "m.onnx")
    monkeypatch.setattr("qcompiler.target.processor.native_dot_products", lambda: False)
    told = qc.load_compiled(path).report.warnings
    assert any("may saturate" in each for each in told) == warned


def test_stored_weights_keep_to_seven_bits() -> None:
    weight = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    feeds = [{"x": np.random.default_rng(i).random((4, 16), np.float32)} for i in range(4)]
    largest = {}
    for cpu in ("vnni", "portable"):
        target = f"onnxruntime{{cpu={cpu}}}"
        compiled = qc.compile(product(weight), target, feeds, scheme="int8", recipe="fast")
        stored = [
            value.const_value.numpy()
            for value in compiled.program.graph.initializers.values()
            if value.const_value is not None and value.const_value.dtype.name == "INT8"
        ]
        largest[cpu] = max(int(np.abs(each.astype(int)).max()) for each in stored)
        assert compiled.verify().ok
    assert largest["vnni"] == 127
    assert largest["portable"] in (63, 64)
