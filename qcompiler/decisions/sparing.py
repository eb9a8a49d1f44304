"""Giving regions of a plan back to float."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from qcompiler.decisions.options import Options
from qcompiler.decisions.settling import settle
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program


def with_float(
    program: Program, plan: Plan, options: Sequence[Options], keys: Set[str], reason: str
) -> Plan:
    """The plan with these regions in float, and what follows for their neighbours.

    A region that an override pins keeps what it has.
    """
    if not keys:
        return plan
    choices = dict(plan.choices)
    for each in options:
        if each.region.key in keys and each.pinned is None:
            choices[each.region.key] = each.chosen(FLOAT, reason)
    settle(options, choices, program.observations)
    return replace(plan, choices=choices)
