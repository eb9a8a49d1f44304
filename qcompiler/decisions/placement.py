"""`Placement`: everything that was decided about a quantized program, before any of it is written.

Regions, values and initializers go by name, so the record holds for every copy of the program that
it was made for. `resolve` fills it; placement passes write it into a graph; accuracy passes change
it on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qcompiler.decisions.roundings import Rounding
from qcompiler.errors import ConfigurationError
from qcompiler.quantization.qspace import QParams
from qcompiler.target.capability import Implementation

ValueKey = tuple[str, str]
"""A quantized value: its name and the name of its storage type (`UINT8`)."""


@dataclass(frozen=True, eq=False)
class OperandPlacement:
    """How a region reads one operand.

    Attributes:
        node: Name of the node that reads.
        index: Which of its inputs.
        value: Name of the value, as the float program has it.
        params: What it is quantized with; None where it is read in float.
        requantized: The parameters are not those of the value itself: it is quantized once more.
    """

    node: str
    index: int
    value: str
    params: QParams | None = None
    requantized: bool = False


@dataclass(frozen=True, eq=False)
class BiasRounding:
    """A bias in int32 steps of input scale * weight scale (Jacob et al. 2018, equation 11).

    Attributes:
        scale: float32, () or [channels].
        integers: int32, in the bias's own shape.
        axis: Axis of the bias that the channels lie on.
    """

    scale: npt.NDArray[np.float32]
    integers: npt.NDArray[np.int32]
    axis: int


@dataclass(frozen=True, eq=False)
class StoredOperand:
    """A constant that the kernel reads as data (the constant part of a Concat), in integers."""

    operand: OperandPlacement
    rounding: Rounding


@dataclass(frozen=True, eq=False)
class RegionPlacement:
    """A region and the quantized form that it gets.

    Attributes:
        key: The region's key.
        form: The form.
        nodes: Names of its nodes, the anchor first.
        activations: Its operands that are computed at run time.
        weight: Its stored weight, None if it has none.
        bias: Its stored bias, None if it has none.
        output: Name of its result.
        written: What the result is quantized with; None where it is float.
        rounding: Integers of the weight; None where it stays float or is recurrent.
        bias_rounding: Integers of the bias; None where it stays float.
        bias_value: A float bias in the place of the source's; None keeps that.
        raised: Channels whose scale was raised so that the bias fits.
        constants: Stored operands that are data.
    """

    key: str
    form: Implementation
    nodes: tuple[str, ...]
    activations: tuple[OperandPlacement, ...]
    weight: OperandPlacement | None
    bias: OperandPlacement | None
    output: str
    written: QParams | None = None
    rounding: Rounding | None = None
    bias_rounding: BiasRounding | None = None
    bias_value: npt.NDArray[np.float32] | None = None
    raised: int = 0
    constants: tuple[StoredOperand, ...] = ()


@dataclass(frozen=True)
class ConcatLoss:
    """Noise-to-signal ratios of the operand that suffers most.

    Attributes:
        shared: One scale for operands and result.
        separate: Own scales, brought to the result's by the kernel.
        operand_shared: What other readers of the operand see with one scale.
        operand_separate: What they see with own scales.
    """

    shared: float
    separate: float
    operand_shared: float
    operand_separate: float

    @property
    def least(self) -> float:
        """Of the better form."""
        return min(self.shared, self.separate)


@dataclass(frozen=True, eq=False)
class Placement:
    """What `resolve` decided, and accuracy passes changed.

    Attributes:
        target: Name of the target.
        regions: Regions that do not stay float, by key, in graph order.
        values: Parameters of every quantized value.
        groups: How many different scales there are.
        concat_losses: What one scale for all operands of a Concat costs, by region key.
        reranged: Values whose levels in a quantized source the target cannot express.
    """

    target: str
    regions: Mapping[str, RegionPlacement]
    values: Mapping[ValueKey, QParams]
    groups: int = 0
    concat_losses: Mapping[str, ConcatLoss] = field(default_factory=dict)
    reranged: tuple[str, ...] = ()

    @property
    def details(self) -> dict[str, object]:
        """Figures for the report, by name."""
        found: dict[str, object] = {"values": len(self.values), "groups": self.groups}
        if self.concat_losses:
            found["concat losses"] = {k: asdict(loss) for k, loss in self.concat_losses.items()}
        if self.reranged:
            found["other levels than the source's"] = list(self.reranged)
        return found

    def params(self, value: str) -> QParams:
        """The parameters of a value that is quantized in one storage type.

        Raises:
            ConfigurationError: It is not quantized, or in two types.
        """
        found = [params for (name, _), params in self.values.items() if name == value]
        if len(found) != 1:
            raise ConfigurationError(f"'{value}' is quantized in {len(found)} storage types")
        return found[0]

    def with_regions(self, changed: Mapping[str, RegionPlacement]) -> Placement:
        """The same with some regions placed otherwise.

        Raises:
            ConfigurationError: A region that is not placed.
        """
        unknown = sorted(set(changed) - set(self.regions))
        if unknown:
            raise ConfigurationError(f"{unknown} are no regions of this placement")
        return replace(self, regions={**self.regions, **changed})
