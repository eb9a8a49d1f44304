"""What a convolution gives out and others read in integers, in models of open sizes (OV-F2)."""

from __future__ import annotations

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.execution.openvino.session import available
from qcompiler.execution.session import OrtSession
from qcompiler.ir.text import from_text

READERS = {
    "Conv": "[e] y = Conv<pads = [1, 1, 1, 1]>(a, v)",
    "Relu, Conv": "r = Relu(a) [e] y = Conv<pads = [1, 1, 1, 1]>(r, v)",
    "Add": "[e] y = Add(a, x)",
    "MaxPool": "[e] y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a)",
    "Sigmoid, Mul": "s = Sigmoid(a) [e] y = Mul(a, s)",
}
_KEPT = 50.0
"""dB: both compute the same integers; a value in the middle of two may go either way."""


@pytest.mark.skipif(not available(), reason="openvino is not installed: qcompiler[openvino]")
@pytest.mark.parametrize("batch", ["N", "3"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_given_out_and_read_is_right(reader: str, batch: str) -> None:
    """OpenVINO gave 0 dB: it fuses the Q that the reader reads into the convolution."""
    rng = np.random.default_rng(0)
    shape = f"float[{batch},8,9,9]"
    text = f"g ({shape} x) => ({shape} a, {shape} y) <float[8,8,3,3] w, float[8,8,3,3] v> "
    text += f"{{ [c] a = Conv<pads = [1, 1, 1, 1]>(x, w) {READERS[reader]} }}"
    weights = {name: (rng.standard_normal((8, 8, 3, 3)) / 8).astype(np.float32) for name in "wv"}
    feeds = [{"x": rng.standard_normal((3, 8, 9, 9)).astype(np.float32)} for _ in range(3)]
    model = from_text(text, weights).model
    compiled = qc.compile(model, OpenVino(threads=1), feeds, scheme="int8", recipe="fast")
    assert "int8" in compiled.plan.precisions.values()
    engine = OrtSession(compiled.program.model, optimize=False)
    for wanted, found in zip(engine.run(feeds[0]), compiled.run(feeds[0]), strict=True):
        noise = np.square(wanted - found, dtype=np.float64).sum()
        signal = np.square(wanted, dtype=np.float64).sum()
        assert 10 * np.log10(signal / max(noise, 1e-30)) > _KEPT
