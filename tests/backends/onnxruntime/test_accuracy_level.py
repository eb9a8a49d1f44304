"""`accuracy_level`: whether products with weights in blocks round their activations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import ConfigurationError
from qcompiler.ir.text import from_text
from tests.oracle import noise, normal_feed

K, N = 200, 40
WEIGHT = np.random.default_rng(0).standard_normal((K, N)).astype(np.float32)


def compiled_at(level: int, scheme: str, call: str = "MatMul(x, w)") -> qc.Compiled:
    program = from_text(
        f"g (float[4,{K}] x) => (float[4,{N}] y) <float[{K},{N}] w> {{ [it] y = {call} }}",
        {"w": WEIGHT},
    )
    target = OnnxRuntime(1, accuracy_level=level)
    return qc.compile(program, target, [normal_feed(1, x=(4, K))], scheme=scheme)


@pytest.mark.parametrize("scheme", ["int8-weights", "int4-weights-affine-b64", "int2-weights"])
@pytest.mark.parametrize("call", ["MatMul(x, w)", "Gemm(x, w)"])
def test_level_1_computes_with_float_activations(scheme: str, call: str) -> None:
    """A one-hot row gives the stored weights themselves: what is computed with is known exactly."""
    exact, fast = (compiled_at(level, scheme, call) for level in (1, 4))
    assert exact.plan.precisions == fast.plan.precisions == {"it": scheme}
    assert exact.kernels.ops == fast.kernels.ops == {"MatMulNBits": 1}
    stored = np.concatenate(
        [
            exact.run({"x": 64 * rows.astype(np.float32)})[0] / 64
            for rows in np.eye(K).reshape(-1, 4, K)
        ]
    )
    assert 0 < noise(WEIGHT, stored) < 0.5
    x = normal_feed(2, x=(4, K))["x"]
    wanted = x @ stored
    bound = 2.0**-22 * np.sqrt(K) * (np.abs(x) @ np.abs(stored)).max()
    np.testing.assert_allclose(exact.run({"x": x})[0], wanted, rtol=0, atol=bound)
    # The control: rounded activations are off by more than float32 sums are.
    assert np.abs(fast.run({"x": x})[0] - wanted).max() > 4 * bound


def test_the_level_stands_in_the_file_and_survives_loading(tmp_path: Path) -> None:
    compiled = compiled_at(1, "int4-weights")
    path = compiled.save(tmp_path / "it.onnx")
    (node,) = [each for each in onnx.load(path).graph.node if each.op_type == "MatMulNBits"]
    levels = [each.i for each in node.attribute if each.name == "accuracy_level"]
    assert levels == [1]
    x = normal_feed(3, x=(4, K))
    np.testing.assert_array_equal(qc.load_compiled(path).run(x)[0], compiled.run(x)[0])


@pytest.mark.parametrize("level", [0, 2, 5, "4"])
def test_other_levels_are_refused(level: int) -> None:
    with pytest.raises(ConfigurationError, match="accuracy_level"):
        OnnxRuntime(1, accuracy_level=level)
