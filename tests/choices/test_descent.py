"""Descent finds the items that matter; additive losses made up here are the oracle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qcompiler.choices.descent import Choice, Descent
from qcompiler.measurement.gain import Look, Margin

ITEMS, METHODS, SAMPLES = 64, 3, 8


def looks(table: np.ndarray, noise: float = 0.0) -> Descent:
    """A descent over `table` [items, methods] of losses that add up."""
    rng = np.random.default_rng(0)

    def measure(choices: Sequence[Choice]) -> list[Look]:
        found = []
        for choice in choices:
            loss = float(sum(table[item, number] for item, number in enumerate(choice)))
            each = loss * np.exp(noise * rng.normal(size=SAMPLES))
            found.append(Look(float(each.mean()), tuple(map(float, each))))
        return found

    return Descent([tuple(range(METHODS))] * ITEMS, measure, 120)


def test_the_few_items_that_matter_are_found() -> None:
    table = np.full((ITEMS, METHODS), 1e-4)
    table[5, 0], table[5, 2] = 0.5, 1e-4
    table[40, 0], table[40, 1] = 0.3, 0.9
    descent = looks(table)
    start = (0,) * ITEMS
    choice, found = descent.run(start, descent.measure([start])[0])
    assert choice[5] in (1, 2)
    assert choice[40] == 2
    assert found.loss < 0.01
    assert descent.looks <= 120 + METHODS


def test_what_is_no_better_is_left_alone() -> None:
    descent = looks(np.full((ITEMS, METHODS), 1e-3), noise=0.05)
    descent.margin = Margin(deviations=4.0)
    start = (0,) * ITEMS
    choice, _ = descent.run(start, descent.measure([start])[0])
    changed = sum(number != 0 for number in choice)
    descent = looks(np.full((ITEMS, METHODS), 1e-3), noise=0.05)
    descent.margin = Margin(share=0.0, deviations=-9.0)
    careless, _ = descent.run(start, descent.measure([start])[0])
    assert changed == 0 < sum(number != 0 for number in careless)


def test_one_sample_decides_nothing() -> None:
    """Seven samples lose a little and one gains much: less noise in all, and no gain."""
    before = Look(1.0, (1.0,) * 8)
    lucky = Look(0.9, (0.01, *(1.05,) * 7))
    assert not Margin().better(lucky, before)
    assert Margin().better(Look(0.9, (0.9,) * 8), before)
    assert not Margin().better(Look(0.5, (0.5,)), Look(1.0, (1.0,)))
