"""How outputs are judged, a line each."""

from __future__ import annotations

from qcompiler.report.numbers import show_noise, show_share
from qcompiler.report.rows import OutputRow


def output_line(row: OutputRow) -> str:
    """`output 'y' by top1 (why): 21.2 dB allowed, 24.0 dB kept; 2 of 64 decisions flip ...`."""
    parts = []
    if row.allowed is not None:
        parts.append(f"{show_noise(row.allowed)} allowed")
    if row.kept is not None:
        parts.append(f"{show_noise(row.kept)} kept")
    line = f"output '{row.name}' by {row.loss} ({row.reason}): {', '.join(parts)}".rstrip(": ")
    if row.flipped is not None and row.decisions:
        line += f"; {row.flipped} of {row.decisions} decisions flip"
        if row.predicted is not None and row.share is not None:
            line += f" ({show_share(row.share)} of those that count, "
            line += f"{show_share(row.predicted)} predicted)"
    elif row.cost is not None:
        line += f"; it loses {row.cost:.4g}"
    return line
