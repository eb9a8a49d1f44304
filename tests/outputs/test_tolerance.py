"""Flips and bounds against simulated noise, and against decisions whose margins are constructed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.special

from qcompiler.errors import ConfigurationError
from qcompiler.outputs.asked import DEFAULT_NSR, OutputLoss, output_losses_of
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale
from qcompiler.outputs.tolerance import CHEAP, FEW, MOST_RATIO, SHIFT, Tolerance
from qcompiler.outputs.tolerances import tolerances_of

Array = np.ndarray
RNG = np.random.default_rng(1)
CLASSES = OutputKind(Purpose.CLASSES, "made so")
SCORES = OutputKind(Purpose.YES_NO, "made so", Scale.PROBABILITIES)
PROBABILITIES = OutputKind(Purpose.CLASSES, "made so", Scale.PROBABILITIES)


def tolerance(kind: OutputKind, samples: list[Array], asked: OutputLoss | None = None) -> Tolerance:
    return tolerances_of(["y"], [kind], [asked], [[each] for each in samples], [(False,)])[0]


def with_margins(margins: Array, classes: int = 10) -> Array:
    """Logits of rows whose two highest differ by `margins`; the others are far below."""
    rows = RNG.standard_normal((len(margins), classes)) - 30
    order = RNG.permuted(np.tile(np.arange(classes), (len(margins), 1)), axis=1)
    index = np.arange(len(margins))
    rows[index, order[:, 0]], rows[index, order[:, 1]] = 5 + margins, 5
    return rows


def ratio_of(before: Array, after: Array) -> float:
    return float(np.square(after - before).sum() / np.square(before).sum())


def test_few_flips_of_any_cost_are_allowed() -> None:
    asked = output_losses_of("top1", 0.1, ["y"])[0]
    logits = with_margins(RNG.exponential(2.0, 500))
    found = tolerance(CLASSES, [logits], asked)
    flips = found.predicted(found.bound)
    assert flips is not None
    assert flips.share == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_predicted_flips_of_classes_are_those_of_simulated_noise(spread: float) -> None:
    """The oracle draws the noise; its error is sqrt(p / n) of a share p of n draws."""
    logits = with_margins(RNG.exponential(2.0, 2000))
    draws = RNG.standard_normal((20, *logits.shape)) * spread
    share = np.mean([(logits + each).argmax(1) != logits.argmax(1) for each in draws])
    ratio = spread**2 / np.square(logits).mean()
    flips = tolerance(CLASSES, [logits]).predicted(float(ratio))
    assert flips is not None
    allowed = 4 * math.sqrt(share / (20 * len(logits))) + 1 / len(logits)
    assert flips.share == pytest.approx(share, abs=allowed)


def test_noise_of_probabilities_goes_to_logits_by_the_jacobian() -> None:
    logits = RNG.standard_normal((4000, 8)) * 2
    noisy = logits + RNG.standard_normal(logits.shape) * 0.05
    before, after = scipy.special.softmax(logits, 1), scipy.special.softmax(noisy, 1)
    flips = tolerance(PROBABILITIES, [before]).predicted(ratio_of(before, after))
    share = float((noisy.argmax(1) != logits.argmax(1)).mean())
    assert flips is not None
    assert flips.share == pytest.approx(share, abs=4 * math.sqrt(share / len(logits)))


def test_noise_that_a_candidate_showed_is_used() -> None:
    """Half of the rows have ten times the noise: one size for all would say something else."""
    logits = with_margins(np.full(4000, 1.0), classes=40)
    sizes = np.repeat([0.1, 1.0], 2000)[:, None]
    noisy = logits + RNG.standard_normal(logits.shape) * sizes
    ratio = ratio_of(logits, noisy)
    share = float((noisy.argmax(1) != logits.argmax(1)).mean())
    start = tolerance(CLASSES, [logits])
    seen, assumed = start.after([noisy], ratio).predicted(ratio), start.predicted(ratio)
    assert seen is not None
    assert assumed is not None
    assert seen.share == pytest.approx(share, rel=0.15)
    assert abs(assumed.share - share) > 0.2 * share


def test_scores_rounded_to_0_do_not_tell_the_noise_of_decisions() -> None:
    """Logits spread up to -8; noise of 0.2 moves them, then a kernel rounds scores to 1/64."""
    rng = np.random.default_rng(2)
    logits = rng.uniform(-8, 2, 20000)
    noisy = scipy.special.expit(logits + 0.2 * rng.standard_normal(logits.size))
    scores, result = scipy.special.expit(logits), np.round(noisy * 64) / 64
    ratio = ratio_of(scores, result)
    found = tolerance(SCORES, [scores]).after([result], ratio)
    assert found.noise is not None
    np.testing.assert_allclose(found.noise.at(ratio), 0.2, rtol=0.05)
    crossing = np.abs(((scores > 0.5) != (result > 0.5)).sum() / (2 * (scores > 0.5).sum()))
    flips = found.readings[1].predicted(found.noise, ratio)
    assert flips.share == pytest.approx(crossing, rel=0.2)  # 80 flips, known to 11 %


def test_wide_margins_bear_more_noise_than_close_ones() -> None:
    wide = tolerance(CLASSES, [with_margins(np.linspace(12, 20, 400))])
    close = tolerance(CLASSES, [with_margins(np.linspace(0.5, 3, 400))])
    assert close.bound < DEFAULT_NSR < wide.bound <= MOST_RATIO


def test_a_bound_that_nobody_asked_for_leaves_room_for_other_data() -> None:
    logits = with_margins(RNG.exponential(2.0, 500))
    found = tolerance(CLASSES, [logits])
    assert not found.keeps(1.01 * SHIFT * found.bound)
    assert found.keeps(0.99 * SHIFT * found.bound)


def test_flips_between_classes_alike_cost_next_to_nothing() -> None:
    """The cost of a flip is p - q: half of the rows may flip if p = q."""
    found = tolerance(CLASSES, [with_margins(np.full(400, 1e-4))])
    flips = found.predicted(found.bound)
    assert flips is not None
    assert flips.share > 10 * FEW
    assert flips.cost <= CHEAP


def test_decisions_that_are_all_the_same_tell_nothing_of_close_ones() -> None:
    rows = np.zeros((64, 10))
    rows[:, 3] = 20
    assert tolerance(CLASSES, [rows]).bound <= DEFAULT_NSR


def test_an_offset_is_no_signal() -> None:
    logits = with_margins(np.linspace(12, 20, 400))
    shifted = tolerance(CLASSES, [logits + 1000])
    plain = tolerance(CLASSES, [logits])
    noise = [each.bound * np.square(rows).mean() for each, rows in
             [(plain, logits), (shifted, logits + 1000)]]  # fmt: skip
    assert noise[1] <= noise[0] * 1.01


@pytest.mark.parametrize("flips", [0, 1, 8, 40])
def test_real_flips_are_counted(flips: int) -> None:
    logits = with_margins(np.full(400, 3.0))
    noisy = logits.copy()
    rows = np.arange(flips)
    first, second = np.argsort(-logits, axis=1)[:flips, :2].T
    noisy[rows, first], noisy[rows, second] = logits[rows, second], logits[rows, first]
    found = tolerance(CLASSES, [logits]).judged([logits], [noisy])
    assert found is not None
    assert (found.flipped, found.decisions) == (flips, 400)
    gap = float(-np.diff(scipy.special.softmax([3.0, 0.0]))[0])
    assert found.cost == pytest.approx(flips * gap / 400, rel=1e-6)
    assert found.good == (flips < 8)  # 2 are allowed; 8 are no chance


def test_nan_is_no_decision() -> None:
    logits = with_margins(np.full(100, 9.0))
    found = tolerance(CLASSES, [logits]).judged([logits], [np.full_like(logits, np.nan)])
    assert found is not None
    assert (found.flipped, found.good) == (100, False)


def test_background_does_not_count() -> None:
    """Of 1000 pixels 10 are something: 2 flips are a tenth of what matters."""
    scores = np.full(1000, 0.001, np.float32)
    scores[:10] = 0.95
    noisy = scores.copy()
    noisy[:2] = 0.05
    found = tolerance(SCORES, [scores]).judged([scores], [noisy])
    assert found is not None
    assert (found.flipped, found.share, found.good) == (2, 0.1, False)


def test_the_worst_of_three_thresholds_counts() -> None:
    scores = RNG.uniform(0.01, 0.99, 2000).astype(np.float32)
    noisy = np.where((scores > 0.3) & (scores < 0.45), np.float32(0.2), scores)
    found = tolerance(SCORES, [scores]).judged([scores], [noisy])
    assert found is not None
    assert found.flipped == int(((scores > 0.3) & (scores < 0.45)).sum())
    assert not found.good


def test_top5_asks_whether_the_winner_stays_among_five() -> None:
    asked = output_losses_of("top5", 0.5, ["y"])[0]
    logits = np.tile(np.arange(12.0), (4, 1))
    noisy = logits.copy()
    noisy[0, 11] = 7.5  # now the fourth... of 10, 9, 8, 7.5
    noisy[1, 11] = 5.5  # now the sixth
    found = tolerance(CLASSES, [logits], asked).judged([logits], [noisy])
    assert found is not None
    assert (found.flipped, found.share) == (1, 0.25)


def test_a_function_of_the_users() -> None:
    asked = output_losses_of(lambda a, b: float(np.abs(a - b).max()), 0.5, ["y"])[0]
    found = tolerance(CLASSES, [np.zeros((2, 3))], asked)
    good = found.judged([np.zeros((2, 3))], [np.full((2, 3), 0.4)])
    bad = found.judged([np.zeros((2, 3))], [np.full((2, 3), 0.6)])
    assert good is not None
    assert bad is not None
    assert good.cost == pytest.approx(0.4)
    assert (good.good, bad.good) == (True, False)


@pytest.mark.parametrize(
    ("loss", "bound", "ratio"),
    [("sqnr", 0.02, 0.02), ("cosine", 0.01, 0.02), ("agreement", 0.0275, 0.00753)],
)
def test_bounds_in_their_own_unit(loss: str, bound: float, ratio: float) -> None:
    asked = output_losses_of(loss, bound, ["y"])[0]
    assert tolerance(CLASSES, [np.ones((2, 9))], asked).bound == pytest.approx(ratio, rel=0.01)


def test_losses_by_name_and_position() -> None:
    found = output_losses_of({"b": "top1", 0: "cosine"}, {"b": 0.02, 2: 0.1}, ["a", "b", "c", "d"])
    told = [each and (each.name, each.allowed, each.given) for each in found]
    assert told == [("cosine", 0.00375, False), ("top1", 0.02, True), ("sqnr", 0.1, True), None]


@pytest.mark.parametrize(
    ("loss", "bound", "message"),
    [
        ("topp1", None, "no loss 'topp1'"),
        ({"z": "top1"}, None, "does not have"),
        ({7: "top1"}, None, "does not have"),
        (lambda a, b: 0.0, None, "no bound"),
        ("top1", -1, "not negative"),
        ("top1", float("nan"), "not negative"),
        (3, None, "loss must be"),
    ],
)
def test_what_makes_no_sense_is_refused(loss: object, bound: float, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        output_losses_of(loss, bound, ["a", "b"])  # type: ignore[arg-type]


def test_a_loss_that_does_not_fit_the_output_is_refused() -> None:
    asked = output_losses_of("top1", None, ["y"])[0]
    with pytest.raises(ConfigurationError, match="needs scores"):
        tolerance(OutputKind(Purpose.LABELS, "made so"), [np.arange(4)], asked)
    with pytest.raises(ConfigurationError, match="has one"):
        tolerance(OutputKind(Purpose.VALUES, "made so"), [np.ones((4, 1))], asked)


def test_chance_is_that_of_a_poisson_number() -> None:
    """For flips that cost 1 the rule is the tail of the Poisson distribution."""
    import scipy.stats

    from qcompiler.outputs.flips import more_than_chance

    for allowed, counted in itertools.product([0.2, 1.0, 5.0, 40.0], range(80)):
        tail = scipy.stats.poisson.sf(counted - 1, allowed)
        assert more_than_chance(counted, allowed, 1.0) == (counted > allowed and tail < 0.05)


@pytest.mark.parametrize("ratio", [1e-4, 3e-3, 0.1])
@pytest.mark.parametrize("single", [False, True])
def test_decisions_gathered_by_their_margins_flip_as_one_by_one(ratio: float, single: bool) -> None:
    """The oracle adds up every decision by itself; bins are finer than a hundredth of the noise."""
    from qcompiler.outputs.decisions import Decisions
    from qcompiler.outputs.flips import prediction
    from qcompiler.outputs.noise import LogitNoise

    count = 200_000
    margins = np.concatenate([RNG.exponential(3.0, count - 2), [np.inf, 0.0]])
    costs = 1 / (1 + np.exp(-margins)) - 0.5
    noise = LogitNoise(RNG.uniform(2.0, 4.0, 1 if single else count), 0.5, 1.0)
    found = prediction(Decisions(margins, costs, np.zeros(count, np.int64), count), noise, 0.1)
    chances = scipy.special.ndtr(-margins / noise.deviations / math.sqrt(ratio / 0.5))
    for power, got in enumerate((found(ratio).share, found(ratio).cost, found(ratio).square)):
        wanted = float((chances * costs**power).sum()) / count
        assert got == pytest.approx(wanted, rel=3e-5, abs=1 / count)
