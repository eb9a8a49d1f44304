"""`Reading`: one way that decisions are read off an output, predicted and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from qcompiler.outputs.ctc import Frames, changes_text, edits
from qcompiler.outputs.decisions import (
    THRESHOLDS,
    Array,
    Decisions,
    class_decisions,
    sigmoids,
    threshold_decisions,
)
from qcompiler.outputs.flips import Flips, prediction
from qcompiler.outputs.kinds import OutputKind, Purpose
from qcompiler.outputs.noise import LogitNoise, SeenNoise, seen_noise


@dataclass(frozen=True, eq=False)
class Reading:
    """Decisions by rank, or at a threshold.

    Attributes:
        decisions: As float takes them.
        rank: The winner has to stay among so many; 0 for a threshold.
        threshold: The threshold, as a probability.
        weighed: Whether flips cost what the network thinks that they cost.
        frames: Where rows are frames of a text.
    """

    decisions: Decisions
    rank: int = 0
    threshold: float = 0.5
    weighed: bool = True
    frames: Frames | None = None

    @property
    def total(self) -> int:
        """How many decisions there are: rows, scores, or symbols of texts."""
        return int(self.decisions.counted if self.frames else self.decisions.sides.size)

    def predicted(self, noise: LogitNoise, ratio: float) -> Flips:
        """Flips at a noise-to-signal ratio.

        Neighbouring frames of a text move together, so once noise was seen, it is scaled, and the
        texts are decoded; with both signs, which are equally likely elsewhere.
        """
        return self.prediction(noise, ratio)(ratio)

    def prediction(self, noise: LogitNoise, most: float) -> Callable[[float], Flips]:
        """The same as a function of the ratio, up to a largest one."""
        if self.frames is None or noise.seen is None:
            return prediction(self.decisions, noise, most)
        return partial(self._of_noise, noise.ratio, noise.seen)

    def _of_noise(self, seen_at: float, seen: SeenNoise, ratio: float) -> Flips:
        """Changes of texts by noise that was seen at one ratio, at another."""
        scale = float(np.sqrt(ratio / seen_at))
        both = [self._of_texts(seen.winners(s), seen) for s in (scale, -scale)]
        symbols = max(self.decisions.counted, 1.0)
        share, cost = (sum(each[i] for each in both) / 2 / symbols for i in range(2))
        return Flips(min(share, 1.0), min(cost, 1.0), cost * cost / share if share else 0.0)

    def counted(self, logits: Array, noisy: Array) -> tuple[int, float]:
        """How many decisions flip, and the sum of what they cost.

        Args:
            logits: Of float, [rows, classes].
            noisy: Of a result. A row with NaN is no decision at all.
        """
        if not self.rank:
            bar = np.log(self.threshold / (1 - self.threshold))
            changed = ~((noisy.ravel() > bar) == (logits.ravel() > bar)) | np.isnan(noisy.ravel())
            return int(changed.sum()), float(self.decisions.costs[changed].sum())
        winners = self.decisions.sides
        chosen = np.nan_to_num(noisy, nan=-np.inf).argmax(1)
        if self.rank == 1:
            changed = chosen != winners
        else:
            changed = (noisy > np.take_along_axis(noisy, winners[:, None], 1)).sum(1) >= self.rank
        changed |= np.isnan(noisy).any(1)
        if self.frames is not None:
            return self._of_texts(chosen, seen_noise(logits, noisy))
        flips = int(changed.sum())
        costs = _gaps(logits[changed], chosen[changed]) if self.weighed else np.array([flips])
        return flips, float(costs.sum())

    def _of_texts(self, chosen: Array, seen: SeenNoise) -> tuple[int, float]:
        """Edits of the texts, and what they cost.

        A sequence with edits costs what its changed frames do, and at most 1 for an edit: a symbol
        that moves by a frame changes two of them, and no text.
        """
        assert self.frames is not None
        winners, starts = self.decisions.sides, np.cumsum((0, *self.frames.lengths))
        changed = np.flatnonzero((chosen != winners) & changes_text(winners, chosen, self.frames))
        gaps = np.zeros(len(winners))
        gaps[changed] = seen.gaps(changed, chosen[changed])
        texts = zip(self.frames.texts(winners), self.frames.texts(chosen), strict=True)
        flips = [0 if np.array_equal(a, b) else edits(a, b) for a, b in texts]
        costs = np.minimum(flips, np.add.reduceat(gaps, starts[:-1]))
        return sum(flips), float(costs.sum())


def readings(
    kind: OutputKind,
    logits: Array,
    rank: int | None = None,
    weighed: bool = True,
    frames: Frames | None = None,
) -> tuple[Reading, ...]:
    """All readings of an output of decisions: one of classes, three thresholds of scores."""
    if kind.purpose is Purpose.YES_NO:
        scores = sigmoids(logits) if weighed else None  # once for all thresholds: a third less
        return tuple(
            Reading(threshold_decisions(logits, each, weighed, scores), 0, each, weighed)
            for each in THRESHOLDS
        )
    rank = min(rank or 1, logits.shape[1] - 1)
    decisions = class_decisions(logits, rank, weighed, frames)
    return (Reading(decisions, rank, weighed=weighed, frames=frames),)


def worst(found: Sequence[Flips]) -> Flips:
    """The flips that cost most."""
    return max(found, key=lambda each: (each.cost, each.share))


def _gaps(logits: Array, chosen: Array) -> Array:
    """Probability of float's winner less that of the new one, by float's own scores."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    new = np.take_along_axis(shifted, chosen[:, None], 1)[:, 0]
    return np.asarray((1 - new) / shifted.sum(1))
