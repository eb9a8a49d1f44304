"""The cost of edges between float and integer layers on OpenVINO."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.backends.openvino.edges import edge_model
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.execution.openvino.session import OpenVinoSession, available
from qcompiler.execution.session import OrtSession
from qcompiler.ir.signature import signature_of

needs_openvino = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)


@needs_openvino
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_the_measured_networks_run_in_the_precisions_asked_for(first: bool, second: bool) -> None:
    model = edge_model(first, second, 8)
    session = OpenVinoSession(model, signature_of(model), threads=1)
    kinds = [each.precision for each in session.layers() if each.kind == "Convolution"]
    assert kinds == ["u8" if quantized else "f32" for quantized in (first, second)]
    feed = {"x": np.random.default_rng(0).normal(0, 1, (1, 64, 8, 8)).astype(np.float32)}
    wanted = OrtSession(model, optimize=False).run(feed)[0]
    np.testing.assert_allclose(session.run(feed)[0], wanted, rtol=1e-4, atol=1e-5)


@needs_openvino
def test_an_edge_costs_less_than_copying_its_numbers_one_by_one() -> None:
    """Vector code converts several numbers per nanosecond; 10 ns each would be a broken clock."""
    cost = OpenVino(threads=1).conversion_cost()
    assert 0 <= cost.quantize < 1e-8
    assert 0 <= cost.dequantize < 1e-8
    assert 0 <= cost.fixed < 1e-3
