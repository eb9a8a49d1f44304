"""The tolerance of every output: as the user asked, or as the analysis found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qcompiler.errors import ConfigurationError
from qcompiler.outputs.asked import (
    AGREEMENT,
    COSINE,
    DEFAULT_NSR,
    FUNCTION,
    SIGMOID,
    SQNR,
    OutputLoss,
)
from qcompiler.outputs.ctc import frames_of
from qcompiler.outputs.decisions import logits_of, looked_at
from qcompiler.outputs.evidence import are_probabilities, log_probability_axis, probability_axis
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale
from qcompiler.outputs.noise import assumed
from qcompiler.outputs.reading import readings
from qcompiler.outputs.tolerance import LOOSE_NSR, TEXT, Tolerance, derived
from qcompiler.outputs.variation import varying_share
from qcompiler.outputs.views import View

_VARIED = 0.5
"""Share of an output that varies from which all of it counts: means of few samples are no better
known than that, and it is 3 dB of the bound at most."""


def tolerances_of(
    names: Sequence[str],
    kinds: Sequence[OutputKind],
    asked: Sequence[OutputLoss | None],
    reference: Sequence[Sequence[Any]],
    parts: Sequence[Sequence[bool]],
) -> list[Tolerance]:
    """One for every output.

    Args:
        names: Of the outputs.
        kinds: What they are for.
        asked: What the user asked of each.
        reference: Outputs of float per sample.
        parts: Of every output, for each part that is judged apart whether it holds labels. Classes
            of different size are parts too, but one decision.

    Raises:
        ConfigurationError: The loss that was asked for does not fit the output.
    """
    found = []
    for position, (name, kind) in enumerate(zip(names, kinds, strict=False)):
        samples = [outputs[position] for outputs in reference]
        wanted = asked[position]
        if wanted is None:
            found.append(_found(name, kind, samples, parts[position]))
        else:
            found.append(_wanted(name, kind, wanted, samples))
    return found


def seen_through(view: View, tolerance: Tolerance) -> Tolerance:
    """The tolerance of a view. Scores that are a part of an output bear what values do at least.

    Samples show few detections, and half a percent of few is less than one: a bound from them alone
    would be that of the one detection which happens to be closest to a threshold.
    """
    part = view.whole is None and any(group is not None for _, group in view.parts)
    found = replace(tolerance, view=view)
    return derived(replace(found, at_least=DEFAULT_NSR)) if part else found


def _found(name: str, kind: OutputKind, samples: Sequence[Any], parts: Sequence[bool]) -> Tolerance:
    reason, divided = f"{kind.purpose.value}: {kind.reason}", len(parts) > 1
    if kind.decides and not any(parts):
        loss = SIGMOID if kind.purpose is Purpose.YES_NO else "top1"
        return _deciding(Tolerance(name, loss, kind, reason, DEFAULT_NSR), samples)
    if divided:
        reason = f"parts of different size are judged apart; {reason}"
    loss = {Purpose.EMBEDDING: COSINE, Purpose.LABELS: AGREEMENT}.get(kind.purpose, SQNR)
    if divided or kind.purpose not in (Purpose.EMBEDDING, Purpose.VALUES):
        return Tolerance(name, SQNR if divided else loss, kind, reason, DEFAULT_NSR)
    share = varying_share(samples, unit=loss == COSINE)
    if share > _VARIED:
        return Tolerance(name, loss, kind, reason, DEFAULT_NSR)
    reason += f"; {share:.2g} of its power differs from sample to sample, the rest is no signal"
    return Tolerance(name, loss, kind, reason, DEFAULT_NSR * share)


def _wanted(name: str, kind: OutputKind, asked: OutputLoss, samples: Sequence[Any]) -> Tolerance:
    reason = "as asked"
    if asked.name == SQNR:
        return Tolerance(name, SQNR, kind, reason, asked.allowed, asked)
    if asked.name == FUNCTION:
        return Tolerance(name, FUNCTION, kind, reason, LOOSE_NSR, asked)
    if asked.name == AGREEMENT:
        share = min(asked.allowed, 0.499)
        return Tolerance(name, AGREEMENT, kind, reason, math.tan(math.pi * share) ** 2, asked)
    _require_floats(name, asked, samples)
    if asked.name == COSINE:
        return Tolerance(name, COSINE, kind, reason, 2 * asked.allowed, asked)
    kind = _read_as(name, kind, asked, samples)
    start = Tolerance(name, asked.name, kind, reason, DEFAULT_NSR, asked, asked.allowed, 0.0)
    return _deciding(start, samples)


def _deciding(tolerance: Tolerance, samples: Sequence[Any]) -> Tolerance:
    """With decisions and the noise assumed of them; values where a score is no number."""
    kind, asked = tolerance.kind, tolerance.asked
    if not all(np.isfinite(each).all() for each in samples):
        return Tolerance(
            tolerance.output,
            SQNR,
            kind,
            f"{tolerance.reason}; it holds NaN or infinity",
            DEFAULT_NSR,
        )
    logits = logits_of(kind, samples)
    frames = frames_of(kind, looked_at(samples)) if asked is None else None
    ways = readings(kind, logits, asked.rank if asked else 1, asked is None, frames)
    if frames is not None:
        told = f"text of frames, the blank is class {frames.blank}: {kind.reason}"
        tolerance = replace(tolerance, reason=told, loss="text", few=TEXT, cheap=TEXT)
    noise = assumed(kind, samples, logits)
    return derived(replace(tolerance, logits=logits, readings=ways, noise=noise))


def _read_as(name: str, kind: OutputKind, asked: OutputLoss, samples: Sequence[Any]) -> OutputKind:
    """How decisions that the user speaks of are read, whatever the analysis found."""
    if asked.name == SIGMOID:
        scale = Scale.PROBABILITIES if are_probabilities(samples) else Scale.LOGITS
        return OutputKind(Purpose.YES_NO, kind.reason, scale)
    if kind.purpose is Purpose.CLASSES:
        return kind
    axis = probability_axis(samples)
    scale = Scale.LOGITS if axis is None else Scale.PROBABILITIES
    if axis is None and (axis := log_probability_axis(samples)) is not None:
        scale = Scale.LOG_PROBABILITIES
    axis = -1 if axis is None else axis
    if any(each.ndim < 1 or each.shape[axis] < 2 for each in samples):
        raise ConfigurationError(
            f"'{asked.name}' chooses among classes, and the output '{name}' has one",
            why=f"its shape is {list(np.shape(samples[0]))}",
            fix="take loss='sigmoid' for scores of yes or no, or 'sqnr'",
        )
    return OutputKind(Purpose.CLASSES, kind.reason, scale, axis)


def _require_floats(name: str, asked: OutputLoss, samples: Sequence[Any]) -> None:
    if all(isinstance(each, np.ndarray) and each.dtype.kind == "f" for each in samples):
        return
    kind = getattr(samples[0], "dtype", type(samples[0]).__name__) if samples else "unknown"
    raise ConfigurationError(
        f"the loss '{asked.name}' needs scores, and the output '{name}' holds {kind}",
        fix="take 'agreement' for it, or a function",
    )
