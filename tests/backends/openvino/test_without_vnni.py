"""OpenVINO told to do without VNNI (ONEDNN_MAX_CPU_ISA): who relies on it gets wrong results."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("openvino")
SCRIPT = """
import json, sys
import numpy as np
import onnx_ir as ir
import onnxruntime
import qcompiler as qc
from qcompiler.ir.text import from_text

NETS = {
    "Conv": ("float[1,64,8,8] x", "float[16,64,3,3] w", "Conv<pads=[1,1,1,1]>(x, w)"),
    "depthwise": ("float[1,64,8,8] x", "float[64,1,3,3] w", "Conv<group=64>(x, w)"),
    "MatMul": ("float[4,64] x", "float[64,16] w", "MatMul(x, w)"),
}
rng, found = np.random.default_rng(0), {}
for name, (x, w, op) in NETS.items():
    rank = x.count(",") + 1
    y = "float[" + ",".join("ABCD"[:rank]) + "] y"
    dims = [int(each) for each in w[6:].partition("]")[0].split(",")]
    weight = rng.uniform(0.98, 1.0, dims).astype(np.float32)
    program = from_text(f"net ({x}) => ({y}) <{w}> {{ y = {op} }}", {"w": weight})
    shape = [int(each) for each in x[6:].partition("]")[0].split(",")]
    feeds = [{"x": rng.uniform(0.9, 1.0, shape).astype(np.float32)} for _ in range(3)]
    proto = ir.to_proto(program.model).SerializeToString()
    wanted = onnxruntime.InferenceSession(proto).run(None, feeds[0])[0]
    for cpu in ("vnni", "portable", "native"):
        target = f"openvino{{cpu={cpu}}}"
        compiled = qc.compile(program, target, feeds, scheme="int8", recipe="fast")
        error = np.abs(compiled.run(feeds[0])[0] - wanted).max() / np.abs(wanted).max()
        found[f"{name} {cpu}"] = float(error)
print(json.dumps(found))
"""
HALF_A_STEP_EACH = 0.5 / 63 + 0.5 / 255 + 0.5 / 255
"""Of weights of 7 bits, of activations and of results, relative to the largest."""


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True, text=True, check=True, timeout=240, env=environment,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("kind", ["Conv", "depthwise", "MatMul"])
def test_portable_weights_are_right(errors: dict[str, float], kind: str) -> None:
    assert errors[f"{kind} portable"] <= HALF_A_STEP_EACH
    assert errors[f"{kind} native"] <= HALF_A_STEP_EACH  # the variable is obeyed


def test_others_saturate(errors: dict[str, float]) -> None:
    """The control: what the rule is there for."""
    assert errors["Conv vnni"] > 5 * HALF_A_STEP_EACH
