"""Every kind of operator at the edge of what kernels take: plan, engine graph and verify agree.

The quick profile takes a part of the cases, the same at each run; HYPOTHESIS_PROFILE=deep all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.kernels import is_integer_kernel
from qcompiler.backends.onnxruntime.passes.keep_float import KeepFloat
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions import settling
from qcompiler.execution.session import OrtSession
from qcompiler.ir.optraits import traits
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.regions import find_regions
from qcompiler.ir.walk import all_nodes
from qcompiler.pipeline.contract import Outcome
from tests.differential.boundaries import Case, judge
from tests.differential.operators import operators

_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
_STEP = 1 if _DEEP else 13
_IMAGE = (2, 3, 9, 9)
_DILATED = Case("AveragePool", _IMAGE, {"kernel_shape": [2, 2], "dilations": [2, 2]}, opset=19)
_COUNTED = Case(
    "AveragePool",
    _IMAGE,
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1},
)


def _sample(cases: Sequence[Case]) -> list[Case]:
    return list(cases)[::_STEP]


def _unplanned(compiled: qc.Compiled) -> set[str]:
    """Integer kernels of the engine's graph beyond those that the plan asks for."""
    target = OnnxRuntime(1)
    planned = 0
    for region in find_regions(compiled.program, target.capabilities.patterns):
        integer = compiled.plan.precision(region.key) != FLOAT
        planned += integer and (region.kind == "Concat" or not traits(region.anchor).shares_scale)
    optimized = OrtSession(compiled.program.model, threads=1).optimized_model()
    kernels = [node.op_type for node in all_nodes(optimized) if is_integer_kernel(node)]
    return set(kernels) if len(kernels) > planned else set()


@pytest.mark.parametrize("case", _sample(operators()), ids=str)
def test_plan_engine_and_reference_agree(case: Case) -> None:
    wrong, compiled = judge(case, OnnxRuntime(1))
    assert wrong == []
    assert compiled is None or _unplanned(compiled) == set()


@pytest.mark.parametrize("case", _sample([c for c in operators() if "M" in c.op]), ids=str)
def test_dynamic_products_agree(case: Case) -> None:
    wrong, _ = judge(case, OnnxRuntime(1), "dynamic")
    assert wrong == []


@pytest.fixture(autouse=True)
def rounded_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in front are rounded, as those of convolutions are: else they give float here."""
    monkeypatch.setattr(settling, "without_output", lambda *_: None)


@pytest.mark.parametrize("case", [_DILATED, _COUNTED], ids=str)
def test_without_the_guard_the_engine_runs_what_was_not_planned(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: what `keep-float` is for, and that the judge sees it."""
    monkeypatch.setattr(KeepFloat, "apply", lambda *_: Outcome())
    wrong, compiled = judge(case, OnnxRuntime(1))
    assert wrong or (compiled is not None and _unplanned(compiled) == {
        "QLinearMatMul", "QLinearAveragePool",
    })  # fmt: skip
