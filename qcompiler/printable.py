"""Text that is safe to show: what reports, diagnostics, errors and the command line print.

Names in a model are the model's author's. Printed raw, an escape character in one can move the
cursor, change colours or the clipboard of a terminal, and a right-to-left override shows a name as
another one. Such characters are shown as Python writes them in a string.
"""

from __future__ import annotations

import unicodedata

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: control, format (direction marks), lone surrogates, line and paragraph."""


def printable(text: str, keep: str = "\n\t") -> str:
    """The text with harmful characters escaped.

    Args:
        text: Any text.
        keep: Harmful characters that stay; the empty string makes it one line.
    """
    if text.isprintable():
        return text
    return "".join(
        _escaped(each) if unicodedata.category(each) in _HARMFUL and each not in keep else each
        for each in text
    )


def one_line(text: str) -> str:
    """As `printable`, line breaks and tabs escaped too: for names and cells of tables."""
    return printable(text, keep="")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
