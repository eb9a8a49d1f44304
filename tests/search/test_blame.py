"""A broken result names the regions that broke it, and its overrides mend it."""

from __future__ import annotations

import ast
import re

import pytest

import qcompiler as qc
from qcompiler.ir.program import Program
from qcompiler.search import blame
from tests.drowned import LAYERS, Feed, kept_db, network, samples


@pytest.fixture
def feeds() -> list[Feed]:
    return samples(6)


def compiled(program: Program, feeds: list[Feed], **asked: object) -> qc.Compiled:
    given = {"recipe": "fast", "scheme": "int8", **asked}
    return qc.compile(program, "onnxruntime", feeds, **given)  # type: ignore[arg-type]


def test_the_overrides_that_are_named_mend_what_is_broken(feeds: list[Feed]) -> None:
    program = network((3,))
    made = compiled(program, feeds)
    assert kept_db(program, made, feeds) < 5
    told = made.report.warnings[1]
    assert "the most is lost by" in told
    found = re.search(r"overrides=(\{.*?\})", told)
    assert found is not None
    overrides = ast.literal_eval(found.group(1))
    assert set(overrides) == {"mm3", "mm4"}  # what writes the value, and what reads it
    mended = compiled(program, feeds, overrides=overrides)
    assert kept_db(program, mended, feeds) > 15
    assert not any("the most is lost" in each for each in mended.report.warnings)


def test_a_network_too_slow_for_it_gets_a_hint(
    feeds: list[Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blame, "_SECONDS", 0.0)
    told = compiled(network((3,)), feeds).report.warnings[1]
    assert told == "compiled.debug(feeds) tells what every region loses"


def test_what_is_lost_everywhere_is_nobodys(feeds: list[Feed]) -> None:
    program = network(tuple(range(LAYERS - 1)))
    told = compiled(program, feeds).report.warnings[1]
    assert "no few regions are to blame" in told
    for way in ("scheme='auto'", "recipe='best'", "calibration samples", "compiled.debug(feeds)"):
        assert way in told
