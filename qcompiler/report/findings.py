"""Findings as lines of a summary: one line for what many nodes have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qcompiler.ir.diagnostics import Diagnostic


def gathered(found: Iterable[Diagnostic]) -> list[str]:
    """A line for each finding; those that differ in their place only are one line."""
    kinds: dict[Diagnostic, list[Diagnostic]] = {}
    for each in found:
        kinds.setdefault(replace(each, node=None, source=None), []).append(each)
    return [_line(same) for same in kinds.values()]


def _line(same: list[Diagnostic]) -> str:
    first, *others = same
    return str(replace(first, source=f"and {len(others)} more places") if others else first)
