"""What is minimised: latency, size, an energy proxy, or a weighted mix of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from qcompiler.decisions.options import Options
from qcompiler.errors import ConfigurationError
from qcompiler.ir.optraits import weight_channel_axis
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.regions import Region
from qcompiler.quantization.qspace import Granularity, Levels, QSpace
from qcompiler.target.capability import Implementation

LATENCY, SIZE, ENERGY = "latency", "size", "energy-proxy"
_FLOAT_BITS = 32


@dataclass(frozen=True)
class Objective:
    """Weights of what is minimised; every part is counted relative to float.

    Attributes:
        weights: By `latency` (measured seconds), `size` (bytes of weights) or `energy-proxy`
            (multiply-accumulates times the bits of the wider operand).
    """

    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - {LATENCY, SIZE, ENERGY})
        if unknown:
            raise ConfigurationError(
                f"there is no objective {unknown[0]!r}",
                fix=f"choose {LATENCY}, {SIZE}, {ENERGY} or a mix such as "
                "{'latency': 1, 'size': 0.2}",
            )
        bad = {name: weight for name, weight in self.weights.items() if not 0 <= weight < np.inf}
        if bad or not sum(self.weights.values()):
            raise ConfigurationError(
                "the weights of the objective must be finite, not negative and not all 0",
                why=f"they are {dict(self.weights)}",
                fix="give a mix such as {'latency': 1, 'size': 0.2}",
            )

    @classmethod
    def of(cls, given: str | Mapping[str, float]) -> Objective:
        """From a name or a mix.

        Raises:
            ConfigurationError: An unknown name, or weights that make no sense.
        """
        if isinstance(given, str):
            return cls(MappingProxyType({given: 1.0}))
        try:
            weights = {name: float(weight) for name, weight in dict(given).items()}
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{given!r} is no objective",
                fix="choose a name, or a mix of weights such as {'latency': 1, 'size': 0.2}",
            ) from error
        return cls(MappingProxyType(weights))

    def weight(self, name: str) -> float:
        return self.weights.get(name, 0.0)

    def score(self, ratios: Mapping[str, float]) -> float:
        """The weighted mean of ratios to float; parts without a ratio count as float's."""
        total = sum(self.weights.values())
        parts = (weight * ratios.get(name, 1.0) for name, weight in self.weights.items())
        return sum(parts) / total

    def __str__(self) -> str:
        named = sorted(self.weights)
        return (
            named[0]
            if len(named) == 1
            else " + ".join(f"{self.weights[name]:g} {name}" for name in named)
        )


@dataclass(frozen=True)
class Footprint:
    """What regions weigh besides time.

    Attributes:
        size: Bytes of weights by (region key, precision).
        energy: Multiply-accumulates (elements where there is no weight) times bits.
    """

    size: Mapping[tuple[str, str], float]
    energy: Mapping[tuple[str, str], float]

    def ratio(self, name: str, precisions: Mapping[str, str]) -> float:
        """Of a whole plan to float; 1 where nothing is counted."""
        table = self.size if name == SIZE else self.energy
        whole = sum(table[key, FLOAT] for key in precisions)
        own = sum(
            table.get((key, precision), table[key, FLOAT]) for key, precision in precisions.items()
        )
        return own / whole if whole > 0 else 1.0


def footprint(options: Sequence[Options], elements: Mapping[str, float]) -> Footprint:
    """Bytes and energy of every choice.

    Args:
        options: Regions with their forms.
        elements: Elements of values per run, by name.
    """
    size, energy = {}, {}
    for each in options:
        region = each.region
        count = operations(region, elements)
        for form in (None, *each.implementations):
            name = FLOAT if form is None else form.precision
            size[region.key, name] = _weight_bytes(region, form)
            energy[region.key, name] = count * _bits(form)
    return Footprint(size, energy)


def _weight_bytes(region: Region, form: Implementation | None) -> float:
    shape = _weight_shape(region)
    if not shape:
        return 0.0
    count = float(np.prod(shape))
    if form is None or form.weight is None:
        return count * _FLOAT_BITS / 8
    return count * form.weight.packed_bits / 8 + 4 * _numbers(region.anchor, form.weight, shape)


def _numbers(node: ir.Node, space: QSpace, shape: tuple[int, ...]) -> float:
    """How many float32 scales and levels a weight has."""
    if space.is_table:
        per = 0.0 if space.levels is Levels.CODEBOOK else 1.0
        axis = None if space.granularity is Granularity.TENSOR else weight_channel_axis(node)
        channels = 1 if axis is None else shape[axis]
        tables = -(-channels // (space.group_size or 1)) if not per else 1
        return per * channels + tables * 2.0**space.used_bits
    if space.group_size is not None:
        return float(np.prod(shape)) / space.group_size
    axis = weight_channel_axis(node) if space.granularity is Granularity.CHANNEL else None
    return 1.0 if axis is None else float(shape[axis])


def _bits(form: Implementation | None) -> int:
    """Of the wider operand; dynamic forms compute on 8-bit activations."""
    if form is None:
        return _FLOAT_BITS
    spaces = [space for space in (form.activation, form.weight) if space is not None]
    if form.activation is None and form.kernel.value == "weight-only":
        return _FLOAT_BITS
    return max((space.storage_bits for space in spaces), default=_FLOAT_BITS)


def operations(region: Region, elements: Mapping[str, float]) -> float:
    """Multiply-accumulates: output elements times weight elements per output channel."""
    outputs = elements.get(region.output.name or "", 1.0)
    shape = _weight_shape(region)
    if not shape:
        return outputs
    axis = weight_channel_axis(region.anchor)
    channels = shape[axis] if axis is not None else shape[-1]
    return outputs * float(np.prod(shape)) / max(channels, 1)


def _weight_shape(region: Region) -> tuple[int, ...]:
    value = region.weight.value if region.weight is not None else None
    if value is None or value.shape is None or not value.shape.is_static():
        return ()
    return tuple(int(dim) for dim in value.shape.numpy())
