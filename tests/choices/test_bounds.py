"""The bound on predicted loss, and the fit of predictions to what plans really lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from qcompiler.choices.bounds import LossBound
from qcompiler.choices.prediction import LossModel
from qcompiler.measurement.gate import WEIGHT, Gate

KEYS = ("a", "b", "c", "d")


def model(losses: list[float]) -> LossModel:
    """Four regions with a gate each."""
    gates = {key: Gate(WEIGHT, key) for key in KEYS}
    return LossModel(
        dict(zip(gates.values(), losses, strict=True)),
        {(key, "int8"): (gate,) for key, gate in gates.items()},
    )


def plan(*keys: str) -> dict[str, str]:
    return dict.fromkeys(keys, "int8")


def test_without_a_score_the_bound_stays_at_the_limit() -> None:
    bound = LossBound(0.01)
    bound.record(0.05, good=False, predicted=False)  # nothing was known of that plan
    assert 0.9 * 0.01 < bound.value <= 0.01
    assert not bound.closed


def test_a_plan_that_surprises_makes_the_next_one_careful() -> None:
    bound = LossBound(0.01)
    bound.record(0.02, good=False)
    assert 0.003 < bound.value < 0.005
    bound.record(0.012, good=False)
    assert 0.002 < bound.value < 0.004
    bound.record(0.004, good=True)
    assert 0.9 * 0.01 < bound.value <= 0.01


def test_a_score_narrows_the_bound_until_it_is_closed() -> None:
    """Bisection for a score that accepts up to 0.03."""
    bound = LossBound(0.25)
    asked = []
    while not bound.closed:
        asked.append(bound.value)
        bound.record(bound.value, good=bound.value <= 0.03)
    assert 0.03 / 1.1 < bound.accepted <= 0.03
    assert len(asked) < 12


def test_a_repeated_plan_tightens_the_bound() -> None:
    bound = LossBound(0.01)
    before = bound.value
    bound.tighten()
    assert bound.value == pytest.approx(0.8 * before)


def test_fitted_predicts_what_was_measured() -> None:
    found = model([0.1, 0.2, 0.3, 0.4]).fitted([(plan("a", "b"), 0.1), (plan("b", "c"), 0.9)])
    assert found.of_plan(plan("a", "b")) == pytest.approx(0.1, rel=1e-3)
    assert found.of_plan(plan("b", "c")) == pytest.approx(0.9, rel=1e-3)
    assert found.of_plan(plan("d")) == pytest.approx(0.4)  # in no plan that was measured


def test_fitted_is_the_nearest_by_relative_entropy() -> None:
    """Against scipy's minimum of sum l log(l / prior) - l + prior under the same equations."""
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    equations = np.array([[1.0, 1, 0, 0], [0, 1, 1, 1]])
    totals = np.array([0.2, 0.5])

    def entropy(losses: np.ndarray) -> float:
        return float(np.sum(losses * np.log(losses / prior) - losses + prior))

    wanted = minimize(
        entropy,
        prior,
        bounds=[(1e-6, None)] * 4,
        constraints={"type": "eq", "fun": lambda losses: equations @ losses - totals},
        options={"ftol": 1e-14, "maxiter": 1000},
    ).x
    found = model(list(prior)).fitted([(plan("a", "b"), 0.2), (plan("b", "c", "d"), 0.5)])
    assert np.allclose(list(found.gates.values()), wanted, rtol=1e-3)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1.0), min_size=4, max_size=4),
    st.lists(st.floats(1e-6, 1.0), min_size=4, max_size=4),
    st.sets(st.sets(st.sampled_from(KEYS), min_size=1).map(frozenset), min_size=1, max_size=3),
)
def test_measurements_of_an_additive_loss_are_met(
    prior: list[float], true: list[float], plans: set[frozenset[str]]
) -> None:
    measured = [(plan(*sorted(keys)), model(true).of_plan(plan(*keys))) for keys in plans]
    found = model(prior).fitted(measured)
    worst = max(abs(math.log(found.of_plan(keys) / loss)) for keys, loss in measured)
    before = max(abs(math.log(model(prior).of_plan(keys) / loss)) for keys, loss in measured)
    assert worst <= 0.02 or worst <= 0.5 * before


def test_what_is_broken_by_itself_can_be_fitted() -> None:
    found = model([math.inf, 0.1, 0.1, 0.1]).fitted([(plan("a"), 0.2)])
    assert found.of_plan(plan("a")) == pytest.approx(0.2)
