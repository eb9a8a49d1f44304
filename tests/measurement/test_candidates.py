"""Candidates: what comes to the same is built and judged once, and nothing is fitted twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.compiled import Compiled
from qcompiler.decisions.binding import decided
from qcompiler.decisions.fingerprint import fingerprint
from qcompiler.decisions.placement import RegionPlacement
from qcompiler.decisions.roundings import Rounding
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.text import from_text
from qcompiler.measurement import candidates
from qcompiler.pipeline import registry
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.pipeline.targets import target_of
from qcompiler.target.artifact import Artifact
from qcompiler.target.contract import Target

TEXT = "g (float[2,8] x) => (float[2,4] y) <float[8,4] w> { [it] y = MatMul(x, w) }"


@dataclasses.dataclass(frozen=True)
class _Renamed(Pass):
    """Puts copies of the same integers there, under another name: nothing that runs changes."""

    name: ClassVar[str] = "toy-renamed"
    stage: ClassVar[Stage] = Stage.PLACED

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        program.placement = decided(program).with_regions(_moved(program, 0, self.name))
        return Outcome()


@dataclasses.dataclass(frozen=True)
class _Moved(Pass):
    """Moves an integer of every weight, and counts how often it was asked to."""

    name: ClassVar[str] = "toy-moved"
    stage: ClassVar[Stage] = Stage.PLACED
    applied: ClassVar[list[int]] = []
    seen: ClassVar[list[Program]] = []

    by: int = 1

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        self.applied.append(self.by)
        self.seen.append(program.clone())
        program.placement = decided(program).with_regions(_moved(program, self.by, self.name))
        return Outcome()


def _moved(program: Program, by: int, how: str) -> dict[str, RegionPlacement]:
    changed: dict[str, RegionPlacement] = {}
    for key, region in decided(program).regions.items():
        assert region.rounding is not None
        integers = region.rounding.integers.copy()
        integers.flat[0] = np.clip(int(integers.flat[0]) + by, -100, 100)
        rounding = Rounding(region.rounding.params, integers, how)
        changed[key] = dataclasses.replace(region, rounding=rounding)
    return changed


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    for toy in (_Renamed, _Moved):
        registry.register_pass(toy)
    _Moved.applied.clear()
    _Moved.seen.clear()
    yield
    for toy in (_Renamed, _Moved):
        registry.PASSES.forget(toy.name)


def _compiled(*variants: str) -> Compiled:
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(8, 4)).astype(np.float32)
    feeds = [{"x": draw.normal(size=(2, 8)).astype(np.float32)} for _ in range(8)]
    source = from_text(TEXT, {"w": weight}).model
    return qc.compile(source, "onnxruntime", feeds, scheme="int8", variants=variants)


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """What was lowered, in order."""
    found: list[Program] = []
    target = type(target_of("onnxruntime"))
    real = target.lower

    def counted(self: Target, program: Program) -> Artifact:
        found.append(program)
        return real(self, program)

    monkeypatch.setattr(target, "lower", counted)
    return found


def test_a_variant_that_comes_to_the_same_is_neither_lowered_nor_kept(
    lowered: list[Program],
) -> None:
    plain = _compiled()
    without = len(lowered)
    lowered.clear()
    found = _compiled("toy-renamed")
    assert len(lowered) == without
    assert plain.plan.variants == found.plan.variants == ()
    rows = {row.name: row for row in found.report.variants}
    assert "changes nothing" in str(rows["toy-renamed"])
    lowered.clear()
    _compiled("toy-moved{by=90}")
    assert len(lowered) == without + 1


def test_what_was_rejected_is_not_measured_again(lowered: list[Program]) -> None:
    """Both move to the end of the range."""
    _compiled("toy-moved{by=200}")
    once = len(lowered)
    lowered.clear()
    _compiled("toy-moved{by=200}", "toy-moved{by=300}")
    assert _Moved.applied == [200, 200, 300]
    assert len(lowered) == once


def test_variants_that_were_kept_do_not_run_again_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates, "keep_if_better", _keep_all)
    found = _compiled("toy-moved{by=1}", "toy-moved{by=2}", "toy-moved{by=4}")
    assert _Moved.applied == [1, 2, 4]
    assert len(found.plan.variants or ()) == 3


def _keep_all(start, known, variants, attempt, allowance):  # type: ignore[no-untyped-def]
    for variant in variants:
        start, _ = attempt(start, variant)
    return start, []


def test_a_fingerprint_is_of_what_is_written() -> None:
    _compiled("toy-moved")
    found = _Moved.seen[0]
    assert found.placement is not None
    same = found.placement.with_regions(_moved(found, 0, "somebody"))
    other = found.placement.with_regions(_moved(found, 1, "somebody"))
    assert fingerprint(same) == fingerprint(found.placement)
    assert fingerprint(other) != fingerprint(found.placement)
