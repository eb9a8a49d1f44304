"""A table for a terminal without colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

_LONGEST_NAME = 26
"""Columns of a region's name and of its ops: what is left is for the reason."""
_CUT = frozenset({"region", "ops", "value"})
NUMERIC = frozenset(
    {"time", "float time", "loss", "noise", "size", "float size", "edits", "number", "float"}
    | {"compiled", "gain", "scale", "zero point", "range", "seen", "clipped", "count", "quantized"}
)
"""Headings of columns that stand to the right."""


def plain_table(title: str, columns: Sequence[str]) -> Table:
    """Headings only; what is numeric stands at the right, names are cut."""
    table = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        most = _LONGEST_NAME if column in _CUT else None
        justify: Literal["left", "right"] = "right" if column in NUMERIC else "left"
        cut = most is not None
        table.add_column(column, justify=justify, max_width=most, no_wrap=cut)
    return table
