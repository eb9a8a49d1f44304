"""A broken result names the regions that broke it, and its overrides mend it."""

from __future__ import annotations

import ast
import re

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.search import blame

LAYERS = 9
Feed = dict[str, npt.NDArray[np.float32]]


def network(outliers: tuple[int, ...]) -> Program:
    """Products in a row; channels that nobody reads drown the others behind some of them."""
    draw = np.random.default_rng(3)
    stored = {f"w{i}": (draw.normal(size=(8, 8)) / 3).astype(np.float32) for i in range(LAYERS)}
    for number in outliers:
        stored[f"w{number}"][:, 0] *= 3e4
        stored[f"w{number + 1}"][0] = 0
    names = ["x", *(f"v{i}" for i in range(LAYERS - 1)), "y"]
    steps = [f"[mm{i}] {names[i + 1]} = MatMul({names[i]}, w{i})" for i in range(LAYERS)]
    weights = ", ".join(f"float[8,8] {name}" for name in stored)
    return from_text(
        f"g (float[4,8] x) => (float[4,8] y) <{weights}> {{ {' '.join(steps)} }}", stored
    )


@pytest.fixture
def feeds() -> list[Feed]:
    draw = np.random.default_rng(0)
    return [{"x": draw.normal(size=(4, 8)).astype(np.float32)} for _ in range(6)]


def compiled(program: Program, feeds: list[Feed], **asked: object) -> qc.Compiled:
    given = {"recipe": "fast", "scheme": "int8", **asked}
    return qc.compile(program, "onnxruntime", feeds, **given)  # type: ignore[arg-type]


def kept_db(program: Program, made: qc.Compiled, feeds: list[Feed]) -> float:
    """Of the output of products in float64."""
    signal = noise = 0.0
    for feed in feeds:
        wanted = np.asarray(feed["x"], np.float64)
        for number in range(LAYERS):
            weight = program.model.graph.initializers[f"w{number}"].const_value
            assert weight is not None
            wanted = wanted @ weight.numpy().astype(np.float64)
        signal += float(np.square(wanted).sum())
        noise += float(np.square(made.run(feed)[0] - wanted).sum())
    return float(10 * np.log10(signal / noise))


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
