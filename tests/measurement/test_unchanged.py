"""Which values a rewrite leaves as they are; numpy says what they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qcompiler.ir.requests import Request
from qcompiler.ir.text import from_text
from qcompiler.measurement.unchanged import Trace, same_values, traces

RNG = np.random.default_rng(0)
FEED = {"x": RNG.normal(size=(1, 4, 300, 300)).astype(np.float32)}
TEXT = """net (float[1,4,300,300] x) => (float[1,4,300,300] z) <float[4,1,1] s, float[4,1,1] t> {
  y = Mul(x, s)
  b = Relu(y)
  z = Mul(b, t) }"""


def seen(scale: list[float], back: list[float]) -> Any:
    """Traces of all values of a net that scales channels, and scales them back."""
    s, t = (np.asarray(each, np.float32).reshape(4, 1, 1) for each in (scale, back))
    program = from_text(TEXT, {"s": s, "t": t})
    means = Request.of("b", "channel-mean", axis=1)
    wanted = dict.fromkeys((Request.of("x"), Request.of("y"), means, Request.of("z")))
    return traces(replace(program, requests=wanted), FEED)


def test_a_scale_that_is_taken_back_changes_what_is_between() -> None:
    before, after = seen([1, 1, 1, 1], [1, 1, 1, 1]), seen([3, 1, 1, 1], [1 / 3, 1, 1, 1])
    assert same_values(before, after) == {"x", "z"}
    assert same_values(before, before) == {"x", "y", "b", "z"}


def test_a_channel_that_never_holds_the_extremes_is_seen_too() -> None:
    """Ranges of whole values say nothing of it."""
    before = seen([1, 0.1, 1, 1], [1, 1, 1, 1])
    after = seen([1, 0.2, 1, 1], [1, 0.5, 1, 1])
    ends = FEED["x"][0, [0, 2, 3]]
    for each in (before, after):
        assert tuple(each["y"].parts[0][-2:]) == (ends.min(), ends.max())
    assert same_values(before, after) == {"x", "z"}


@pytest.mark.parametrize(("noise", "alike"), [(1e-7, True), (1e-2, False)])
def test_rounding_is_no_change(noise: float, alike: bool) -> None:
    values = RNG.normal(size=(2, 5, 7)).astype(np.float32)
    moved = values + np.float32(noise) * RNG.normal(size=values.shape).astype(np.float32)
    assert Trace().update(values).alike(Trace().update(moved)) == alike


def test_other_sizes_and_other_holes_are_changes() -> None:
    values = RNG.normal(size=(2, 50)).astype(np.float32)
    holes = values.copy()
    holes[0, 3] = np.nan
    plain, holed = Trace().update(values), Trace().update(holes)
    assert holed.alike(Trace().update(holes.copy()))
    assert not plain.alike(holed)
    assert not plain.alike(plain.update(values))
    assert not plain.alike(Trace().update(values[:, :-1]))
    assert Trace().update(np.zeros((0, 3))).alike(Trace().update(np.zeros((0, 3))))
