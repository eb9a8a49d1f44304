"""A form that is added to the table as simulated: nothing else has to know."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.ir.text import from_text
from qcompiler.quantization.qspace import U16_AFFINE
from qcompiler.target.capability import CapabilityTable

pytest.importorskip("openvino")
NET = """g (float[2,3,8,8] x) => (float[2,4,6,6] y) <float[4,3,3,3] w> {
    [cv] c = Conv(x, w) y = Relu(c) }"""


@dataclass(frozen=True)
class Wide(OpenVino):
    """OpenVINO with 16-bit activations in front of Conv, which its plugin computes in float."""

    @property
    def capabilities(self) -> CapabilityTable:
        row = super().capabilities.row("Conv")
        assert row is not None
        wide = replace(row.implementations[0], precision="wide", activation=U16_AFFINE)
        simulated = replace(wide, searched=False, simulated=True)
        forms = (*row.implementations, simulated)
        return super().capabilities.overlay([replace(row, implementations=forms)])


def test_a_simulated_row_is_planned_counted_and_verified_as_such() -> None:
    feeds = [{"x": np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)}]
    compiled = qc.compile(from_text(NET), Wide(), feeds, scheme="int16", recipe="fast")
    assert compiled.plan.precisions == {"cv": "wide"}
    assert "simulated" in compiled.plan.choices["cv"].reason
    assert compiled.kernels.simulated == ("cv",)
    assert not compiled.kernels.missed
    assert "1 regions are simulated" in compiled.verify().require().summary
