"""What is said of the source where a search returns it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import qcompiler as qc
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.signature import Feed


@pytest.fixture
def integers_lose(clock: Callable[..., None]) -> None:
    """Integers take three times the time of float, on any machine."""
    clock(3.0)


@pytest.mark.usefixtures("integers_lose")
@pytest.mark.parametrize("overrides", [{}, {"op:Gemm": "int8"}], ids=["free", "asked"])
def test_the_plan_is_of_what_runs_and_what_was_asked_in_vain_is_told(
    digits_path: Path, digits_feeds: list[Feed], overrides: dict[str, str]
) -> None:
    """It said int8 of regions that an override names, and verify had nothing to check."""
    compiled = qc.compile(
        digits_path, calibration=digits_feeds, recipe="fast", budget=60, overrides=overrides
    )
    assert set(compiled.plan.precisions.values()) == {FLOAT}
    assert compiled.verify().ok
    found = [each for each in compiled.report.diagnostics if each.rule == "OVERRIDE01"]
    assert len(found) == len(overrides)
    assert all("node_linear" in each.message for each in found)


@pytest.mark.usefixtures("integers_lose")
def test_float_with_integers_in_places_is_built_whatever_it_costs(
    digits_path: Path, digits_feeds: list[Feed]
) -> None:
    """As the warning says."""
    compiled = qc.compile(
        digits_path, calibration=digits_feeds, scheme="float32", recipe="fast",
        overrides={"op:Gemm": "int8"},
    )  # fmt: skip
    assert sorted(set(compiled.plan.precisions.values())) != [FLOAT]
    assert not [each for each in compiled.report.diagnostics if each.rule == "OVERRIDE01"]
