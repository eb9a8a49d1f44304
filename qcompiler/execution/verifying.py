"""The engine's own integers compared with the integer reference, region by region.

Each region is given the integers that the engine really fed it, so a difference is the region's
own and does not spread: a wrong layer is named, not everything behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from qcompiler.decisions.options import SIMULATED
from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.comparison import Check, Comparison, StaticCheck
from qcompiler.execution.integer.dynamic import dynamic_checks
from qcompiler.execution.integer.extraction import extract
from qcompiler.execution.integer.recurrent_forms import recurrent_checks
from qcompiler.execution.verification import NO_SAMPLES, RegionCheck, Verification
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.target.arithmetic import Arithmetic, Tolerance
from qcompiler.target.artifact import Artifact, KernelCount
from qcompiler.target.contract import Target
from qcompiler.target.placement import lowered_regions

_UNPLANNED = "nothing was compared: the program is quantized and does not say which regions are"


def verify_artifact(
    program: Program,
    target: Target,
    artifact: Artifact,
    feeds: Sequence[Feed],
    kernels: KernelCount | None = None,
    rows: int | None = None,
    seconds: float = math.inf,
    told: Callable[[], None] = lambda: None,
) -> Verification:
    """Compares what the engine computes with the integer reference.

    Args:
        program: The lowered program, Q/DQ explicit.
        target: Declares the tolerance.
        artifact: Runs; must offer `tap` for anything to be compared.
        feeds: Samples to run.
        kernels: What the engine runs, if it was counted before.
        rows: Compare at most this many rows (axis 0) where rows do not depend on each other.
        seconds: Time for the comparisons; the cheapest regions come first if it is limited.
        told: Called after every sample.
    """
    if rows is not None and (type(rows) is not int or rows < 1):
        raise ConfigurationError(f"rows={rows!r} leaves nothing to compare", fix="give 1 or more")
    count = artifact.kernels() if kernels is None else kernels
    found, unchecked = _quantized(program, target, {*count.missed, *count.simulated})
    unchecked |= dict.fromkeys(count.simulated, SIMULATED)
    ready = {key: each for key, each in found.items() if _is_visible(each, program)}
    unchecked |= {key: "it is inside a loop or branch" for key in found if key not in ready}
    if ready and not feeds:
        unchecked |= dict.fromkeys(ready, NO_SAMPLES)
        ready = {}
    comparison = Comparison(ready, rows, seconds)
    runs = artifact.tap(feeds, comparison.taps) if ready else iter(())
    if runs is None:
        unchecked |= dict.fromkeys(ready, "the engine shows no interior values")
    else:
        for feed, values in zip(feeds, runs, strict=False):
            comparison.take({**feed, **values})
            told()
        unchecked |= comparison.skipped
    checks = [
        RegionCheck(
            key,
            ready[key].ops,
            lsb,
            _tolerance(ready[key], target.arithmetic),
        )
        for key, lsb in comparison.found.items()
    ]
    return Verification(
        target.name,
        target.tolerance_lsb,
        tuple(checks),
        unchecked,
        count.missed,
        len(count.integer),
        len(count.simulated),
        (*_problems(count), *([_UNPLANNED] if is_unplanned(program) else [])),
    )


def is_unplanned(program: Program) -> bool:
    """Whether it is quantized without a plan, as files of other tools are."""
    nodes = all_nodes(program.model)
    return program.plan is None and any(
        is_op(node, "QuantizeLinear", "DequantizeLinear") for node in nodes
    )


def _tolerance(check: Check, rules: Arithmetic) -> Tolerance | None:
    """None for what the target's own applies to; a derived bound leaves nothing to tolerate."""
    return rules.tolerances.get(check.kind) if isinstance(check, StaticCheck) else Tolerance(0)


def _problems(count: KernelCount) -> tuple[str, ...]:
    """No integer kernel at all where some were meant is an error, not a diagnostic.

    So is a kernel on another grid than the program's: interior values do not always show it.
    """
    found = [f"'{key}': {why}" for key, why in count.altered.items()]
    if count.missed and not count.integer:
        found.append(
            f"none of the {len(count.missed)} regions meant to be integer runs in integers"
        )
    return tuple(found)


def _quantized(
    program: Program, target: Target, left_out: set[str]
) -> tuple[dict[str, Check], dict[str, str]]:
    """Regions of the plan that can be compared, and those that cannot with the reason."""
    planned = {} if program.plan is None else program.plan.choices
    keys = {key for key, choice in planned.items() if choice.precision != FLOAT} - left_out
    choose = target.arithmetic.dynamic
    found: dict[str, Check] = dict(dynamic_checks(program, keys, choose))
    found |= recurrent_checks(program, keys, choose)
    keys -= set(found)
    unchecked: dict[str, str] = {}
    for region in lowered_regions(program, target):
        if region.key not in keys:
            continue
        keys.remove(region.key)
        each = extract(region, target.arithmetic)
        if isinstance(each, str):
            unchecked[region.key] = each
        else:
            rule = target.arithmetic.tolerances.get(region.kind)
            found[region.key] = StaticCheck(each, rule is not None and rule.ties)
    for key in sorted(keys):
        unchecked[key] = "its activations are quantized at run time, inside the kernel"
    return found, unchecked


def _is_visible(each: Check, program: Program) -> bool:
    return all(value.graph is program.graph for value in each.values)
