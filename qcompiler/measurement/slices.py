"""Which elements of an output are judged together.

One tensor may hold boxes in pixels and scores in 0..1; the noise allowed to the boxes would drown
the scores. Elements of one origin (a part of a Concat, see `parts`) are measured, and origins of
like size are put together. Where nothing of the kind is in the graph, the data tell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

APART = math.sqrt(10)
"""Ratio of root mean squares from which parts are judged apart: half an order of magnitude. Below,
noise allowed to the whole (21 dB) leaves the smaller part 11 dB at least."""
_GAP = 30.0
"""The same where only the data tell that there are parts; channels of one kind differ by less."""
_MOST_SEGMENTS = 5
_MOST_INDICES = 65536
_SENTINEL = 1e6
"""Multiple of the median size from which a number is a mark (-3.4e38 for 'masked'), no signal."""


@dataclass(frozen=True, eq=False)
class OutputSlices:
    """How one output is judged. Picklable.

    Attributes:
        labels: For every group of elements, whether its elements are labels (compared for
            equality) or numbers (compared by their noise).
        groups: Per sample the group of every element, int16 in the output's shape; None where all
            elements are of group 0.
        weight: What the loss of this output counts, where outputs have different bounds.
        unit: Whether only directions of rows (along the last axis) count.
        scores: Groups whose elements are scores of yes or no.
        apart: Groups that are judged by themselves elsewhere, and not here.
    """

    labels: tuple[bool, ...]
    groups: tuple[Array | None, ...]
    weight: float = 1.0
    unit: bool = False
    scores: tuple[int, ...] = ()
    apart: frozenset[int] = frozenset()

    @property
    def judged_labels(self) -> tuple[bool, ...]:
        """Whether its elements are labels, of every group that is judged here."""
        return tuple(each for i, each in enumerate(self.labels) if i not in self.apart)

    def alike(self, other: OutputSlices) -> bool:
        """Whether both judge the same."""
        rest = replace(self, groups=()).__dict__ == replace(other, groups=()).__dict__
        pairs = zip(self.groups, other.groups, strict=False)
        return rest and len(self.groups) == len(other.groups) and all(_same(*e) for e in pairs)

    def of(self, sample: int) -> OutputSlices:
        """The same for one sample only."""
        return replace(self, groups=self.groups[sample : sample + 1])

    def first(self, samples: int) -> OutputSlices:
        """The same for the first samples only."""
        return replace(self, groups=self.groups[:samples])

    def at(self, samples: Sequence[int]) -> OutputSlices:
        """The same for these samples only."""
        return replace(self, groups=tuple(self.groups[each] for each in samples))


def _same(one: Array | None, two: Array | None) -> bool:
    if one is None or two is None:
        return one is two
    return one is two or np.array_equal(one, two)


def plain_slices(reference: Sequence[Sequence[Any]]) -> list[OutputSlices]:
    """Every output as a whole; what is no float is a label."""
    outputs = reference[0] if reference else ()
    none = (None,) * len(reference)
    return [OutputSlices((_is_label(each),), none) for each in outputs]


def _is_label(output: Any) -> bool:
    return isinstance(output, np.ndarray) and output.dtype.kind not in "fc"


def slices_by_origin(
    samples: Sequence[Array],
    origins: Sequence[Array],
    labels: Mapping[int, bool],
    scores: Collection[int] = (),
) -> OutputSlices:
    """Slices of an output whose elements have known origins.

    Args:
        samples: The output per sample.
        origins: Number of every element's origin, per sample, in the output's shape.
        labels: By origin, whether it gives labels.
        scores: Origins that give scores of yes or no. Each is a slice whatever its size: rare
            detections make scores small, not unimportant.
    """
    sizes: dict[int, float] = {}
    present = sorted({int(each) for origin in origins for each in np.unique(origin)})
    deciding = []
    for each in present:
        if labels.get(each, False):
            continue
        inside = [a[o == each] for a, o in zip(samples, origins, strict=True)]
        if each in scores and all(_are_probabilities(part) for part in inside):
            deciding.append(each)
        else:
            sizes[each] = _rms(inside)
    groups = clustered(sizes, APART)
    numbers = max(groups.values(), default=-1) + 1
    groups |= {each: numbers + i for i, each in enumerate(deciding)}
    found = tuple(groups[each] for each in deciding)
    numbers += len(deciding)
    marks = [each for each in present if labels.get(each, False)]
    groups |= {each: numbers + i for i, each in enumerate(marks)}
    kinds = (False,) * numbers + (True,) * len(marks)
    if len(kinds) <= 1:  # none where no sample has an element
        return OutputSlices(kinds or (False,), (None,) * len(samples))
    renumbered = tuple(_renumbered(origin, groups) for origin in origins)
    return OutputSlices(kinds, renumbered, scores=found)


def slices_by_data(samples: Sequence[Array]) -> OutputSlices:
    """Slices of an output of one origin: sentinels, then indices of an axis that differ in size."""
    whole = OutputSlices((False,), (None,) * len(samples))
    marks = [_sentinels(each) for each in samples]
    if any(each.any() for each in marks) and not all(each.all() for each in marks):
        return OutputSlices((False, False), tuple(each.astype(np.int16) for each in marks))
    if all(_are_probabilities(each) for each in samples):
        return whole
    for axis in range(1, samples[0].ndim):
        groups = _by_axis(samples, axis)
        if groups is not None:
            shape = [1] * samples[0].ndim
            shape[axis] = len(groups)
            spread = groups.reshape(shape)
            parts = tuple(np.broadcast_to(spread, each.shape) for each in samples)
            return OutputSlices((False,) * (int(groups.max()) + 1), parts)
    return whole


def clustered(sizes: Mapping[int, float], apart: float) -> dict[int, int]:
    """Group of every key: a new one begins where the next larger size is `apart` times as large.

    Keys of size 0 (no signal) go with the smallest.
    """
    found: dict[int, int] = {}
    group, last = 0, 0.0
    for key in sorted(sizes, key=lambda each: (sizes[each], each)):
        if last > 0 and sizes[key] >= apart * last:
            group += 1
        found[key], last = group, sizes[key]
    return found


def _by_axis(samples: Sequence[Array], axis: int) -> Array | None:
    """Group of every index of the axis; None where the indices are of one size."""
    lengths = {each.shape[axis] for each in samples}
    if len(lengths) != 1 or not 1 < max(lengths) <= _MOST_INDICES:
        return None
    sizes = _rms_along(samples, axis)
    groups = clustered(dict(enumerate(sizes.tolist())), _GAP)
    if max(groups.values()) == 0:
        return None
    found = np.asarray([groups[i] for i in range(len(groups))], np.int16)
    segments = sum(1 for _ in itertools.groupby(found.tolist()))
    return found if segments <= _MOST_SEGMENTS else None


def _rms_along(samples: Sequence[Array], axis: int) -> Array:
    """Root mean square of every index of an axis over finite elements."""
    others = tuple(i for i in range(samples[0].ndim) if i != axis)
    total = np.zeros(samples[0].shape[axis])
    count = 0
    for each in samples:
        clean = np.where(np.isfinite(each), each, 0).astype(np.float64)
        total += np.square(clean).sum(axis=others)
        count += each.size // max(each.shape[axis], 1)
    return np.sqrt(total / max(count, 1))


def _rms(parts: Sequence[Array]) -> float:
    total = count = 0.0
    for each in parts:
        if each.dtype.kind not in "fiub":
            continue
        clean = each[np.isfinite(each)].astype(np.float64)
        total += float(np.square(clean).sum())
        count += clean.size
    return math.sqrt(total / count) if count else 0.0


def _sentinels(sample: Array) -> Array:
    """Where a finite number is out of all proportion to the others."""
    if sample.dtype.kind != "f":
        return np.zeros(sample.shape, bool)
    size = np.array(np.abs(sample), np.float64)
    size[~np.isfinite(size)] = 0
    if not size.size or size.max() < _SENTINEL:
        return np.zeros(sample.shape, bool)
    usual = size[(size > 0) & (size < _SENTINEL)]
    if not usual.size:
        return np.zeros(sample.shape, bool)
    return np.asarray(size > _SENTINEL * max(float(np.median(usual)), 1e-6))


def _are_probabilities(sample: Array) -> bool:
    """Whether all lie in 0..1: rare classes have small ones, and are no parts of their own."""
    if not sample.size:
        return True
    inside = (sample >= 0) & (sample <= 1)
    return bool(inside.any() and np.all(inside | np.isnan(sample)))


def _renumbered(origins: Array, groups: Mapping[int, int]) -> Array:
    present, inverse = np.unique(origins, return_inverse=True)
    table = np.asarray([groups[int(each)] for each in present], np.int16)
    return table[inverse].reshape(origins.shape)
