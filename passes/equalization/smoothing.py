"""Smoothing all sites of a program: each by the strength with the least predicted noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.equalization.analysis import scaled_values
from qcompiler.passes.equalization.bounds import log_bounds
from qcompiler.passes.equalization.folding import fold_scales
from qcompiler.passes.equalization.observed import Seen, rounded_values
from qcompiler.passes.equalization.sites import find_sites
from qcompiler.passes.equalization.strength import NoiseModel, smoothed
from qcompiler.target.contract import Target


def smooth_sites(
    program: Program,
    rewriter: Rewriter,
    target: Target | None,
    made: Mapping[str, str],
    strength: float | None = None,
) -> dict[str, Any]:
    """Scales every site that gains by it; says how many, how many constants changed, how strongly.

    Args:
        program: Calibrated, with the statistics of its sites.
        rewriter: Of the program.
        target: Says what is rounded.
        made: The value whose statistics are those of another, by name.
        strength: One for all sites; None takes the best one of each.
    """
    found, seen = scaled_values(program), Seen(program, made)
    rounded = rounded_values(program, target)
    low, high = log_bounds(found, seen)
    logs = np.zeros(found.freedom.count)
    chosen = {}
    for site in find_sites(found):
        model = NoiseModel.of(found, site, seen, rounded)
        best = None if model is None else smoothed(model, low, high, strength)
        if best is not None:
            logs += best[0]
            chosen[site.values[0].name] = best[1]
    changed = fold_scales(found, logs, rewriter)
    return {"sites": len(chosen), "constants": changed, "strengths": chosen}


def written_values(program: Program, target: Target | None) -> set[str]:
    """Names of what quantized regions write; of none without a target."""
    if target is None:
        return set()
    return {each.output.name or "" for each in target.regions(program)}
