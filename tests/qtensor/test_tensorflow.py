"""TensorFlow's modes, against its documentation and values recorded from TensorFlow itself.

`python -m benchmarks.tensorflow_values` records them anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import qcompiler as qc
from qcompiler.errors import ConfigurationError

RECORDED = json.loads((Path(__file__).parent / "tensorflow_values.json").read_text("utf-8"))
LARGEST, SMALLEST = 2**31 - 1, -(2**31)


def test_min_combined_of_the_documentation() -> None:
    """0 to 6 in quint8: times 255 / 6; in qint8 less 128."""
    x = [0.0, 1.0, 3.0, 6.0]
    assert qc.tf_quantize(x, 0.0, 6.0, "quint8").output == [0, 43, 128, 255]
    assert qc.tf_quantize(x, 0.0, 6.0, "qint8").output == [-128, -86, -1, 127]


def test_scaled_of_the_documentation() -> None:
    """m = max(|min|, |max|), from -127 to 127 where narrow: zero is zero."""
    found = qc.tf_quantize([-5.0, 0.0, 2.5, 10.0], -5.0, 10.0, "qint8", "SCALED", narrow_range=True)
    assert found.output == [-64, 0, 32, 127]
    assert (found.output_min, found.output_max) == (-10.0, 10.0)


def test_min_first_of_the_documentation() -> None:
    """round(x * s) - round(min * s) + lowest."""
    s = 255 / 7.5
    wanted = [int(round(x * s) - round(-2.5 * s)) for x in (-2.5, 0.0, 1.3, 5.0)]
    assert qc.tf_quantize([-2.5, 0.0, 1.3, 5.0], -2.5, 5.0, "quint8", "MIN_FIRST").output == wanted


def test_ties_by_both_rounding_modes() -> None:
    x, ends = [0.5, 1.5, 2.5, -0.5, -2.5], (-127.0, 127.0)
    away = qc.tf_quantize(x, *ends, "qint8", "SCALED", narrow_range=True)
    even = qc.tf_quantize(x, *ends, "qint8", "SCALED", "HALF_TO_EVEN", narrow_range=True)
    assert away.output == [1, 2, 3, -1, -3]
    assert even.output == [0, 2, 2, 0, -2]


def test_a_range_of_no_width_is_widened() -> None:
    found = qc.tf_quantize([0.0, 0.01], 0.0, 0.0, "quint8")
    assert found.output == [0, 255]
    assert found.output_max == pytest.approx(0.01)
    assert qc.tf_quantize([1.0], 1.0, 1.0, "quint8", ensure_minimum_range=0.5).output_min == 0.0


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda c: f"{c['T']}-{c['mode']}")
def test_integers_are_tensorflows(case: dict[str, Any]) -> None:
    """Where float32 rounds up beyond int32, TensorFlow's cast is undefined; ours saturates."""
    x = np.asarray(case["input"], np.float32)
    ends = [np.asarray(case[name], np.float32) for name in ("min_range", "max_range")]
    named = {name: case[name] for name in ("mode", "narrow_range", "axis")}
    rounding = {name: case[name] for name in ("round_mode", "ensure_minimum_range")}
    found = qc.tf_quantize(x, ends[0], ends[1], case["T"], **named, **rounding)
    wanted, ours = np.asarray(case["output"]), np.asarray(found.output)
    undefined = (ours == LARGEST) & (case["T"] == "qint32")
    np.testing.assert_array_equal(ours[~undefined], wanted[~undefined])
    assert np.isin(wanted[undefined], (SMALLEST, LARGEST)).all()
    for name in ("output_min", "output_max"):
        np.testing.assert_array_equal(np.float32(getattr(found, name)), np.float32(case[name]))
    back = qc.tf_dequantize(
        wanted.astype(ours.dtype), found.output_min, found.output_max, case["T"], **named
    )
    np.testing.assert_array_equal(back, np.asarray(case["dequantized"], np.float32))


def test_kinds_of_the_source_come_back() -> None:
    found = qc.tf_quantize(torch.tensor([0.0, 6.0]), 0.0, torch.tensor(6.0), "quint8")
    assert found.output.dtype is torch.uint8
    back = qc.tf_dequantize(found.output, found.output_min, found.output_max, "quint8")
    torch.testing.assert_close(back, torch.tensor([0.0, 6.0]))
    assert qc.tf_dequantize(np.asarray([255], np.uint8), 0.0, 6.0).tolist() == [6.0]


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: qc.tf_quantize([1.0], 0.0, 1.0, "qint4"), "no type"),
        (lambda: qc.tf_quantize([1.0], 0.0, 1.0, "qint8", "MIN"), "no mode"),
        (lambda: qc.tf_quantize([1.0], 0.0, 1.0, "qint8", "SCALED", "UP"), "no round mode"),
        (
            lambda: qc.tf_quantize([1.0], 0.0, 1.0, "qint8", round_mode="HALF_TO_EVEN"),
            "SCALED only",
        ),
        (lambda: qc.tf_quantize([1.0], 1.0, 0.0, "qint8"), "below its beginning"),
        (lambda: qc.tf_quantize([1.0], [0.0, 0.0], [1.0, 1.0], "qint8"), "do not fit 1 slices"),
        (lambda: qc.tf_quantize([1.0], 0.0, 1.0, "qint8", axis=1), "no axis 1"),
        (
            lambda: qc.tf_quantize([1.0, 2.0], [0.0] * 2, [1.0] * 2, "qint8", "MIN_FIRST", axis=0),
            "MIN_FIRST has one range",
        ),
        (lambda: qc.tf_quantize([float("nan")], 0.0, 1.0, "qint8"), "NaN"),
        (lambda: qc.tf_dequantize([1], 0.0, 1.0), "no type"),
    ],
)
def test_what_tensorflow_refuses_is_refused(call: Callable[[], object], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        call()
