"""`LossModel`: the loss of a plan as the sum over the gates that it switches on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from qcompiler.decisions.placement import ValueKey
from qcompiler.measurement.gate import VALUE, Gate

_BROKEN = 1e6
"""Stands for an infinite loss, which a solver cannot add up."""
_SWEEPS = 50


@dataclass(frozen=True)
class LossModel:
    """Measured losses of single quantizations.

    Noise of independent roundings adds up in the noise-to-signal ratio (Widrow & Kollár,
    Quantization Noise, 2008, ch. 1), so sums predict well while they are small against the signal.

    Attributes:
        gates: Noise-to-signal ratio that each gate adds.
        terms: The gates that a region switches on, by (region key, precision).
    """

    gates: Mapping[Gate, float]
    terms: Mapping[tuple[str, str], tuple[Gate, ...]]
    _shares: Mapping[Gate, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        users: dict[Gate, set[str]] = {}
        for (key, _), gates in self.terms.items():
            for gate in gates:
                users.setdefault(gate, set()).add(key)
        object.__setattr__(self, "_shares", {gate: len(keys) for gate, keys in users.items()})

    def fitted(self, measured: Sequence[tuple[Mapping[str, str], float]]) -> LossModel:
        """The model nearest to this one that predicts the losses of measured plans.

        Multiplicative algebraic reconstruction (Gordon, Bender & Herman, J. Theor. Biol. 29, 1970):
        the gates of one plan after the other are scaled to its loss, in several sweeps. Where the
        measurements can be met it converges to the solution of least relative entropy.

        Args:
            measured: Plans as precision by region key, with the loss that each showed.
        """
        losses = {gate: self._loss(gate) for gate in self.gates}
        plans = [(self._gates_of(precisions), loss) for precisions, loss in measured if loss > 0]
        for _ in range(_SWEEPS):
            for gates, loss in plans:
                predicted = sum(losses.get(gate, 0.0) for gate in gates)
                for gate in gates if predicted > 0 else ():
                    losses[gate] = losses.get(gate, 0.0) * (loss / predicted)
        return replace(self, gates=losses)

    def of_plan(self, precisions: Mapping[str, str]) -> float:
        """Predicted loss; a value that several regions read counts once."""
        return sum(self._loss(gate) for gate in self._gates_of(precisions))

    def of_choice(self, key: str, precision: str) -> float:
        """Predicted loss when this region alone is quantized."""
        return sum(self._loss(gate) for gate in self.terms.get((key, precision), ()))

    def of_choices(self) -> dict[tuple[str, str], float]:
        """`of_choice` of every choice that was measured."""
        return {choice: self.of_choice(*choice) for choice in self.terms}

    def values(self) -> dict[ValueKey, float]:
        """Loss of statically quantized values, by name and storage type."""
        return {
            (gate.name, gate.space): self._loss(gate) for gate in self.gates if gate.kind == VALUE
        }

    def own(self) -> dict[tuple[str, str], float]:
        """Loss by (region key, precision) besides that of static values.

        A dynamic operand that several regions read is shared equally among them.
        """
        return {
            choice: sum(
                self._loss(gate) / self._shares[gate] for gate in gates if gate.kind != VALUE
            )
            for choice, gates in self.terms.items()
        }

    def _gates_of(self, precisions: Mapping[str, str]) -> dict[Gate, None]:
        """The gates that a plan switches on, each once."""
        on: dict[Gate, None] = {}
        for choice in precisions.items():
            on.update(dict.fromkeys(self.terms.get(choice, ())))
        return on

    def _loss(self, gate: Gate) -> float:
        loss = self.gates.get(gate, 0.0)
        return loss if math.isfinite(loss) else _BROKEN
