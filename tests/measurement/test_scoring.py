"""The user's score: any form of feed, and clear errors for what is no score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.decisions.schemes import SCHEMES
from qcompiler.errors import ConfigurationError, FeedError
from qcompiler.ir.signature import Feed
from qcompiler.search.goal import Goal

Run = Callable[[Any], Sequence[Any]]


def compiled(path: Path, feeds: list[Feed], evaluate: Any) -> qc.Compiled:
    return qc.compile(path, calibration=feeds, recipe="fast", evaluate=evaluate, budget=0.0)


@pytest.mark.parametrize("form", ["dict", "tuple", "array", "tensor"])
def test_evaluate_runs_feeds_in_any_form(
    digits_path: Path, digits_feeds: list[Feed], form: str
) -> None:
    (array,) = digits_feeds[0].values()
    given: Any = {"dict": digits_feeds[0], "tuple": (array,), "array": array}.get(form)
    if form == "tensor":
        given = pytest.importorskip("torch").from_numpy(array)
    seen = []

    def evaluate(run: Run) -> float:
        seen.append(np.asarray(run(given)[0]))
        return 1.0

    compiled(digits_path, digits_feeds, evaluate)
    assert len(seen) > 0
    wanted = qc.compile(digits_path, calibration=digits_feeds, scheme="float32")
    np.testing.assert_allclose(seen[0], wanted.run(digits_feeds[0])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned None"),
        ("0.5", "returned '0.5'"),  # float() reads it
        (float("nan"), "for the float model"),
    ],
)
def test_what_is_no_score_is_an_error(
    digits_path: Path, digits_feeds: list[Feed], returned: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        compiled(digits_path, digits_feeds, lambda run: returned)


def test_a_feed_that_does_not_fit_is_named(digits_path: Path, digits_feeds: list[Feed]) -> None:
    with pytest.raises(FeedError, match="nope"):
        compiled(digits_path, digits_feeds, lambda run: run({"nope": 1})[0])


def test_what_evaluate_raises_stays_what_it_is(digits_path: Path, digits_feeds: list[Feed]) -> None:
    def evaluate(run: Run) -> float:
        labels: dict[str, int] = {}
        return float(labels["cat"])

    with pytest.raises(KeyError) as caught:
        compiled(digits_path, digits_feeds, evaluate)
    assert caught.value.__notes__ == ["raised by evaluate, which scores a candidate"]
    assert caught.traceback[-1].name == "evaluate"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_loss": "a"},
        {"max_loss": float("nan")},
        {"budget": "3"},
        {"budget": -1},
        {"budget": True},
        {"evaluate": 0.5},
        {"plan": "plan.json"},
        {"overrides": ["op:Gemm"]},
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Goal(SCHEMES["auto"], **wrong)
