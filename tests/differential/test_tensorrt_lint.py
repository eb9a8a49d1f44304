"""The lint against NVIDIA's builder on a sample; `benchmarks.tensorrt_lint` compares all graphs."""

from __future__ import annotations

import pytest

from benchmarks.tensorrt_lint import all_cases, disagreement
from qcompiler.backends.tensorrt.gate import Gate, available

KNOWN = {
    "block-int4-activation-int4": "documented as weight-only, TensorRT-RTX compiles it",
    "block-int4-opset19": "no such ONNX type at opset 19, the parser does not mind",
    "opset-18-float8": "no such ONNX type at opset 18, the parser does not mind",
}
"""Graphs on which the lint follows the documentation and TensorRT-RTX accepts more."""


@pytest.mark.skipif(
    not available(), reason="the TensorRT-RTX wheels are absent: qcompiler[tensorrt-check]"
)
def test_lint_agrees_with_the_builder() -> None:
    cases = [case for index, case in enumerate(all_cases(chains=20)) if index % 2 == 0]
    assert len(cases) > 100
    with Gate(timeout=120) as gate:
        differing = {
            case.name: reason
            for case in cases
            if (
                reason := disagreement(
                    case, gate.check(case.model, compute_capability=case.compute_capability)
                )
            )
        }
    assert {name: why for name, why in differing.items() if name not in KNOWN} == {}
