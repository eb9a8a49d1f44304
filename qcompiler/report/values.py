"""What a report says of one quantized value: scale, range, what calibration saw, what is lost."""

from __future__ import annotations

from dataclasses import dataclass

from qcompiler.errors import ConfigurationError

MOST_BINS = 64
"""Bins of a histogram in a report."""


@dataclass(frozen=True)
class Distribution:
    """A histogram over bins of equal width.

    Attributes:
        low: Lower edge of the first bin.
        high: Upper edge of the last one.
        counts: At most 64.

    Raises:
        ConfigurationError: No bins or too many, or edges in the wrong order.
    """

    low: float
    high: float
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.counts) <= MOST_BINS or not self.low < self.high:
            raise ConfigurationError(
                f"{len(self.counts)} bins over [{self.low}, {self.high}] are no distribution"
            )

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class ValueRow:
    """One value in integers: an activation or a weight.

    Attributes:
        key: Its name; with what tells it apart where one value is quantized in several ways.
        kind: `activation` or `weight`.
        type: Storage type, such as `UINT8`.
        shape: Such as `64x3x7x7`; empty where it is not known.
        scales: Smallest and largest scale.
        scale_count: 1 per tensor, else the number of channels or blocks.
        zero_points: Smallest and largest zero point.
        low: Smallest real number that does not saturate (over all channels).
        high: Largest.
        seen: Extremes of the data, None where they are not known.
        clipped: Share of the data outside [low, high]; None where it is not known.
        noise: Noise-to-signal ratio of the rounding; None where it is not known.
        rounding: Who chose the integers of a weight: `nearest`, the name of a pass, ...
        distribution: Histogram of the data; None where calibration kept none.
    """

    key: str
    kind: str
    type: str
    shape: str
    scales: tuple[float, float]
    scale_count: int
    zero_points: tuple[int, int]
    low: float
    high: float
    seen: tuple[float, float] | None = None
    clipped: float | None = None
    noise: float | None = None
    rounding: str = ""
    distribution: Distribution | None = None
