"""Loss of a compiled program against float: noise-to-signal ratio of its worst output.

NSR = sum (y - q)^2 / sum y^2 over the samples; SQNR in dB is -10 log10(NSR). Noise of independent
quantization errors adds up in it, which is what the search builds on. The worst output decides, and
slices of one output that differ much in size (boxes and scores) count as outputs of their own.

Labels (integers that are no numbers, booleans) are judged by agreement. The share p of elements
that differ counts as tan^2(pi p): if the sign of a Gaussian signal is the label, Gaussian noise of
that NSR changes this share of the signs (Sheppard 1899, on the median dichotomy). So 2.75 % of the
labels may differ at the default bound of 0.0075, and noise still adds up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.measurement.slices import OutputSlices, plain_slices
from qcompiler.outputs.variation import directions

Array = npt.NDArray[Any]
Outputs = Sequence[Any]


def noise_to_signal(
    reference: Sequence[Outputs],
    measured: Sequence[Outputs],
    slices: Sequence[OutputSlices] | None = None,
) -> float:
    """Loss of the worst slice; 0 for equality, inf when shapes, NaNs or infinities differ.

    Slices with a weight count that much of their loss.

    Args:
        reference: Outputs per sample, as float computes them.
        measured: The same of the compiled program.
        slices: How every output is judged; as a whole and by its element type if absent.
    """
    losses = output_losses(reference, measured, slices)
    return weighed(losses, slices)


def weighed(losses: Sequence[float], slices: Sequence[OutputSlices] | None) -> float:
    """The worst of the losses of outputs, by their weights."""
    if slices is None or not losses:
        return max(losses, default=0.0)
    return max((each.weight * loss for each, loss in zip(slices, losses, strict=True)), default=0.0)


def output_losses(
    reference: Sequence[Outputs],
    measured: Sequence[Outputs],
    slices: Sequence[OutputSlices] | None = None,
) -> list[float]:
    """Loss of every output, by its worst slice, no weights. Arguments as for `noise_to_signal`."""
    if not reference:
        return []
    known = plain_slices(reference) if slices is None else slices
    return [
        _worst(list(_pairs(reference, measured, position)), each)
        for position, each in enumerate(known)
    ]


def agreement_loss(share: float) -> float:
    """Loss that stands for a share of differing labels; inf from a half on."""
    return math.inf if share >= 0.5 else math.tan(math.pi * share) ** 2


def _pairs(
    reference: Sequence[Outputs], measured: Sequence[Outputs], position: int
) -> Iterator[tuple[Any, Any]]:
    for wanted, got in zip(reference, measured, strict=True):
        yield wanted[position], got[position]


def _worst(pairs: Sequence[tuple[Any, Any]], slices: OutputSlices) -> float:
    if any(isinstance(each, list) or each is None for pair in pairs for each in pair):
        return _of_sequences(pairs)
    if any(np.shape(wanted) != np.shape(got) for wanted, got in pairs):
        return math.inf
    arrays = [(np.asarray(wanted), np.asarray(got)) for wanted, got in pairs]
    if slices.unit:
        # Of directions, noise is 2 (1 - cos).
        arrays = [(directions(wanted), directions(got)) for wanted, got in arrays]
    return max(
        (
            (_agreement if labels else _ratio)(list(_selected(arrays, slices, number)))
            for number, labels in enumerate(slices.labels)
            if number not in slices.apart
        ),
        default=0.0,
    )


def _of_sequences(pairs: Sequence[tuple[Any, Any]]) -> float:
    """Of sequences of tensors and optional ones: the worst tensor, over all samples."""
    worst = 0.0
    for wanted, got in pairs:
        left, right = _members(wanted), _members(got)
        if len(left) != len(right):
            return math.inf
        worst = max(worst, noise_to_signal([left], [right]))
    return worst


def _members(output: Any) -> list[Any]:
    if output is None:
        return []
    return output if isinstance(output, list) else [output]


def _selected(
    pairs: Sequence[tuple[Array, Array]], slices: OutputSlices, number: int
) -> Iterator[tuple[Array, Array]]:
    for (wanted, got), groups in zip(pairs, slices.groups, strict=True):
        if groups is None:
            yield wanted, got
        else:
            inside = groups == number
            yield wanted[inside], got[inside]


def _agreement(pairs: Sequence[tuple[Array, Array]]) -> float:
    count = sum(wanted.size for wanted, _ in pairs)
    differing = sum(int(np.count_nonzero(wanted != got)) for wanted, got in pairs)
    return agreement_loss(differing / count) if count else 0.0


def _ratio(pairs: Sequence[tuple[Array, Array]]) -> float:
    signal = noise = 0.0
    middle = _middle([wanted for wanted, _ in pairs])
    for wanted, got in pairs:
        if wanted.dtype.kind not in "fiub":
            if not np.array_equal(wanted, got):
                return math.inf
            continue
        finite = np.isfinite(wanted)
        # Infinities are equal where they are, NaN is where it is.
        if not np.array_equal(wanted[~finite], got[~finite], equal_nan=wanted.dtype.kind == "f"):
            return math.inf
        y, q = wanted[finite].astype(np.float64), got[finite].astype(np.float64)
        if not np.isfinite(q).all():
            return math.inf
        signal += float(np.square(y - middle).sum())
        noise += float(np.square(y - q).sum())
    if noise == 0:
        return 0.0
    return noise / signal if signal > 0 else math.inf


def _middle(wanted: Sequence[Array]) -> float:
    """What integers are counted from, their mean: a zero point of 128 is no signal; 0 of floats."""
    counted = [each for each in wanted if each.dtype.kind in "iu" and each.size]
    if not counted:
        return 0.0
    mean = sum(float(each.sum(dtype=np.float64)) for each in counted)
    mean /= sum(each.size for each in counted)
    return 0.0 if all((each == mean).all() for each in counted) else mean


def sqnr_db(ratio: float) -> float:
    """Signal-to-noise ratio in dB; inf for no noise."""
    return math.inf if ratio <= 0 else -10 * math.log10(ratio)
