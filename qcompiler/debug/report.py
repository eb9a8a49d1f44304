"""`DebugReport`: where a quantized program loses what it loses; shown as text, JSON or rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qcompiler.debug.rows import DebuggedRegion, DebuggedValue, DebuggedVariant
from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.markup import block
from qcompiler.measurement.loss import sqnr_db
from qcompiler.printable import one_line
from qcompiler.strict_json import json_text

_SHOWN = 15
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class DebugReport:
    """Where the loss comes from.

    Attributes:
        source: What was compiled, in words.
        target: Name of the target.
        samples: Feeds that were measured.
        measured: Noise-to-signal ratio of the artifact on them, on its engine.
        simulated: The same with all quantizations in a float model, which rows of regions add up
            to; what differs from `measured` is the engine's own arithmetic.
        regions: Quantized regions in graph order.
        values: Quantized values in graph order.
        variants: Accuracy passes in the order they were tried.
        notes: What the figures do not hold.
    """

    source: str
    target: str
    samples: int
    measured: float
    simulated: float
    regions: tuple[DebuggedRegion, ...] = ()
    values: tuple[DebuggedValue, ...] = ()
    variants: tuple[DebuggedVariant, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<DebugReport {self._head()}, {len(self.regions)} regions; .text() shows them>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the regions that lose most by themselves."""
        worst = sorted(self.regions, key=lambda each: -each.alone)
        rows = [
            (each.region, each.ops, each.precision, _db(each.alone), _db(each.cumulated))
            for each in worst
        ]
        head = ("region", "ops", "precision", "alone", "up to here")
        return block(self._head(), self.notes, [(head, rows)], note="report.text()")

    def _head(self) -> str:
        return (
            f"{self.source} for {self.target}: {_db(self.measured)} on {self.samples} samples "
            f"({_db(self.simulated)} simulated)"
        )

    def rows(self, kind: str = "regions") -> list[dict[str, Any]]:
        """One dict per row, as a data frame takes them: `pandas.DataFrame(report.rows())`.

        Args:
            kind: `regions`, `values` or `variants`.

        Raises:
            ConfigurationError: No rows of that kind.
        """
        kinds: dict[str, Sequence[Any]] = {
            "regions": self.regions,
            "values": self.values,
            "variants": self.variants,
        }
        if kind not in kinds:
            raise ConfigurationError(
                f"a debug report has no rows of {kind!r}",
                fix=did_you_mean(str(kind), kinds, f"there are {', '.join(kinds)}"),
            )
        return [asdict(each) for each in kinds[kind]]

    def first_over(self, bound_db: float) -> DebuggedRegion | None:
        """The first region with which, and all before it, less than `bound_db` is left."""
        over = (each for each in self.regions if sqnr_db(each.cumulated) < bound_db)
        return next(over, None)

    def to_json(self) -> str:
        """Indented JSON; see `json_text` for what is infinite."""
        return json_text(asdict(self)) + "\n"

    def text(self, every: bool = False) -> str:
        """Tables for a terminal: the regions and values that matter most, all with `every`."""
        parts = [self._head(), *self.notes, *self._regions(every), *self._values(every)]
        return "\n".join([*map(one_line, parts), *self._variants()]) + "\n"

    def _regions(self, every: bool) -> list[str]:
        if not self.regions:
            return ["no region is quantized"]
        shown = set(self.regions)
        if not every:
            shown = set(sorted(self.regions, key=lambda each: -each.alone)[:_SHOWN])
        kept = [each for each in self.regions if each in shown]
        title = "regions, in graph order" + ("" if len(kept) == len(self.regions) else _WORST)
        cells = [
            (each.region, each.ops, each.precision, _db(each.alone), _db(each.cumulated))
            for each in kept
        ]
        return ["", title, *_table(("region", "ops", "precision", "alone", "up to here"), cells)]

    def _values(self, every: bool) -> list[str]:
        found = list(self.values)
        if not every:
            found = sorted(found, key=lambda each: -_worry(each))[:_SHOWN]
        if not found:
            return []
        title = "values" + ("" if len(found) == len(self.values) else _WORST)
        cells = [
            (
                each.value,
                each.type,
                each.by,
                f"{each.low:.4g} to {each.high:.4g}",
                "–" if each.clipped is None else f"{100 * each.clipped:.2g} %",
                "–" if each.spread is None else f"{each.spread:.3g} at {each.widest}",
            )
            for each in found
        ]
        names = ("value", "type", "range by", "range", "clipped", "channels")
        head, *rows = _table(names, cells)
        both = (line for pair in zip(rows, map(_seen, found), strict=True) for line in pair)
        return ["", title, head, *both]

    def _variants(self) -> list[str]:
        if not self.variants:
            return []
        cells = [
            (
                one_line(each.variant),
                _db(each.before),
                "failed" if each.after is None else _db(each.after),
                "kept" if each.kept else "not kept",
                one_line(each.note),
            )
            for each in self.variants
        ]
        names = ("accuracy pass", "before", "after", "outcome", "note")
        return ["", "accuracy passes, as they were tried", *_table(names, cells)]


_WORST = f" (the {_SHOWN} that matter most)"


def _worry(value: DebuggedValue) -> float:
    """What a value is shown for: much that is clipped, or one channel that fills the range."""
    return 1e3 * max(value.clipped or 0.0, value.clipped_energy or 0.0) + (value.spread or 0.0)


def _db(ratio: float) -> str:
    found = sqnr_db(ratio)
    return "no noise" if math.isinf(found) and found > 0 else f"{found:.1f} dB"


def _seen(value: DebuggedValue) -> str:
    """What calibration saw, below what the integers reach."""
    seen = f"  seen {value.seen_low:.4g} to {value.seen_high:.4g}"
    return f"{seen:30}  {_bars(value.counts)}".rstrip()


def _bars(counts: Sequence[int]) -> str:
    """A histogram in one line, heights by the square root: tails are what is looked for."""
    most = max(counts, default=0)
    if not most:
        return ""
    return "".join(_BARS[math.ceil(math.sqrt(each / most) * (len(_BARS) - 1))] for each in counts)


_LONGEST = 32
"""Characters of a name: the tables stay within a hundred columns."""


def _table(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    clean = [(_end(one_line(row[0])), *map(one_line, row[1:])) for row in cells]
    widths = [max(map(len, column)) for column in zip(names, *clean, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (tuple(names), *clean)
    ]


def _end(name: str) -> str:
    """The end of a long name tells more than its beginning."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
