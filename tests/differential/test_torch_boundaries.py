"""Every kind of operator at the edge of what torch's kernels take: plan, engine and verify agree.

The quick profile takes a part of the cases, another one for every engine; HYPOTHESIS_PROFILE=deep
all of them.
"""

from __future__ import annotations

import os

import pytest

from qcompiler.backends.torch_engines import adapter, capabilities
from qcompiler.pipeline.registry import find_target
from qcompiler.target.capability import CapabilityTable, OpCapability
from tests.differential.boundaries import Case, judge
from tests.differential.operators import operators

_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
_STEP = 1 if _DEEP else 41
ENGINES = adapter.available_engines()
STATIC = [
    pytest.param(engine, case, id=f"{engine}-{case}")
    for start, engine in enumerate(ENGINES)
    for case in operators()[7 * start % _STEP :: _STEP]
]
DYNAMIC = [case for case in operators() if case.op in ("MatMul", "Gemm")][::_STEP]
_IMAGES = [c for c in operators() if c.op == "ConvTranspose" and len(c.shape) == 4]
_SAME = Case(
    "ConvTranspose",
    (2, 4, 9, 9),
    {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    next(
        case.operands for case in operators() if case.op == "ConvTranspose" and len(case.shape) == 4
    ),
)


@pytest.mark.parametrize(("engine", "case"), STATIC)
def test_plan_engine_and_reference_agree(engine: str, case: Case) -> None:
    wrong, _ = judge(case, find_target(engine)())
    assert wrong == []


@pytest.mark.parametrize("case", DYNAMIC, ids=str)
def test_dynamic_products_agree(case: Case) -> None:
    wrong, _ = judge(case, find_target("fbgemm")(), "dynamic")
    assert wrong == []


def test_a_row_that_promises_more_than_its_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a ConvTranspose whose pads differ, without the rule in its row."""
    target = find_target("fbgemm")
    assert judge(_SAME, target())[0] == []
    row = capabilities.TRANSPOSED
    loose = OpCapability(
        row.pattern, row.implementations, tuple(c for c in row.constraints if c.name != "TQ22")
    )
    table: CapabilityTable = capabilities.BASE.overlay([loose])
    monkeypatch.setattr(target, "table", table)
    wrong, _ = judge(_SAME, target())
    assert any("pads differ" in each for each in wrong)
