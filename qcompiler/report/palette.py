"""Colours of precisions, the same in every plot; told apart by readers who see colours otherwise.

After Okabe & Ito, Color Universal Design (2008). White text stands on all of them, and they stand
on white and on near black: WCAG 2.2 wants a contrast of 4.5 for text (1.4.3) and of 3 for what is
seen as a shape (1.4.11). Relative luminances between 0.144 and 0.183 give both.
"""

from __future__ import annotations

from collections.abc import Iterable

from qcompiler.ir.plan import FLOAT

_NAMED = {
    FLOAT: "#6f7681",
    "int8": "#0072b2",
    "int8-dynamic": "#00856a",
    "int8-weights": "#b1529a",
    "int16": "#4b6cb7",
}
_OTHERS = ("#be5611", "#927000", "#2a7eaa", "#8a5ea8", "#ad4c4c", "#4d7c3a", "#8c6d46")
HEAT = ("#4b6cb7", "#277f8f", "#4d7c3a", "#8f7100", "#b8590c", "#c03c3c")
"""Little to much; what lies between two of them is in between."""


def colours(precisions: Iterable[str]) -> dict[str, str]:
    """A colour for each precision; what has none of its own takes the next free one by name."""
    names = sorted(set(precisions))
    unnamed = [name for name in names if name not in _NAMED]
    others = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(unnamed)}
    return {name: _NAMED.get(name) or others[name] for name in names}
