"""Regions of a program whose placement is written already."""

from __future__ import annotations

from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region, find_regions
from qcompiler.target.contract import Target


def lowered_regions(program: Program, target: Target) -> list[Region]:
    """Regions of a placed program, with the movers that already work on integers."""
    found = target.regions(program)
    keys = {region.key for region in found}
    patterns = target.capabilities.patterns
    return found + [each for each in find_regions(program, patterns) if each.key not in keys]
