"""The machine's pace, by a clock that slows down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.frontends import load
from qcompiler.ir.signature import Feed
from qcompiler.measurement.pace import Pace
from qcompiler.target.artifact import CostSample


def test_a_machine_at_half_speed_halves_what_is_measured(
    digits_path: Path, digits_feeds: list[Feed]
) -> None:
    times = ticks([1.0] * 6 + [2.0] * 6)
    artifact = OnnxRuntime().lower(load(digits_path))
    pace = Pace(lambda: artifact, digits_feeds, clock=lambda: next(times))
    assert pace.factor() == 1.0
    assert pace.factor() == pytest.approx(0.5)
    scaled = CostSample({"a": 2.0}, 1.0, 0.5).scaled(0.5)
    assert scaled == CostSample({"a": 1.0}, 0.5, 0.25)


def test_one_slow_repetition_does_not_count(digits_path: Path, digits_feeds: list[Feed]) -> None:
    times = ticks([1.0] * 6 + [1.0, 9.0, 1.0, 9.0, 1.0, 9.0])
    artifact = OnnxRuntime().lower(load(digits_path))
    pace = Pace(lambda: artifact, digits_feeds, clock=lambda: next(times))
    assert pace.factor() == pace.factor() == 1.0


def ticks(durations: list[float]) -> Iterator[float]:
    """Clock readings at the start and the end of runs that take so long."""
    now = 0.0
    for duration in np.asarray(durations):
        yield now
        now += float(duration)
        yield now
