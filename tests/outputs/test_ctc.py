"""Texts of frames against a decoder and an edit distance written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qcompiler.outputs.ctc import Frames, changes_text, edits, frames_of
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale
from qcompiler.outputs.tolerances import tolerances_of

KIND = OutputKind(Purpose.CLASSES, "made so")


def decoded(classes: list[int], blank: int = 0) -> list[int]:
    return [key for key, _ in itertools.groupby(classes) if key != blank]


def distance(a: list[int], b: list[int]) -> int:
    if not a or not b:
        return len(a) + len(b)
    substituted = distance(a[1:], b[1:]) + (a[0] != b[0])
    return min(substituted, distance(a[1:], b) + 1, distance(a, b[1:]) + 1)


def frames(length: int = 8, batch: int = 3) -> Frames:
    return Frames((length,) * batch, 0)


def test_texts_are_decoded(rng: np.random.Generator) -> None:
    classes = rng.integers(0, 3, (3, 8))
    found = [each.tolist() for each in frames().texts(classes.ravel())]
    assert found == [decoded(row.tolist()) for row in classes]


def test_edits_are_the_levenshtein_distance(rng: np.random.Generator) -> None:
    for _ in range(60):
        left, right = (rng.integers(1, 4, rng.integers(0, 6)) for _ in range(2))
        assert edits(left, right) == distance(left.tolist(), right.tolist())


def test_a_frame_matters_if_the_text_changes(rng: np.random.Generator) -> None:
    classes = rng.integers(0, 3, (3, 8))
    others = (classes + rng.integers(1, 3, (3, 8))) % 3
    found = changes_text(classes.ravel(), others.ravel(), frames()).reshape(3, 8)
    for row, frame in itertools.product(range(3), range(8)):
        changed = classes[row].tolist()
        changed[frame] = int(others[row, frame])
        assert found[row, frame] == (decoded(changed) != decoded(classes[row].tolist()))


def spiky(rng: np.random.Generator, classes: int = 30, blank: int = 0) -> np.ndarray:
    """[4, 40, classes] logits: a symbol in every third frame, blanks between."""
    logits = rng.standard_normal((4, 40, classes)).astype(np.float32)
    logits[..., blank] += 10
    symbols = rng.integers(1, classes - 1, (4, 13))
    logits[np.arange(4)[:, None], np.arange(13) * 3, symbols] += 25
    return logits


@pytest.mark.parametrize("blank", [0, 29])
@pytest.mark.parametrize("time_first", [False, True])
def test_ctc_heads_are_found(rng: np.random.Generator, blank: int, time_first: bool) -> None:
    logits = spiky(rng, blank=blank)
    samples = [each[:, None] if time_first else each[None] for each in logits]
    found = frames_of(KIND, samples)
    assert found is not None
    assert (found.blank, found.lengths) == (blank, (40,) * 4)


def test_tokens_and_tags_are_no_ctc(rng: np.random.Generator) -> None:
    tokens = rng.standard_normal((4, 40, 30))
    assert frames_of(KIND, [tokens]) is None
    tags = rng.standard_normal((4, 40, 30))
    tags[:, :20, 0] += 20
    tags[:, 20:, 1:] += 20 * (rng.integers(0, 29, (4, 1, 1)) == np.arange(29))
    assert frames_of(KIND, [tags]) is None
    assert frames_of(OutputKind(Purpose.VALUES, ""), [spiky(rng)]) is None


def test_symbols_that_move_by_a_frame_are_no_flips(rng: np.random.Generator) -> None:
    logits = spiky(rng)
    found = tolerances_of(["y"], [KIND], [None], [[logits]], [(False,)])[0]
    assert found.loss == "text"
    moved = found.judged([logits], [np.roll(logits, 1, axis=1)])
    assert moved is not None
    assert (moved.flipped, moved.cost, moved.good) == (0, 0.0, True)
    erased = logits.copy()
    erased[:, 0, 0] += 40  # the first symbol of each text becomes a blank
    lost = found.judged([logits], [erased])
    assert lost is not None
    assert (lost.flipped, lost.decisions, lost.good) == (4, 52, False)


def test_noise_that_was_seen_is_decoded(rng: np.random.Generator) -> None:
    logits = spiky(rng)
    noisy = logits + 1.5 * rng.standard_normal(logits.shape).astype(np.float32)
    ratio = float(np.square(noisy - logits).sum() / np.square(logits).sum())
    assert ratio < 0.25
    start = tolerances_of(["y"], [KIND], [None], [[logits]], [(False,)])[0]
    found = start.after([noisy], ratio)
    counted, flips = start.judged([logits], [noisy]), found.predicted(ratio)
    assert counted is not None
    assert flips is not None
    other = start.judged([logits], [2 * logits - noisy])
    assert other is not None
    assert flips.share == pytest.approx((counted.share + other.share) / 2)


def test_probabilities_of_zero_are_read(rng: np.random.Generator) -> None:
    logits = spiky(rng)
    zeros = np.where(logits == logits.max(-1, keepdims=True), 1, 0).astype(np.float32)
    kind = OutputKind(Purpose.CLASSES, "", Scale.PROBABILITIES)
    found = tolerances_of(["y"], [kind], [None], [[zeros]], [(False,)])[0]
    assert 0 < found.bound <= 0.1
