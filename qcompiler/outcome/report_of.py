"""The report of a selection, and of one configuration of its frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qcompiler.decisions.clipping import told_of_clipping
from qcompiler.decisions.denials import unmet_overrides
from qcompiler.execution.timing import Latency
from qcompiler.execution.verification import Verification
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.plan import FLOAT, UNPLANNED
from qcompiler.ir.plan_places import label
from qcompiler.ir.program import Program
from qcompiler.measurement.candidates import Candidate
from qcompiler.measurement.judge import Judgement
from qcompiler.outcome.distributions import with_histograms
from qcompiler.outcome.environment import environment_of
from qcompiler.outcome.network import floats_outside, network_of
from qcompiler.outcome.outputs import output_rows
from qcompiler.outcome.rows import (
    engine_row,
    frontier_rows,
    pass_rows,
    region_rows,
    variant_rows,
    with_options,
    worst_first,
)
from qcompiler.outcome.values import with_values
from qcompiler.pipeline.pipeline import PipelineReport
from qcompiler.quantization.observers import Observer
from qcompiler.report.report import Report
from qcompiler.report.rows import Figure, SampleCounts
from qcompiler.search.goal import Samples, Selection
from qcompiler.target.contract import Target


def report_of(
    source: Program,
    target: Target,
    selection: Selection,
    reports: Sequence[PipelineReport],
    checked: Verification,
    seconds: float,
    samples: Samples,
) -> Report:
    """Everything that is known of a compilation.

    Args:
        source: What was compiled.
        target: Compiled for this.
        selection: What the search chose.
        reports: Of the pipelines that ran.
        checked: What the integer reference said.
        seconds: Wall time so far.
        samples: Feeds of calibration.
    """
    regions = [each.region for each in selection.options]
    rows = region_rows(regions, selection.plan)
    rows = with_options(rows, selection.options, selection.losses)
    placed = selection.candidate.program.placement if selection.candidate else None
    rows, values = with_values(rows, regions, placed, _observations(selection))
    network = network_of(selection.base, regions, target)
    passes = [row for report in reports for row in pass_rows(report)]
    counts = SampleCounts(samples.seen, len(samples.feeds), len(samples.fitting))
    diagnostics = _diagnostics(selection, target, checked, reports)
    return Report(
        source=source.provenance.source,
        target=target.name,
        summary=selection.summary,
        regions=rows,
        passes=tuple(replace(row, number=i) for i, row in enumerate(passes, 1)),
        figures=_figures(selection, target),
        diagnostics=worst_first((*diagnostics, *floats_outside(network, target))),
        warnings=_warnings(source, selection, target, samples),
        seconds=seconds,
        variants=variant_rows(selection.tried),
        interrupted=selection.interrupted,
        frontier=frontier_rows(selection.frontier, selection.candidate),
        values=values,
        network=network,
        samples=counts if samples.seen else None,
        environment=environment_of(target),
        outputs=output_rows(selection.tolerances, _judgement(selection.candidate)),
        engines=tuple(map(engine_row, selection.engines)),
    )


def report_of_point(report: Report, index: int, selection: Selection) -> Report:
    """The report of another configuration of the frontier.

    Args:
        report: Of the selection.
        index: Of the configuration.
        selection: What the search chose.
    """
    chosen: Candidate = selection.frontier[index]
    regions = [each.region for each in selection.options]
    measured = chosen.sample.regions if chosen.sample else None
    rows = region_rows(regions, chosen.plan, measured, _float_seconds(selection))
    rows = with_options(rows, selection.options, selection.losses)
    placed = chosen.program.placement
    rows, values = with_values(rows, regions, placed, _observations(selection))
    return replace(
        report,
        summary=f"frontier point {index}: {chosen.quantized} regions quantized",
        regions=rows,
        values=values,
        figures=(),
        outputs=output_rows(selection.tolerances, _judgement(chosen)),
        frontier=tuple(replace(each, chosen=each.index == index) for each in report.frontier),
    )


def _judgement(candidate: Candidate | None) -> Judgement | None:
    """What a candidate loses by output, if it loses anything and that was measured."""
    return None if candidate is None or candidate.is_exact else candidate.judgement


def _observations(selection: Selection) -> Mapping[str, Observer]:
    return with_histograms(selection.base.observations, selection.observed)


def _float_seconds(selection: Selection) -> Mapping[str, float] | None:
    """Seconds by region of the first candidate, which is float rewritten."""
    first = selection.frontier[0]
    return first.sample.regions if first.sample and not first.quantized else None


def _diagnostics(
    selection: Selection,
    target: Target,
    checked: Verification,
    reports: Sequence[PipelineReport],
) -> list[Diagnostic]:
    found = [*checked.diagnostics, *selection.diagnostics]
    if checked.checked:
        found.append(Diagnostic(Severity.INFO, "VERIFY00", checked.summary))
    if selection.predicted is not None and selection.loss is not None:
        noted = f"loss predicted {selection.predicted:.2e}, measured {selection.loss:.2e} of signal"
        found.append(Diagnostic(Severity.INFO, "SEARCH00", noted))
    engine = selection.artifact.stand_in
    if engine is not None:
        noted = f"outputs and losses are those of {engine}, in the place of {target.name}"
        found.append(Diagnostic(Severity.INFO, "ENGINE00", noted))
    if target.advice is not None:
        found.append(Diagnostic(Severity.INFO, "RUN01", target.advice))
    if target.evidence.model is not None:
        noted = f"times are modelled by {target.evidence.model}; nothing was timed"
        found.append(Diagnostic(Severity.INFO, "TIME00", noted))
    timed = selection.latencies.get(selection.chosen)
    if timed is not None and timed.rounds and selection.chosen != "float":
        found.append(Diagnostic(Severity.INFO, "TIME01", f"{timed.evidence}; {timed.certainty}"))
    found += [each for report in reports for each in report.diagnostics]
    found += [each for options in selection.options for each in target.objections(options.region)]
    legal = target.legality(selection.program)
    found += [each for each in legal if each.severity >= Severity.WARNING and each not in found]
    return found


def _warnings(
    source: Program, selection: Selection, target: Target, samples: Samples
) -> tuple[str, ...]:
    return (
        *([_INTERRUPTED] if selection.interrupted else []),
        *selection.warnings,
        *told_of_clipping(selection.program),
        *source.provenance.warnings,
        *_promises(selection, target),
        *unmet_overrides(selection.options),
        *_unplanned(selection),
        *_none_held_out(selection, samples),
    )


def _none_held_out(selection: Selection, samples: Samples) -> list[str]:
    """Said where ranges were fitted, and the loss is of the same few samples."""
    candidate = selection.candidate
    placement = None if candidate is None else candidate.program.placement
    if placement is None or not placement.values or not samples.feeds or samples.apart:
        return []
    told = (
        f"{samples.seen} calibration samples are too few to keep some apart: the loss is measured "
        "on those that ranges were fitted to, and other data may lose much more; "
        "some hundred are usual"
    )
    return [told]


def _unplanned(selection: Selection) -> list[str]:
    """Regions that a plan was applied to and does not know: blocks that were added since."""
    choices = selection.plan.choices
    names = [label(key, each) for key, each in choices.items() if each.reason == UNPLANNED]
    if not names:
        return []
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return [f"the plan has no entry for {len(names)} regions, which stay float: {shown}"]


_INTERRUPTED = "the search was interrupted: this is the best that was found until then"


def _figures(selection: Selection, target: Target) -> tuple[Figure, ...]:
    sizes = selection.baseline.nbytes, selection.artifact.nbytes
    figures = [Figure("size", "bytes", float(sizes[0]), float(sizes[1]))]
    timed = selection.latencies.get(selection.chosen)
    base = selection.latencies.get("float")
    if timed is not None and base is not None:
        name = "latency" if target.evidence.timed else "modelled latency"
        interval = _gain_interval(timed) if target.evidence.timed else None
        times = Figure(name, "s", base.seconds, timed.seconds, interval=interval)
        figures.insert(0, replace(times, rounds=timed.rounds))
    if selection.score is not None:
        figures.append(Figure("score", "", *selection.score, better="higher"))
    return tuple(figures)


def _gain_interval(timed: Latency) -> tuple[float, float] | None:
    """That of float over compiled: a ratio's interval turned over."""
    if min(timed.low, timed.high) <= 0:
        return None
    return 1 / timed.high, 1 / timed.low


def _promises(selection: Selection, target: Target) -> list[str]:
    """What a fixed scheme does not keep of 'never slower, never broken'."""
    timed = selection.latencies.get(selection.chosen)
    if timed is None or timed.ratio <= 1.03:
        return []
    quantized = any(choice.precision != FLOAT for choice in selection.plan.choices.values())
    if not quantized:
        return []
    speed = f"{timed.speed}{target.evidence.by_model}"
    sure = "is" if timed.slower or not timed.rounds else "may be"
    fix = "scheme='auto'"
    fix += " without overrides that ask for integers" if selection.demanded else ""
    return [f"this plan {sure} slower than float ({speed}); {fix} avoids that"]
