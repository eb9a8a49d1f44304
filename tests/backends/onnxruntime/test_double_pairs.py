"""One rounding between two kernels: ONNX Runtime would merge two on a grid of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.text import from_text

Array = npt.NDArray[Any]

BETWEEN = {
    "MatMul+Relu": "[a] m = MatMul(x, w) [r] h = Relu(m)",
    "MatMul+Clip": "[a] m = MatMul(x, w) [r] h = Clip(m, low, high)",
    "activations+Relu": "[a] m = MatMul(x, x) [r] h = Relu(m)",
    "LeakyRelu+Relu": "[a] m = MatMul(x, w) [l] n = LeakyRelu<alpha = 0.3>(m) [r] h = Relu(n)",
    "Concat+Relu": "[a] m = MatMul(x, w) [c] n = Concat<axis = 0>(m, x) [r] h = Relu(n)",
    "Where+Relu": "[a] m = MatMul(x, w) [c] n = Where(side, m, x) [r] h = Relu(n)",
    "Sigmoid+Clip": "[a] m = MatMul(x, w) [s] n = Sigmoid(m) [r] h = Clip(n, low, half)",
}


@dataclass(frozen=True)
class Doubled(OnnxRuntime):
    """The target without the pass that this is about."""

    name: ClassVar[str] = "doubled"
    placement: ClassVar[str] = OnnxRuntime.placement.replace("merge-double-pairs,", "")


def _compiled(between: str, target: qc.Target | str) -> tuple[qc.Compiled, list[Array]]:
    generator = np.random.default_rng(0)
    side = generator.random((16, 16)) > 0.5
    program = from_text(
        "g (float[16,16] x) => (float[N,16] y) <float[16,16] w, float[16,16] v, bool[16,16] side, "
        "float low = {0.0}, float high = {3.0}, float half = {0.6}> "
        f"{{ {BETWEEN[between]} [b] y = MatMul(h, v) }}"
    )
    stored: dict[str, Array] = {"side": side}
    stored |= {name: generator.standard_normal((16, 16)).astype(np.float32) for name in "wv"}
    for name, array in stored.items():
        if name in program.graph.initializers:
            program.graph.initializers[name].const_value = _tensor(array, name)
    feeds = [generator.standard_normal((16, 16)).astype(np.float32) for _ in range(4)]
    found = qc.compile(
        program, target, [{"x": each} for each in feeds], scheme="int8", recipe="fast"
    )
    return found, feeds


def _tensor(array: Array, name: str) -> Any:
    return ir.Tensor(array, name=name)


def _share_off(compiled: qc.Compiled, feeds: list[Array], path: Path) -> float:
    """Elements by which ONNX Runtime's default differs from the file as it stands, by a step.

    A step of the output is at least its range over 255. Kernels multiply by one float32, where the
    file divides: that may move a tie, once in thousands of elements.
    """
    compiled.save(path)
    runs = []
    for level in (
        ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    ):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        session = ort.InferenceSession(path, options)
        runs.append(np.stack([session.run(None, {"x": each})[0] for each in feeds]))
    step = np.ptp(runs[0]) / 255
    return float(np.mean(np.abs(runs[0] - runs[1]) > step / 2))


@pytest.mark.parametrize("between", BETWEEN)
def test_the_file_means_what_onnxruntime_computes(between: str, tmp_path: Path) -> None:
    compiled, feeds = _compiled(between, "onnxruntime")
    assert compiled.verify().ok
    assert {"a", "b"} <= set(compiled.kernels.integer)
    assert _share_off(compiled, feeds, tmp_path / "m.onnx") < 0.005


@pytest.mark.parametrize("between", ["MatMul+Relu", "Sigmoid+Clip"])
def test_verify_tells_that_onnxruntime_writes_another_grid(between: str, tmp_path: Path) -> None:
    """The control: with both pairs in the file many outputs are a step off, and that is said."""
    compiled, feeds = _compiled(between, Doubled())
    assert _share_off(compiled, feeds, tmp_path / "m.onnx") > 0.03
    found = compiled.verify()
    assert not found.ok
    assert "writes scale" in str(found.problems)


def test_readers_of_the_first_rounding_keep_it(tmp_path: Path) -> None:
    """ONNX Runtime merges nothing that is read elsewhere, and neither is it merged here."""
    program = from_text(
        """g (float[4,8] x) => (float[4,8] y, float[4,8] z) <float[8,8] w>
        { [a] m = MatMul(x, w) [r] h = Relu(m) [b] y = MatMul(h, w) [c] z = MatMul(m, w) }"""
    )
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    program.graph.initializers["w"].const_value = _tensor(weight, "w")
    feeds = [{"x": np.random.default_rng(i).standard_normal((4, 8)).astype("f")} for i in range(4)]
    compiled = qc.compile(program, "onnxruntime", feeds, scheme="int8", recipe="fast")
    assert compiled.verify().ok
    wanted = [np.maximum(feeds[0]["x"] @ weight, 0) @ weight, feeds[0]["x"] @ weight @ weight]
    for exact, got in zip(wanted, compiled(feeds[0]), strict=True):
        assert np.sqrt(np.mean((exact - got) ** 2)) < 0.1 * exact.std()
