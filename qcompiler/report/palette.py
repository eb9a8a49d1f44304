"""Colours of precisions, the same in every plot; told apart by readers who see colours otherwise.

From Okabe & Ito, Color Universal Design (2008), darkened where white text stands on them.
"""

from __future__ import annotations

from collections.abc import Iterable

from qcompiler.ir.plan import FLOAT

_NAMED = {
    FLOAT: "#8a8f98",
    "int8": "#0072b2",
    "int8-dynamic": "#00856a",
    "int8-weights": "#b4559b",
    "int16": "#4b6cb7",
}
_OTHERS = ("#c75b12", "#a67c00", "#2f8fbf", "#7a5195", "#ad4c4c", "#4d7c3a", "#8c6d46")


def colours(precisions: Iterable[str]) -> dict[str, str]:
    """A colour for each precision; what has none of its own takes the next free one by name."""
    names = sorted(set(precisions))
    unnamed = [name for name in names if name not in _NAMED]
    others = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(unnamed)}
    return {name: _NAMED.get(name) or others[name] for name in names}
