"""Regions of a program whose placement is written already."""

from __future__ import annotations

from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region, find_regions
from qcompiler.target.contract import Target, moves_integers


def lowered_regions(program: Program, target: Target) -> list[Region]:
    """Regions of a placed program, with the movers that already work on integers."""
    found = find_regions(program, target.capabilities.patterns)
    return sorted(found, key=moves_integers)
