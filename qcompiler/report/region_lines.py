"""The regions of a summary: a line for each, and below it, over the whole width, why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from qcompiler.report.plain_table import NUMERIC

_GAP = "  "
_SHORTEST = 16
"""Cells that are left of a name in the narrowest terminal."""


def region_lines(cells: Mapping[str, Sequence[str]], reasons: Sequence[str], width: int) -> str:
    """Columns aligned, the first one cut where the terminal ends.

    A reason that regions in a row have in common stands below the last of them.

    Args:
        cells: Columns by heading; every column has one entry for each region.
        reasons: Of each region; empty where there is none.
        width: Cells of the terminal.
    """
    widths = {name: max(map(cell_len, (name, *column))) for name, column in cells.items()}
    first, *others = widths
    left = width - 1 - sum(widths[name] + len(_GAP) for name in others)
    widths[first] = min(widths[first], max(left, _SHORTEST))
    lines = [_line({name: name for name in cells}, widths)]
    for index, reason in enumerate(reasons):
        lines.append(_line({name: column[index] for name, column in cells.items()}, widths))
        if reason and reason not in reasons[index + 1 : index + 2]:
            lines.append("     " + reason)
    return "\n".join(lines)


def _line(row: Mapping[str, str], widths: Mapping[str, int]) -> str:
    parts = []
    for name, text in row.items():
        most = widths[name]
        shown = text if cell_len(text) <= most else set_cell_size(text, most - 1) + "…"
        space = " " * (most - cell_len(shown))
        parts.append(space + shown if name in NUMERIC else shown + space)
    return " " + _GAP.join(parts)
