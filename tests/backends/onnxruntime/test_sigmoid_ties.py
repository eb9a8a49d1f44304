"""ONNX Runtime tabulates an approximated Sigmoid: halfway between two steps it may differ."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.target.arithmetic import Arithmetic

SCALE, ZERO, TIED = np.float32(0.09134957194328308), 120, 76
"""255 * sigmoid(SCALE * (TIED - ZERO)) is 1.8e-6 from a whole number and a half."""


def _compiled() -> qc.Compiled:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[256] x) => (float[256] y) { y = Sigmoid(x) }"""
    )
    feed = {"x": SCALE * (np.arange(256) - ZERO).astype(np.float32)}
    ends = {"x": (float(feed["x"].min()), float(feed["x"].max()))}
    return qc.compile(model, "onnxruntime", [feed], ranges=ends, scheme="int8", recipe="fast")


def test_a_tie_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = _compiled()
    assert compiled.verify().ok
    monkeypatch.setattr(OnnxRuntime, "arithmetic", Arithmetic())
    strict = compiled.verify()
    assert [dict(each.lsb) for each in strict.failed] == [{0: 255, 1: 1}]
