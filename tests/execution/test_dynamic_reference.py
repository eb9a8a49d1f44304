"""Dynamic products: every engine within the derived bound, and what the bound catches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import qcompiler as qc
from qcompiler.compiled import Compiled
from qcompiler.execution.integer.dynamic import DynamicProduct, dynamic_checks
from qcompiler.execution.integer.histogram import FAR
from qcompiler.ir.program import Program
from qcompiler.pipeline import registry
from qcompiler.target.arithmetic import onnx_range

TARGETS = ["onnxruntime", "fbgemm", "qnnpack", "onednn", "x86"]


class Pair(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(24, 40), torch.nn.Linear(40, 12, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(torch.nn.functional.gelu(self.first(x)))
        return y


@pytest.fixture(scope="module")
def pair() -> Program:
    torch.manual_seed(4)
    return qc.load(Pair().eval(), torch.randn(3, 7, 24))


def compiled_pair(pair: Program, target: str, scale: float = 1.0) -> tuple[Compiled, list[Any]]:
    torch.manual_seed(5)
    feeds = [(scale * torch.randn(3, 7, 24),) for _ in range(3)]
    return qc.compile(pair, target, feeds, scheme="dynamic", recipe="fast"), feeds


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e-4])
def test_verify_compares_dynamic_products(pair: Program, target: str, scale: float) -> None:
    """Inputs of 1e-4 lie below the smallest scale that torch gives out."""
    compiled, feeds = compiled_pair(pair, target, scale)
    found = compiled.verify(feeds)
    assert found.ok, found.text()
    assert {each.ops for each in found.checked} == {"MatMul, dynamic"}
    assert sum(each.elements for each in found.checked) == 3 * 21 * (40 + 12)
    assert not found.unchecked


@pytest.mark.parametrize("target", TARGETS)
def test_the_bound_catches_one_weight_and_one_step(pair: Program, target: str) -> None:
    compiled, feeds = compiled_pair(pair, target)
    name = compiled.program.signature.input_names[0]
    feed = {name: feeds[0][0].numpy()}
    rules = registry.find_target(target)().arithmetic
    checks = dict(dynamic_checks(compiled.program, set(compiled.plan.choices), rules.dynamic))
    assert len(checks) == 2
    wanted = [value.name or "" for check in checks.values() for value in check.values]
    runs = compiled.artifact.tap([feed], [each for each in wanted if each != name])
    assert runs is not None
    arrays = {**feed, **next(iter(runs))}
    for check in checks.values():
        assert set(check.differences(arrays, None)) == {0}
        assert set(check.differences(arrays, 1)) == {0}
        for wrong in (_heavier(check), _coarser(check)):
            found = wrong.differences(arrays, None)
            assert sum(found[steps] for steps in found if steps) > 5
        for lost in (np.nan, np.inf):
            result = arrays[check.result.name or ""].copy()
            result[0, 0, 0] = lost
            found = check.differences({**arrays, check.result.name or "": result}, None)
            assert found[FAR] == 1


def _heavier(check: DynamicProduct) -> DynamicProduct:
    """One weight is one step larger."""
    weight = check.weight.copy()
    weight[0, 0] += 1
    return replace(check, weight=weight)


def _coarser(check: DynamicProduct) -> DynamicProduct:
    """Activations of 254 steps instead of 255."""

    def choose(x: Any) -> tuple[np.float32, int]:
        scale, zero = onnx_range(x)
        return np.float32(scale * 255 / 254), zero

    return replace(check, choose=choose)
