"""Rows of a debug report: regions, values, variants; plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DebuggedRegion:
    """What quantizing one region costs at the outputs.

    Attributes:
        region: Its key.
        ops: Its ops, such as `Conv+Relu`.
        module: Dotted module path in the source, if it is known.
        source: `file:line` of the user's code, if it is known.
        precision: What it runs as.
        alone: Noise-to-signal ratio of the worst output with this region alone quantized.
        cumulated: The same with all regions up to this one quantized.
    """

    region: str
    ops: str
    module: str | None
    source: str | None
    precision: str
    alone: float
    cumulated: float


@dataclass(frozen=True)
class DebuggedValue:
    """The range of one value beside what calibration saw of it.

    Attributes:
        value: Its name.
        type: What it is stored in.
        by: Who chose the range: a calibration method, a pass, the user, the kernel.
        low: Lowest number that the integers stand for.
        high: Highest one.
        seen_low: Lowest number that calibration saw, masks aside.
        seen_high: Highest one.
        clipped: Share of the elements beyond the range; None where only extremes were kept.
        clipped_energy: Squared excess over squared signal; None likewise.
        counts: Elements in equal bins between the seen ends; empty likewise.
        channels: How many channels it has; None for what has none.
        widest: The channel with the largest magnitude.
        spread: Largest magnitude of a channel over the median one; one scale serves all of them.
    """

    value: str
    type: str
    by: str
    low: float
    high: float
    seen_low: float
    seen_high: float
    clipped: float | None
    clipped_energy: float | None
    counts: tuple[int, ...] = ()
    channels: int | None = None
    widest: int | None = None
    spread: float | None = None


@dataclass(frozen=True)
class DebuggedVariant:
    """What trying one accuracy pass came to.

    Attributes:
        variant: Its text.
        before: Noise-to-signal ratio without it, on samples that it was not fitted to.
        after: With it; None where it failed.
        kept: Whether the result has it.
        note: What it cost, or why it failed.
    """

    variant: str
    before: float
    after: float | None
    kept: bool
    note: str = ""
