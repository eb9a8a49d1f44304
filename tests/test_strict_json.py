"""JSON of numbers that JSON does not have."""

from __future__ import annotations

import json
import math

import pytest

from qcompiler.strict_json import NOT_FINITE, json_text


def test_what_is_not_finite_becomes_a_text() -> None:
    data = {"a": (1, math.inf), "b": {"c": [-math.inf, math.nan]}, "d": None, "e": True, "f": 0.5}
    text = json_text(data)
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    infinite, minus, none = NOT_FINITE
    assert found == {
        "a": [1, infinite], "b": {"c": [minus, none]}, "d": None, "e": True, "f": 0.5
    }  # fmt: skip


def test_float_reads_the_texts_back() -> None:
    found = [float(each) for each in NOT_FINITE]
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2])
