"""qnnpack adds where an operand's scale is from 2^-14 to 2^8 times that of the sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.backends.qnnpack import Qnnpack
from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.capabilities import BASE, ELEMENTWISE
from qcompiler.errors import LoweringError
from qcompiler.target.capability import CapabilityTable

pytestmark = pytest.mark.skipif(
    "qnnpack" not in adapter.available_engines(), reason="this torch has no qnnpack"
)
RNG = np.random.default_rng(0)
WIDE, NARROW = (RNG.normal(size=(2, 64)).astype(np.float32) for _ in range(2))
CASES = {
    "cancels": (WIDE, 1e-5 * NARROW - WIDE),
    "drowned": (WIDE, 1e-6 * NARROW),
    "drowned, the first": (1e-6 * NARROW, WIDE),
}


def _compiled(a: np.ndarray, b: np.ndarray) -> tuple[qc.Compiled, dict[str, np.ndarray]]:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,64] a, float[2,64] b) => (float[2,64] y) { y = Add(a, b) }"""
    )
    feed = {"a": a, "b": b}
    return qc.compile(model, "qnnpack", [feed], scheme="int8", recipe="fast"), feed


@pytest.mark.parametrize("name", CASES)
def test_sums_beyond_its_scales_stay_integers(name: str) -> None:
    compiled, feed = _compiled(*CASES[name])
    assert {each.precision for each in compiled.plan.choices.values()} == {"int8"}
    assert compiled.verify().ok
    wanted = feed["a"].astype(np.float64) + feed["b"]
    coarsest = max(np.ptp(each) for each in (*feed.values(), wanted)) / 255
    assert np.abs(compiled.run(feed)[0] - wanted).max() < 1.5 * coarsest  # three roundings


@pytest.mark.parametrize("name", CASES)
def test_without_the_bounds_the_engine_refuses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = BASE.row("Add")
    assert row is not None
    assert row.implementations == (replace(ELEMENTWISE, ratios=None),)
    monkeypatch.setattr(Qnnpack, "table", CapabilityTable((row,)))
    with pytest.raises(LoweringError, match="qnnpack refused"):
        _compiled(*CASES[name])
