"""Gains as a report shows them: a ratio only where it is one."""

from __future__ import annotations

import pytest

from qcompiler.report.numbers import show_gain, show_percent, show_ratio
from qcompiler.report.rows import Figure


@pytest.mark.parametrize(
    ("interval", "shown"),
    [
        (None, "2.00×"),
        ((1.99, 2.01), "2.00×"),
        ((1.9, 2.1), "2.00× (1.90 to 2.10, 21 rounds)"),
        ((1.7, 2.6), "busy: 1.70 to 2.60×"),
    ],
)
def test_a_wide_interval_stands_for_its_ratio(
    interval: tuple[float, float] | None, shown: str
) -> None:
    figure = Figure("latency", "s", 0.004, 0.002, interval=interval, rounds=21)
    assert show_gain(figure) == shown
    assert show_ratio(figure) == ("2.00×" if shown[0] == "2" else "1.70 to 2.60×")


def test_scores_have_no_gain() -> None:
    assert show_gain(Figure("score", "", 0.9, 0.8, better="higher")) == ""


@pytest.mark.parametrize(
    ("percent", "shown"),
    [(0.0, "0 %"), (0.2, "<1 %"), (0.6, "1 %"), (41.7, "42 %"), (99.7, ">99 %"), (100.0, "100 %")],
)
def test_what_is_not_all_is_not_rounded_to_it(percent: float, shown: str) -> None:
    assert show_percent(percent) == shown
