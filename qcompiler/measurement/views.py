"""Which elements of the outputs are judged as one: outputs, their parts, scores of all scales."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qcompiler.measurement.slices import Array, OutputSlices
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale
from qcompiler.outputs.views import View, channels

_PYRAMID = 2.0
"""Ratio of the positions of two scales of a pyramid, at least; a stride of two gives four."""
_SCORES = OutputKind(Purpose.YES_NO, "the parts of it that a Sigmoid gives", Scale.PROBABILITIES)


@dataclass(frozen=True, eq=False)
class Taken:
    """Outputs as they are judged. Picklable.

    Attributes:
        views: What is judged as one, each.
        slices: Of the outputs as they are.
    """

    views: tuple[View, ...]
    slices: tuple[OutputSlices, ...]

    def of(self, sample: int, outputs: Sequence[Any]) -> list[Any]:
        """What the views show of one sample's outputs."""
        groups = [each.groups[sample] for each in self.slices]
        return [each.of(outputs, groups) for each in self.views]

    def all(self, samples: Iterable[Sequence[Any]], first: int = 0) -> list[list[Any]]:
        """The same of several samples, of which the first is that of this number."""
        return [self.of(first + i, each) for i, each in enumerate(samples)]

    def at(self, samples: Sequence[int]) -> Taken:
        """For these samples only."""
        return replace(self, slices=tuple(each.at(samples) for each in self.slices))

    def view_slices(self) -> list[OutputSlices]:
        """How every view is judged."""
        lost = {part for view in self.views if view.whole is None for part in view.parts}
        found = []
        for view in self.views:
            position = view.whole
            if position is None:
                count = len(self.slices[view.parts[0][0]].groups)
                found.append(OutputSlices((False,), (None,) * count))
                continue
            apart = frozenset(g for p, g in lost if p == position and g is not None)
            found.append(replace(self.slices[position], apart=apart))
        return found


def views_of(
    names: Sequence[str],
    kinds: Sequence[OutputKind],
    found: Sequence[bool],
    slices: Sequence[OutputSlices],
    reference: Sequence[Sequence[Any]],
) -> list[tuple[View, OutputKind]]:
    """Views of all outputs, each with what it is for.

    Args:
        names: Of the outputs.
        kinds: What they are for.
        found: Whether the analysis has a say in an output; others are judged as they are.
        slices: Of every output.
        reference: What float gives, per sample.
    """
    made: list[tuple[View, OutputKind]] = []
    pyramids = _pyramids(kinds, found, reference)
    for position, (name, kind) in enumerate(zip(names, kinds, strict=False)):
        family = pyramids.get(position)
        if family is not None:
            if position == family[0]:
                told = ", ".join(names[each] for each in family)
                parts = tuple((each, None) for each in family)
                why = f"scores of {len(family)} scales together, {kind.reason} and others"
                made.append((View(told, parts), replace(kind, reason=why)))
            continue
        apart = slices[position].scores if found[position] and not kind.decides else ()
        if len(apart) < len(slices[position].labels):
            made.append((View(name, ((position, None),)), kind))
        made += [(each, _SCORES) for each in _score_views(name, position, slices[position], apart)]
    return made


def _score_views(
    name: str, position: int, slices: OutputSlices, apart: Sequence[int]
) -> list[View]:
    """Scores of an output by the group; those of classes times that of an object beside them."""
    if len(apart) < 2:
        return [View(f"{name} (scores)", ((position, each),)) for each in apart]
    objects = _factor(slices, apart)
    return [
        View(
            f"{name} (scores {i}{'' if objects in (None, each) else ' x object'})",
            ((position, each),),
            None if each == objects else objects,
        )
        for i, each in enumerate(apart, 1)
    ]


def _factor(slices: OutputSlices, apart: Sequence[int]) -> int | None:
    """The group that says whether there is anything: one channel in front of those of classes."""
    inside = slices.groups[0] if slices.groups else None
    if inside is None or len(apart) != 2:
        return None
    found = [(each, channels(inside, each)) for each in apart]
    placed = [(group, place) for group, place in found if place is not None]
    if len(placed) != 2:
        return None
    (first, (axis, one)), (_, (other, many)) = sorted(placed, key=lambda each: each[1][1][0])
    return first if axis == other and len(one) == 1 and one[0] + 1 == many[0] else None


def _pyramids(
    kinds: Sequence[OutputKind], found: Sequence[bool], reference: Sequence[Sequence[Any]]
) -> Mapping[int, tuple[int, ...]]:
    """Outputs that are scores of the same classes on ever coarser grids, by each of them.

    Scores that are of one grid, or of none, may be for different things: each is judged alone.
    """
    by_classes: dict[tuple[int, int], list[int]] = {}
    for position, kind in enumerate(kinds):
        if kind.purpose is not Purpose.YES_NO or not found[position] or not reference:
            continue
        samples = [np.asarray(outputs[position]) for outputs in reference]
        first = samples[0]
        if first.ndim < 3 or any(each.shape != first.shape for each in samples):
            continue
        axis = -1 if first.ndim == 3 else 1
        by_classes.setdefault((first.ndim, first.shape[axis]), []).append(position)
    pyramids: dict[int, tuple[int, ...]] = {}
    for family in by_classes.values():
        sizes = sorted(float(np.asarray(reference[0][each]).size) for each in family)
        steps = [b / a for a, b in itertools.pairwise(sizes)]
        if steps and min(steps) >= _PYRAMID:
            pyramids.update(dict.fromkeys(family, tuple(family)))
    return pyramids


def informative(
    slices: Sequence[OutputSlices], reference: Sequence[Sequence[Any]], count: int
) -> list[int]:
    """Numbers of the samples that tell most of every slice: the first ones, where they do.

    Where all the signal of a slice is in a few samples (detections), others say nothing of it.

    Args:
        slices: How outputs are judged.
        reference: What float gives, per sample.
        count: How many samples are wanted.
    """
    shares = _signal_shares(slices, reference)
    total = len(reference)
    if count >= total or not len(shares):
        return list(range(min(count, total)))
    if shares[:, :count].sum(1).min() >= _ENOUGH * count / total:
        return list(range(count))
    chosen: list[int] = []
    while len(chosen) < count:
        missing = int(shares[:, chosen].sum(1).argmin())
        order = np.argsort(-shares[missing], kind="stable")
        chosen.append(next(int(each) for each in order if each not in chosen))
    return sorted(chosen)


_ENOUGH = 0.5
"""Share of an equal part of a slice's signal with which the first samples are good enough."""


def _signal_shares(slices: Sequence[OutputSlices], reference: Sequence[Sequence[Any]]) -> Array:
    """float64 [slices, samples]: which part of a slice's signal is in which sample."""
    rows: list[Array] = []
    for position, each in enumerate(slices):
        arrays = [outputs[position] for outputs in reference]
        if not all(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in arrays):
            continue
        for number, labels in enumerate(each.labels):
            if labels or number in each.apart:
                continue
            powers = np.asarray(
                [_power(a, groups, number) for a, groups in zip(arrays, each.groups, strict=True)]
            )
            if powers.sum() > 0:
                rows.append(powers / powers.sum())
    return np.asarray(rows)


def _power(array: Array, groups: Array | None, number: int) -> float:
    inside = array if groups is None else array[groups == number]
    return float(np.square(np.where(np.isfinite(inside), inside, 0).astype(np.float64)).sum())
