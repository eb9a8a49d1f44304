"""Capability tables: what a target can run in which quantized form, as data.

`OpCapability` rows say how a kind of region may run (`Implementation`) and under which
`Constraint`s. Three different facts: an op that is listed, one that runs in any precision because
it moves data only (`shares_scale`), and one that is absent (float). A variant overlays a base
table with `overlay`, it never copies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from qcompiler.errors import ConfigurationError
from qcompiler.ir.regions import Operand, Region, RegionPattern
from qcompiler.quantization.qspace import Granularity, QSpace, Range


class BiasForm(Enum):
    """How a region's bias is stored."""

    FLOAT = "float"
    INT32 = "int32"


class Kernel(Enum):
    """How an implementation computes."""

    STATIC = "static"
    """Activations are quantized with calibrated parameters (Q/DQ)."""
    DYNAMIC = "dynamic"
    """Activations are quantized per call from their own range."""
    WEIGHT_ONLY = "weight-only"
    """Weights are stored in integers and computed in float."""


@dataclass(frozen=True)
class Implementation:
    """One quantized form of a region.

    Attributes:
        precision: Name in plans and reports: `int8`, `int8-float-out`, `int8-dynamic`, ...
        kernel: How it computes.
        activation: Space of the quantized operands; None when they stay float.
        weight: Space of the weight; None when the region has none or it stays float.
        bias: Form of the bias.
        output: Space of the output; None when the kernel writes float.
        shares_scale: Operands and output use one scale and zero point.
        output_range: Fixed output range such as Softmax's [0, 1], instead of the observed one.
        operands: Which activations are quantized; all by default.
        ratios: Least and greatest scale of an operand over that of the output that the kernel
            takes; None for any.
        searched: Whether the search tries it by itself; otherwise only schemes, overrides and
            plans that name it bring it in.
        simulated: The engine has no kernel for these numbers: it computes in float between
            quantizations, with the rounding of a device that has one.
        size_only: Stored in fewer bits, of which floats are made before anything is computed: the
            file is smaller, nothing is faster.
        follows: The search takes it only where what it reads is written as integers: it is slower
            than quantizing behind it where float comes in.
    """

    precision: str
    kernel: Kernel = Kernel.STATIC
    activation: QSpace | None = None
    weight: QSpace | None = None
    bias: BiasForm = BiasForm.FLOAT
    output: QSpace | None = None
    shares_scale: bool = False
    output_range: Range | None = None
    operands: Callable[[tuple[Operand, ...]], tuple[Operand, ...]] | None = None
    ratios: Callable[[Region], tuple[float, float]] | None = None
    searched: bool = True
    simulated: bool = False
    size_only: bool = False
    follows: bool = False

    def fits(self, *, reads: bool, weighted: bool) -> bool:
        """Whether a region has the constant weight that this form is about.

        Args:
            reads: Whether the region has activations.
            weighted: Whether it has a stored weight.
        """
        if not reads:
            return self.kernel is Kernel.WEIGHT_ONLY
        if self.kernel is Kernel.STATIC and self.output is not None:
            return True
        return self.weight is None or weighted

    def choose_operands(self, activations: tuple[Operand, ...]) -> tuple[Operand, ...]:
        """The activations that this form reads quantized."""
        return activations if self.operands is None else self.operands(activations)


@dataclass(frozen=True)
class Constraint:
    """A condition beyond types. `check` gives the reason why a region fails it, or None.

    Attributes:
        name: Stable identifier.
        check: Region -> reason in words, None when the region is fine.
        reference: Source of the rule.
    """

    name: str
    check: Callable[[Region], str | None]
    reference: str = ""


@dataclass(frozen=True)
class OpCapability:
    """A row: a region pattern, its implementations, and when they are legal."""

    pattern: RegionPattern
    implementations: tuple[Implementation, ...]
    constraints: tuple[Constraint, ...] = ()
    _fitting: dict[tuple[bool, bool], tuple[Implementation, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        names = [each.precision for each in self.implementations]
        if len(set(names)) != len(names):
            raise ConfigurationError(f"precision listed twice for {self.pattern.anchor}: {names}")

    def fitting(self, region: Region) -> tuple[Implementation, ...]:
        """The forms that fit a region; the same tuple for all regions that have the same ones."""
        key = reads, weighted = bool(region.activations), region.weight is not None
        if key not in self._fitting:
            self._fitting[key] = tuple(
                form for form in self.implementations if form.fits(reads=reads, weighted=weighted)
            )
        return self._fitting[key]


PER_TENSOR = "int8-per-tensor"
"""Name of the form with one scale for a whole weight, as of devices that have no others."""


def with_tensor_weights(row: OpCapability) -> OpCapability:
    """The row with its int8 form once more, with one scale for the whole weight; never searched."""
    forms = [
        replace(
            form,
            precision=PER_TENSOR,
            weight=form.weight.with_granularity(Granularity.TENSOR),
            searched=False,
        )
        for form in row.implementations
        if form.precision == "int8" and form.weight is not None
        if form.weight.granularity is Granularity.CHANNEL
    ]
    return replace(row, implementations=(*row.implementations, *forms))


@dataclass(frozen=True)
class CapabilityTable:
    """Rows by anchor op."""

    rows: tuple[OpCapability, ...]
    _index: dict[str, OpCapability] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {row.pattern.anchor: row for row in self.rows}
        if len(index) != len(self.rows):
            raise ConfigurationError("an anchor op has two rows")
        object.__setattr__(self, "_index", index)

    def row(self, anchor: str) -> OpCapability | None:
        """The row of an anchor op, None when the target runs it in float only."""
        return self._index.get(anchor)

    def narrowed(self, anchor: str, *constraints: Constraint) -> OpCapability:
        """The row of an anchor op under more constraints, for an overlay.

        Raises:
            ConfigurationError: There is no row of that op.
        """
        row = self.row(anchor)
        if row is None:
            raise ConfigurationError(f"there is no row {anchor} to narrow")
        return replace(row, constraints=(*row.constraints, *constraints))

    @property
    def forms(self) -> tuple[Implementation, ...]:
        """Every form of every row."""
        return tuple(form for row in self.rows for form in row.implementations)

    def form(self, anchor: str, precision: str) -> Implementation | None:
        """The form of that name in the row of an anchor op, None if there is none."""
        row = self.row(anchor)
        found = () if row is None else row.implementations
        return next((form for form in found if form.precision == precision), None)

    @property
    def patterns(self) -> tuple[RegionPattern, ...]:
        return tuple(row.pattern for row in self.rows)

    def overlay(
        self, rows: Iterable[OpCapability] = (), without: Iterable[str] = ()
    ) -> CapabilityTable:
        """A variant: `rows` replace or add, ops in `without` become float."""
        merged = {row.pattern.anchor: row for row in self.rows}
        merged.update({row.pattern.anchor: row for row in rows})
        for anchor in without:
            merged.pop(anchor, None)
        return CapabilityTable(tuple(merged.values()))
