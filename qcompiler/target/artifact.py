"""What a target lowers to: an artifact that runs, what its engine counts, and what it costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from qcompiler.ir.signature import Feed

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class KernelCount:
    """What the engine really runs.

    Attributes:
        integer: Region keys found as integer kernels.
        missed: Region keys meant to be integer that run in float, with the reason.
        ops: How often each op occurs in the engine's own graph.
        simulated: Region keys whose form the engine computes in float, as the form says.
        altered: Region keys whose kernel writes other integers than the program says, with both.
    """

    integer: tuple[str, ...] = ()
    missed: Mapping[str, str] = field(default_factory=dict)
    ops: Mapping[str, int] = field(default_factory=dict)
    simulated: tuple[str, ...] = ()
    altered: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        counted = {
            "in integers": self.integer,
            "in float for all that": self.missed,
            "simulated": self.simulated,
            "altered": self.altered,
        }
        told = [f"{len(regions)} {name}" for name, regions in counted.items() if regions]
        return f"<KernelCount {', '.join(told) or 'nothing in integers'}>"


PROFILE_THREADS = 1
"""Threads on which regions and conversions are compared, unless the user asks for a number: that
is the work they are, whatever the other cores do. Results are timed with the deployed number."""


@dataclass(frozen=True)
class CostSample:
    """Where the time of one run goes, measured on the engine.

    Attributes:
        regions: Seconds by region key; regions that the engine merged into a neighbour are absent.
        conversions: Seconds of quantizing, dequantizing and layout changes between regions.
        other: Seconds of everything else.
    """

    regions: Mapping[str, float]
    conversions: float
    other: float

    @property
    def total(self) -> float:
        return sum(self.regions.values()) + self.conversions + self.other

    def scaled(self, factor: float) -> CostSample:
        """The same on a machine that takes `factor` times as long."""
        regions = {key: factor * seconds for key, seconds in self.regions.items()}
        return CostSample(regions, factor * self.conversions, factor * self.other)


@dataclass(frozen=True)
class ConversionCost:
    """Seconds per element to enter and leave integers, plus a fixed cost per kernel."""

    quantize: float
    dequantize: float
    fixed: float


class Artifact(ABC):
    """A lowered program that the target's engine runs."""

    @abstractmethod
    def run(self, feed: Feed) -> list[Array]:
        """Outputs in signature order."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Writes the runtime's own format, atomically.

        Raises:
            ArtifactError: Not writable.
        """

    @property
    def stand_in(self) -> str | None:
        """What runs it here in the place of the target's engine; None where that itself does."""
        return None

    @property
    def lowered(self) -> Artifact:
        """What was lowered from the program; another one where this runs the source itself."""
        return self

    @property
    def module(self) -> Any:
        """The `torch.fx.GraphModule` that runs; None where the engine is not torch."""
        return None

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Size as saved, in bytes."""

    @abstractmethod
    def kernels(self) -> KernelCount:
        """Counts the kernels of the engine's own optimized graph."""

    def release(self) -> None:
        """Frees memory of the engine; the next use takes it again. Nothing by default."""
        return

    def profile(self, feeds: Sequence[Feed]) -> CostSample | None:
        """Seconds per region over these feeds; None when the engine cannot tell."""
        return None

    def tap(
        self, feeds: Sequence[Feed], values: Sequence[str]
    ) -> Iterator[Mapping[str, Array]] | None:
        """Interior values of the engine's own runs, one mapping per feed; None if it shows none.

        Reading them must not change which kernels run. A value that cannot be read without that
        is left out.

        Args:
            feeds: What to run.
            values: Names of values of the lowered program's main graph.
        """
        return None
