"""What is said of the source where a search returns it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qcompiler as qc
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.signature import Feed


@pytest.fixture
def integers_lose(clock: Callable[..., None]) -> None:
    """Integers take three times the time of float, on any machine."""
    clock(3.0)


def _compiled(path: Path, feeds: list[Feed], **asked: Any) -> qc.Compiled:
    return qc.compile(path, calibration=feeds, recipe="fast", budget=100, **asked)


def _unmet(compiled: qc.Compiled) -> list[Diagnostic]:
    return [each for each in compiled.report.diagnostics if each.rule == "OVERRIDE01"]


@pytest.mark.usefixtures("integers_lose")
def test_the_source_is_returned_where_nothing_is_faster(
    digits_path: Path, digits_feeds: list[Feed]
) -> None:
    compiled = _compiled(digits_path, digits_feeds)
    assert set(compiled.plan.precisions.values()) == {FLOAT}
    assert not _unmet(compiled)


@pytest.mark.usefixtures("integers_lose")
def test_what_overrides_ask_for_is_built_even_if_it_is_slower(
    digits_path: Path, digits_feeds: list[Feed]
) -> None:
    """The source was returned in float, and its plan said int8."""
    compiled = _compiled(digits_path, digits_feeds, overrides={"op:Gemm": "int8"})
    assert compiled.plan.precision("node_linear") == "int8"
    assert "node_linear" in compiled.kernels.integer
    assert not _unmet(compiled)
    (slower,) = [each for each in compiled.report.warnings if "slower than float" in each]
    assert "overrides" in slower


@pytest.mark.usefixtures("integers_lose")
def test_what_is_asked_in_vain_is_told_and_the_plan_is_of_what_runs(
    digits_path: Path, digits_feeds: list[Feed]
) -> None:
    """No plan with the override keeps the user's score."""
    scores = itertools.chain([1.0], itertools.repeat(0.0))  # float first, then every candidate
    compiled = _compiled(
        digits_path, digits_feeds, overrides={"op:Gemm": "int8"}, evaluate=lambda _: next(scores)
    )
    assert set(compiled.plan.precisions.values()) == {FLOAT}
    assert compiled.verify().ok
    (found,) = _unmet(compiled)
    assert "node_linear" in found.message
