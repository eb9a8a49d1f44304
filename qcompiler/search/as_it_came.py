"""The source as it came: the answer of a search that found nothing better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qcompiler.decisions.options import Options
from qcompiler.execution.verifying import is_unplanned
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import source_line
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program


def plan_of_source(target: str, options: Sequence[Options]) -> Plan:
    """Float for every region, whatever overrides ask for: that is what runs."""
    choices = {each.region.key: each.chosen(FLOAT, "float is faster") for each in options}
    return replace(Plan(target, choices), rewritten=False)


def planned_source(source: Program, plan: Plan) -> Program:
    """The source; one that is quantized already holds the plan that asks for nothing more.

    Without a plan it would count as a file of which nobody knows what was meant.
    """
    return replace(source, plan=plan) if is_unplanned(source) else source


def unmet_overrides(options: Sequence[Options]) -> list[Diagnostic]:
    """A warning that names the regions which overrides want in integers, and which are not."""
    unmet = [each for each in options if each.demanded]
    if not unmet:
        return []
    names = ", ".join(f"'{each.region.key}' ({each.pinned})" for each in unmet)
    return [
        Diagnostic(
            Severity.WARNING,
            "OVERRIDE01",
            f"the source is returned in float, though overrides ask for {names}: nothing with "
            "them that was measured is within the loss allowed",
            node=unmet[0].region.anchor.name,
            source=source_line(unmet[0].region.anchor),
            hint="allow more by max_loss; scheme='float32' builds them whatever they lose",
        )
    ]
