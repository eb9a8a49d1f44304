"""Colours that text can be read on, by the formulas of WCAG 2.2."""

from __future__ import annotations

import pytest

from qcompiler.report.palette import HEAT, colours

_DARK_PANEL = "#1d2128"
_USED = sorted(
    {
        *colours(["float32", "int8", "int8-dynamic", "int8-weights", "int16"]).values(),
        *colours([f"form-{i}" for i in range(9)]).values(),
        *HEAT,
    }
)


def _luminance(colour: str) -> float:
    """Relative luminance (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_of_contrast() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # known too pale


@pytest.mark.parametrize("colour", _USED)
def test_white_text_stands_on_every_colour(colour: str) -> None:
    assert _contrast(colour, "#ffffff") >= 4.5
    assert _contrast(colour, _DARK_PANEL) >= 3


@pytest.mark.parametrize("step", range(len(HEAT) - 1))
def test_white_text_stands_on_what_lies_between(step: int) -> None:
    ends = HEAT[step : step + 2]
    low, high = ([int(end[i : i + 2], 16) for i in (1, 3, 5)] for end in ends)
    for part in range(11):
        mixed = (round(a + (b - a) * part / 10) for a, b in zip(low, high, strict=True))
        assert _contrast("#" + "".join(f"{each:02x}" for each in mixed), "#ffffff") >= 4.5
