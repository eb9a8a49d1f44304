"""What is told first where the loss cannot be of other data than ranges were fitted to."""

from __future__ import annotations

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.ir.text import from_text

TEXT = "g (float[2,8] x) => (float[2,8] y) <float[8,8] w> { [mm] y = MatMul(x, w) }"


@pytest.mark.parametrize(
    ("scheme", "count", "told"),
    [("int8", 7, True), ("int8", 8, False), ("float32", 7, False), ("dynamic", 7, False)],
)
def test_too_few_samples_to_keep_some_apart(scheme: str, count: int, told: bool) -> None:
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.normal(size=(2, 8)).astype(np.float32)} for _ in range(count)]
    made = qc.compile(from_text(TEXT), calibration=feeds, scheme=scheme, recipe="fast")
    found = [each for each in made.report.warnings if "too few to keep some apart" in each]
    assert bool(found) == told
    first = made.report.text().splitlines()[: len(made.report.warnings)]
    assert all(f"{count} calibration samples" in " ".join(first) for _ in found)
