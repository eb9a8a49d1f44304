"""Dynamic LSTM and GRU: every engine within the derived bound, and what the bound catches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import qcompiler as qc
from qcompiler.compiled import Compiled
from qcompiler.execution.integer.histogram import FAR
from qcompiler.execution.integer.recurrent import RecurrentCheck
from qcompiler.execution.integer.recurrent_forms import recurrent_checks
from qcompiler.ir.program import Program
from qcompiler.pipeline import registry
from qcompiler.target.arithmetic import onnx_range

LAYERS = {
    "LSTM": ["onnxruntime", "fbgemm", "qnnpack", "onednn", "x86"],
    "GRU": ["fbgemm", "qnnpack", "onednn", "x86"],
}
CASES = [(kind, target) for kind, targets in LAYERS.items() for target in targets]
STEPS, BATCH, SIZE, HIDDEN = 6, 5, 12, 16


class Layer(torch.nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = getattr(torch.nn, kind)(SIZE, HIDDEN, bidirectional=True)

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x)[0] * 1.0


@pytest.fixture(scope="module")
def programs() -> dict[str, Program]:
    torch.manual_seed(6)
    example = torch.randn(STEPS, BATCH, SIZE)
    return {kind: qc.load(Layer(kind).eval(), example, dynamic=False) for kind in LAYERS}


def compiled_layer(program: Program, target: str) -> tuple[Compiled, Any]:
    x = torch.randn(STEPS, BATCH, SIZE, generator=torch.Generator().manual_seed(7))
    compiled = qc.compile(program, target, [(x,)], scheme="dynamic", recipe="fast")
    return compiled, x.numpy()


@pytest.mark.parametrize(("kind", "target"), CASES)
def test_verify_looks_inside(kind: str, target: str, programs: dict[str, Program]) -> None:
    compiled, x = compiled_layer(programs[kind], target)
    found = compiled.verify([(x,)])
    assert found.ok, found.text()
    (check,) = found.checked
    assert check.ops == f"{kind}, dynamic"
    assert check.elements == STEPS * 2 * BATCH * HIDDEN


@pytest.mark.parametrize(("kind", "target"), CASES)
def test_the_bound_catches_small_mistakes(
    kind: str, target: str, programs: dict[str, Program]
) -> None:
    compiled, x = compiled_layer(programs[kind], target)
    rules = registry.find_target(target)().arithmetic
    ((_, check),) = recurrent_checks(compiled.program, set(compiled.plan.choices), rules.dynamic)
    name = compiled.program.signature.input_names[0]
    wanted = [value.name or "" for value in check.values if value.name != name]
    runs = compiled.artifact.tap([{name: x}], wanted)
    assert runs is not None
    arrays = {name: x, **next(iter(runs))}
    assert set(check.differences(arrays, None)) == {0}
    for wrong in (_heavier(check, "inputs"), _heavier(check, "recurrent"), _coarser(check)):
        found = wrong.differences(arrays, None)
        assert sum(found[steps] for steps in found if steps) >= 5
    result = arrays[check.y.name or ""].copy()
    result[-1, 0, 0, 0] = np.nan  # the last step of the forward direction feeds no other
    assert check.differences({**arrays, check.y.name or "": result}, None)[FAR] == 1


def _heavier(check: RecurrentCheck, which: str) -> RecurrentCheck:
    """One weight is one step larger."""
    products = check.inputs if which == "inputs" else check.recurrent
    weight = products[0].weight.copy()
    weight[0, 0] += 1
    changed = (replace(products[0], weight=weight), *products[1:])
    return (
        replace(check, inputs=changed) if which == "inputs" else replace(check, recurrent=changed)
    )


def _coarser(check: RecurrentCheck) -> RecurrentCheck:
    """Activations of 254 steps instead of 255."""

    def choose(x: Any) -> tuple[np.float32, int]:
        scale, zero = onnx_range(x)
        return np.float32(scale * 255 / 254), zero

    return replace(check, choose=choose)
