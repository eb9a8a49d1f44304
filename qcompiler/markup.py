"""Small pieces of HTML for notebooks. Every text is escaped, and rows are bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from qcompiler.printable import one_line

MOST_ROWS = 12
_LONGEST = 200

Table = tuple[Sequence[str], Sequence[Sequence[object]]]
"""Headings, and rows of cells."""


def block(
    title: str,
    lines: Iterable[str] = (),
    tables: Iterable[Table] = (),
    hidden: int = 0,
    note: str = "",
) -> str:
    """A title, lines and tables, as HTML without scripts, links or colours.

    Args:
        title: Shown bold.
        lines: Shown below it; empty ones are left out.
        tables: Of each, at most 12 rows; tables without rows are left out.
        hidden: Rows that were left out before.
        note: What shows all of it.
    """
    parts = [f"<b>{text(title)}</b>", *(text(line) for line in lines if line)]
    found = "<br>".join(parts)
    for head, rows in tables:
        if rows:
            found += _table(head, rows[:MOST_ROWS])
            hidden += max(0, len(rows) - MOST_ROWS)
    more = f"{hidden} more rows; {note}" if hidden else note
    below = "" if found.endswith("</table>") else "<br>"
    return f"<div>{found}{f'{below}<small>{text(more)}</small>' if more else ''}</div>"


def text(given: object) -> str:
    """A text that is safe and short enough to show."""
    shown = one_line(str(given))
    return escape(shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    titles = "".join(f"<th>{text(each)}</th>" for each in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
