"""How strongly to smooth a site: the strength with the least predicted noise.

Scales are s = a^α / w^(1 - α) as in SmoothQuant (Xiao et al. 2022, arXiv 2211.10438, equation 4),
with a the range of a channel of the activations and w that of the weights that read it. Noise of
rounding is uniform over one step (variance step² / 12). An activation's step is that of its widest
channel, and reaches the output through the squared weights that read it; a weight's step is that of
its row, and is multiplied by the power of what it reads. Their sum is computed for every α, and for
no scaling, from the ranges and powers of channels that calibration saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.ir.kept import is_kept_float
from qcompiler.ir.optraits import weight_channel_axis
from qcompiler.ir.walk import is_op, stored_array
from qcompiler.passes.equalization.analysis import Scales
from qcompiler.passes.equalization.constraints import Fold
from qcompiler.passes.equalization.observed import Seen, multiplied
from qcompiler.passes.equalization.sites import Observable, Site

Array = npt.NDArray[Any]

STRENGTHS = tuple(np.linspace(0.0, 1.0, 11).tolist())
_WORTH = 0.6
"""Noise has to fall below this share: a smaller gain is not worth what clips on unseen data."""
HEADROOM = 1.25
"""How much wider than seen a channel is taken to be: where all channels just reach the end of the
range, all of them clip on unseen data, not the widest alone. Measured without, with 1.25, with 2,
and not smoothed at all: resnet18_mnist 33.9, 40.6, 39.7, 39.8 dB; mobilenet_v2 16.0, 16.4, 15.4,
13.7 dB."""
_MOST = 64.0
"""A channel is made at most this many times as wide: then its noise is no matter any more, and what
it does on unseen data is not known."""
_DEAD = 1e-7
"""A channel with a smaller share of the widest one's range is not scaled."""
_ACTIVATION_STEPS = 255.0
_WEIGHT_STEPS = 127.0


@dataclass(frozen=True, eq=False)
class Ranges:
    """A rounded value with what was seen of its channels.

    Attributes:
        value: The value.
        low: float64 [channels], at most 0.
        high: float64 [channels], at least 0.
        factor: float64 [channels]: mean square of what the value is multiplied with behind it.
    """

    value: Observable
    low: Array
    high: Array
    factor: Array

    @property
    def reach(self) -> Array:
        """The largest magnitude of every channel."""
        return np.maximum(self.high, -self.low)


@dataclass(frozen=True, eq=False)
class Reading:
    """A weight that reads scaled channels.

    Attributes:
        fold: The weight.
        largest: Magnitudes, the largest along axes without a scale or an own step.
        squares: Sums of squares along all axes without a scale, as the slots read.
        count: How many elements each of `largest` stands for.
        power: Mean square of what is read, as the slots read.
        steps: Axes that share one step: all others have their own.
    """

    fold: Fold
    largest: Array
    squares: Array
    count: int
    power: Array
    steps: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Predicted noise behind one site, as a function of its scales."""

    found: Scales
    site: Site
    ranges: tuple[Ranges, ...]
    readings: tuple[Reading, ...]
    gain: Array

    @classmethod
    def of(cls, found: Scales, site: Site, seen: Seen, rounded: set[str]) -> NoiseModel | None:
        """The model of a site; None where what it needs was not seen."""
        ranges = [
            Ranges(
                each, np.minimum(extremes[0], 0), np.maximum(extremes[1], 0), _factor(each, seen)
            )
            for each in site.values
            if seen.aliases.get(each.name, each.name) in rounded or each.name in rounded
            if (extremes := seen.extremes(each.name, each.axis)) is not None
        ]
        readings = [made for fold in site.readers if (made := _reading(fold, site, seen))]
        if not ranges or not readings:
            return None
        gain = np.zeros(found.freedom.component.size)
        for each in readings:
            assert each.fold.reads is not None
            np.add.at(gain, each.fold.reads.reshape(-1), each.squares.reshape(-1))
        shared = np.bincount(found.freedom.component, gain, found.freedom.count)
        free = found.freedom.component > 0
        gain = np.where(free, shared[found.freedom.component], gain)
        return cls(found, site, tuple(ranges), tuple(readings), gain)

    def noise(self, logs: Array) -> float:
        """Noise behind the site for logarithms of scales, float64 [components]."""
        scales = self.found.freedom.scales(logs)
        return self._of_activations(scales) + self._of_weights(scales)

    def _of_activations(self, scales: Array) -> float:
        total = 0.0
        for each in self.ranges:
            own = scales[each.value.slots] ** each.value.power
            step = (np.max(each.high / own) - np.min(each.low / own)) / _ACTIVATION_STEPS
            gain = each.factor * self.gain[each.value.slots]
            total += float(step**2 * np.sum(own**2 * gain))
        return total

    def _of_weights(self, scales: Array) -> float:
        total = 0.0
        for each in self.readings:
            assert each.fold.reads is not None
            own = scales[each.fold.reads] ** each.fold.read_power
            step = np.max(each.largest * own, axis=each.steps, keepdims=True) / _WEIGHT_STEPS
            noise = np.broadcast_to(step**2, each.largest.shape) * (each.power / own**2)
            total += float(np.sum(noise)) * each.count
        return total

    def scales_at(self, strength: float) -> Array:
        """Logarithms, float64 [components]: α log a - (1 - α) log w, 0 of the widest channel."""
        component, exponent = self.found.freedom.component, self.found.freedom.exponent
        reach = np.zeros(self.found.freedom.count)
        for each in self.ranges:
            widest = max(float(each.reach.max()), np.finfo(float).tiny)
            power = exponent[each.value.slots] * each.value.power
            with np.errstate(divide="ignore", over="ignore"):
                own = np.minimum(HEADROOM * each.reach / widest, 1.0) ** (1 / power)
            np.maximum.at(reach, component[each.value.slots], np.where(power > 0, own, 0))
        weight = np.zeros(self.found.freedom.count)
        for reading in self.readings:
            assert reading.fold.reads is not None
            each_slot = np.broadcast_to(component[reading.fold.reads], reading.largest.shape)
            relative = reading.largest / max(float(reading.largest.max()), np.finfo(float).tiny)
            np.maximum.at(weight, each_slot.reshape(-1), relative.reshape(-1))
        logs = np.zeros(self.found.freedom.count)
        chosen = self.site.components[reach[self.site.components] > _DEAD]
        logs[chosen] = strength * np.log(reach[chosen])
        read = chosen[weight[chosen] > _DEAD]
        logs[read] -= (1 - strength) * np.log(weight[read])
        if chosen.size:
            logs[chosen] -= logs[chosen[np.argmax(reach[chosen])]]
        return np.asarray(np.maximum(logs, -np.log(_MOST)))


def _factor(each: Observable, seen: Seen) -> Array:
    """Mean square, per channel, of what a gate is multiplied with; ones for other values."""
    powers = [seen.power(other, each.axis) for other in multiplied(each.value)]
    known = [power for power in powers if power is not None and power.size == each.slots.size]
    return np.asarray(sum(known)) if known else np.ones(each.slots.size)


def _reading(fold: Fold, site: Site, seen: Seen) -> Reading | None:
    """A weight with the power of what it reads; None if that was not seen, or in float."""
    if is_kept_float(fold.node):
        return None
    array = stored_array(fold.node.inputs[fold.index])
    data = fold.node.inputs[1 if fold.index == 0 else 0]
    read = next((each for each in site.values if each.value is data), None)
    if array is None or fold.reads is None or read is None or fold.read_power < 0:
        return None
    power = seen.power(read.name, read.axis)
    if power is None:
        return None
    by_slot = dict(zip(read.slots.tolist(), power, strict=True))
    reads = np.broadcast_to(fold.reads, (1,) * (array.ndim - fold.reads.ndim) + fold.reads.shape)
    own = np.asarray([by_slot.get(slot, 0.0) for slot in reads.reshape(-1).tolist()])
    magnitudes = np.abs(array.astype(np.float64))
    rows = _own_steps(fold)
    summed = tuple(axis for axis, size in enumerate(reads.shape) if size == 1)
    flat = tuple(axis for axis in summed if axis not in rows)
    largest = magnitudes.max(axis=flat, keepdims=True)
    squares = np.square(magnitudes).sum(axis=summed, keepdims=True)
    steps = tuple(axis for axis in range(array.ndim) if axis not in rows)
    count = array.size // largest.size
    return Reading(fold, largest, squares, count, own.reshape(reads.shape), steps)


def _own_steps(fold: Fold) -> tuple[int, ...]:
    """Axes of a weight along which every index has a step of its own."""
    if is_op(fold.node, "LSTM", "GRU", "RNN"):
        return (0, 1)
    axis = weight_channel_axis(fold.node) if fold.index == 1 else None
    return () if axis is None else (axis,)


def smoothed(
    model: NoiseModel, low: Array, high: Array, strength: float | None = None
) -> tuple[Array, float] | None:
    """Logarithms of the best scales and the strength; None where no scaling is as good.

    Args:
        model: Of the site.
        low: Lowest logarithms, float64 [components].
        high: Highest logarithms.
        strength: To take this one, whatever it is predicted to do.
    """
    best: tuple[Array, float] | None = None
    least = model.noise(np.zeros(model.found.freedom.count)) * _WORTH
    for each in STRENGTHS if strength is None else (strength,):
        logs = np.clip(model.scales_at(each), low, high)
        noise = model.noise(logs)
        if noise < least or strength is not None:
            best, least = (logs, each), noise
    return best
