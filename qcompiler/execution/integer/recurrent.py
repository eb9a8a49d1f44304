"""LSTM and GRU with int8 weights, against the same cell in numpy, step by step.

Every step starts from the state that the engine itself gave out one step before, so errors do not
grow along the sequence and the quantized state is the engine's own. What may differ is derived for
each element: activations on a tie, float32 roundings, the engine's sigmoid and tanh, and the cell
state of an LSTM, which is not visible and carries its bound along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qcompiler.execution.integer.dynamic import quantized_rows
from qcompiler.execution.integer.elementwise import sigmoid
from qcompiler.execution.integer.histogram import by_steps
from qcompiler.execution.integer.operand import Array, require_finite
from qcompiler.target.arithmetic import DynamicRange

_ULPS = 2.0**-21
_FUNCTION = 2.0**-18
"""Error of a sigmoid or tanh; polynomials in float32 keep a few 1e-6 at most."""
_STEP = 1 / 127
"""Unit of the histogram: a state lies in (-1, 1)."""
_GATES = {"LSTM": 4, "GRU": 3}

Bounded = tuple[Array, Array]
"""Values and by how much each may be off."""


@dataclass(frozen=True, eq=False)
class Product:
    """One of the two matrices of a direction.

    Attributes:
        weight: Integers, float64 [gates, inputs].
        scale: float64 [gates].
        bias: float64 [gates].
    """

    weight: Array
    scale: Array
    bias: Array

    def of(self, x: Array, scale: np.float32, zero: int) -> Bounded:
        """Product with rows of x, quantized so, plus bias."""
        centred, flips = quantized_rows(x, scale, zero)
        step = float(scale) * self.scale
        sums = centred @ self.weight.T * step
        allowed = flips @ np.abs(self.weight.T) * step
        return sums + self.bias, allowed + (np.abs(sums) + np.abs(self.bias)) * _ULPS


@dataclass(frozen=True, eq=False)
class RecurrentCheck:
    """A recurrent layer on a dynamic kernel.

    Attributes:
        kind: `LSTM` or `GRU` (with linear_before_reset).
        x: [time, batch, input].
        y: [time, directions, batch, hidden].
        states: Initial h and c, None where they are zero.
        inputs: Product with x, per direction.
        recurrent: Product with h, per direction.
        backward: Whether the only direction is the reverse one.
        choose: The engine's rule for scale and zero point.
        splits: Whether threads share out the batch and each quantizes h for its own rows; how many
            rows these are is not visible, so any equal split will do.
    """

    kind: str
    x: ir.Value
    y: ir.Value
    states: tuple[ir.Value | None, ir.Value | None]
    inputs: tuple[Product, ...]
    recurrent: tuple[Product, ...]
    backward: bool
    choose: DynamicRange
    splits: bool = False

    @property
    def ops(self) -> str:
        return f"{self.kind}, dynamic"

    @property
    def values(self) -> tuple[ir.Value, ...]:
        return (self.x, self.y, *(state for state in self.states if state is not None))

    def work(self, arrays: Mapping[str, Array]) -> float:
        """Multiplications."""
        steps, batch = arrays[self.x.name or ""].shape[:2]
        sizes = (each.weight.size for each in (*self.inputs, *self.recurrent))
        return float(steps * batch * sum(sizes))

    def differences(self, arrays: Mapping[str, Array], rows: int | None) -> dict[int, int]:
        """Elements by how many steps of 1/127 they are beyond the bound, all rows."""
        del rows
        require_finite(arrays[self.x.name or ""])
        batch = arrays[self.x.name or ""].shape[1]
        sizes = {-(-batch // n) for n in range(1, max(batch, 1) + 1)} if self.splits else {batch}
        found: dict[int, int] = {}
        for size in sorted(sizes, reverse=True):
            counts = self._counts(arrays, size)
            if not found or counts.get(0, 0) > found.get(0, 0):
                found = counts
            if set(found) <= {0}:
                break
        return found

    def _counts(self, arrays: Mapping[str, Array], size: int) -> dict[int, int]:
        """The same, if h is quantized for `size` rows at a time."""
        x, y = arrays[self.x.name or ""], arrays[self.y.name or ""]
        starts = [None if each is None else arrays[each.name or ""] for each in self.states]
        counts: Counter[int] = Counter()
        for direction in range(len(self.inputs)):
            zeros = np.zeros(y.shape[2:])
            h, c = (zeros if each is None else each[direction] for each in starts)
            found = y[:, direction]
            for (wanted, allowed), got in self._steps(direction, x, found, h, c, size):
                counts.update(by_steps(np.abs(wanted - got) - allowed, _STEP))
        return counts

    def _steps(
        self, direction: int, x: Array, y: Array, h: Array, c: Array, size: int
    ) -> Iterator[tuple[Bounded, Array]]:
        """Per step: the state that follows from the engine's last one, and the engine's own."""
        scale, zero = self.choose(x)
        given = [self.inputs[direction].of(step, scale, zero) for step in x]
        order = range(len(x))
        cell: Bounded = (c.astype(np.float64), np.zeros(c.shape))
        for t in reversed(order) if self.backward or direction == 1 else order:
            fed = self._fed(direction, np.asarray(h, np.float32), size)
            if self.kind == "LSTM":
                state, cell = _lstm(given[t], fed, cell)
            else:
                state = _gru(given[t], fed, h.astype(np.float64))
            yield state, y[t]
            h = y[t]

    def _fed(self, direction: int, h: Array, size: int) -> Bounded:
        parts = [h[i : i + size] for i in range(0, len(h), max(size, 1))]
        made = [self.recurrent[direction].of(part, *self.choose(part)) for part in parts]
        exact, allowed = zip(*made, strict=True) if made else ((h,), (h,))
        return np.concatenate(exact), np.concatenate(allowed)


def _lstm(given: Bounded, fed: Bounded, cell: Bounded) -> tuple[Bounded, Bounded]:
    """ONNX LSTM, gates i, o, f, c."""
    parts = zip(
        *(np.split(a + b, 4, axis=-1) for a, b in zip(given, fed, strict=True)), strict=True
    )
    i, o, f, g = (_gate(part, np.tanh if n == 3 else sigmoid) for n, part in enumerate(parts))
    new = _sum(_times(f, cell), _times(i, g))
    return _times(o, _gate(new, np.tanh)), new


def _gru(given: Bounded, fed: Bounded, h: Array) -> Bounded:
    """ONNX GRU with linear_before_reset, gates z, r, h."""
    zs, rs, ns = zip(*(np.split(each, 3, axis=-1) for each in given), strict=True)
    zh, rh, nh = zip(*(np.split(each, 3, axis=-1) for each in fed), strict=True)
    z, r = _gate(_sum(zs, zh), sigmoid), _gate(_sum(rs, rh), sigmoid)
    n = _gate(_sum(ns, _times(r, nh)), np.tanh)
    return _sum(n, _times(z, (h - n[0], n[1])))


def _gate(pre: Bounded, function: Callable[[Array], Array]) -> Bounded:
    """Slopes are 1/4 at most for a sigmoid, 1 for tanh."""
    slope = 0.25 if function is sigmoid else 1.0
    return function(pre[0]), slope * pre[1] + _FUNCTION


def _times(a: Bounded, b: Bounded) -> Bounded:
    exact = a[0] * b[0]
    bound = np.abs(a[0]) * b[1] + np.abs(b[0]) * a[1] + a[1] * b[1]
    return exact, bound + np.abs(exact) * _ULPS


def _sum(a: Bounded, b: Bounded) -> Bounded:
    return a[0] + b[0], a[1] + b[1] + (np.abs(a[0]) + np.abs(b[0])) * _ULPS
