"""Rows of regions, passes, variants and configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from qcompiler.decisions.options import Options
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.origin import module_path, source_line
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.regions import Region
from qcompiler.measurement.candidates import Candidate
from qcompiler.measurement.trying import Tried
from qcompiler.pipeline.pipeline import PipelineReport
from qcompiler.report.rows import EngineRow, FrontierRow, PassRow, RegionRow, VariantRow
from qcompiler.search.goal import EngineResult


def region_rows(
    regions: Sequence[Region],
    plan: Plan | None,
    seconds: Mapping[str, float] | None = None,
    float_seconds: Mapping[str, float] | None = None,
) -> tuple[RegionRow, ...]:
    """Rows of a program's regions under a plan.

    Args:
        regions: As the target finds them.
        plan: Precisions and reasons; None means that everything is float.
        seconds: Measured time of the compiled regions by key; the plan's estimate if absent.
        float_seconds: Measured time of the float regions by key.
    """
    rows = []
    for region in regions:
        choice = plan.choices.get(region.key) if plan else None
        precision = choice.precision if choice else FLOAT
        estimate = choice.seconds if choice else None
        own = (seconds or {}).get(region.key, estimate)
        forms = {**(choice.alternatives if choice else {}), precision: own}
        plain = (float_seconds or {}).get(region.key, forms.get(FLOAT))
        rows.append(
            RegionRow(
                region.key,
                "+".join(node.op_type for node in region.nodes),
                precision,
                module_path(region.anchor),
                source_line(region.anchor),
                choice.reason if choice else "",
                own,
                plain,
                choice.loss if choice and precision != FLOAT else None,
                shape=shape_of(region.output),
                forms=dict(sorted(forms.items())),
            )
        )
    return tuple(rows)


def with_options(
    rows: Sequence[RegionRow],
    options: Sequence[Options],
    losses: Mapping[tuple[str, str], float],
) -> tuple[RegionRow, ...]:
    """The rows with every legal form, and what each of them loses if that was measured.

    Args:
        rows: Of regions.
        options: Their forms.
        losses: By (region key, precision).
    """
    legal = {
        each.region.key: [FLOAT, *(form.precision for form in each.implementations)]
        for each in options
    }
    found = []
    for row in rows:
        names = legal.get(row.region, [])
        tried = [name for name in names if name != FLOAT and (row.region, name) in losses]
        lost = {name: losses[row.region, name] for name in tried}
        forms = {**dict.fromkeys(names), **row.forms}
        changed = replace(row, forms=forms, losses=lost)
        if row.is_float and lost:
            changed = replace(changed, loss=min(lost.values()))
        found.append(changed)
    return tuple(found)


def pass_rows(report: PipelineReport) -> tuple[PassRow, ...]:
    """Rows of a pipeline run, skipped passes left out."""
    return tuple(
        PassRow(run.number, run.report.name, run.seconds, run.report.edits.total)
        for run in report.runs
        if not run.skipped
    )


def variant_rows(tried: Iterable[Tried]) -> tuple[VariantRow, ...]:
    """Rows of variants that were tried, in order."""
    return tuple(
        VariantRow(
            each.variant,
            each.before,
            each.after,
            each.kept,
            each.note,
            each.told,
            each.seconds,
            each.price,
            each.unit,
        )
        for each in tried
    )


def frontier_rows(
    candidates: Sequence[Candidate], chosen: Candidate | None
) -> tuple[FrontierRow, ...]:
    """A row for every candidate; those that no other one beats in time, loss and size are best."""
    rows = [
        FrontierRow(
            index,
            each.seconds,
            each.loss,
            each.artifact.nbytes,
            each.quantized,
            chosen=each is chosen,
        )
        for index, each in enumerate(candidates)
    ]
    return tuple(
        replace(row, best=not any(_dominates(other, row) for other in rows)) for row in rows
    )


def worst_first(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Diagnostics without repetitions, the worst first, otherwise in the order found."""
    return tuple(sorted(dict.fromkeys(found), key=lambda each: -each.severity))


def shape_of(value: ir.Value) -> str:
    """Type and shape of a value: `float[N,64,56,56]`, `?` for a part that is not known."""
    if value.dtype is None and value.shape is None:
        return ""
    kind = "?" if value.dtype is None else value.dtype.name.lower()
    if value.shape is None:
        return f"{kind}[?]"
    dims = [str(dim.value if isinstance(dim, ir.SymbolicDim) else dim) for dim in value.shape]
    return f"{kind}[{','.join('?' if dim == 'None' else dim for dim in dims)}]"


def _dominates(a: FrontierRow, b: FrontierRow) -> bool:
    """Whether `a` is at least as good in everything and better in something."""
    left = (a.seconds or 0.0, a.loss or 0.0, a.nbytes)
    right = (b.seconds or 0.0, b.loss or 0.0, b.nbytes)
    return a is not b and all(x <= y for x, y in zip(left, right, strict=True)) and left != right


def engine_row(found: EngineResult) -> EngineRow:
    """One engine of several."""
    timed = found.latency
    return EngineRow(
        found.name,
        found.outcome,
        found.chosen,
        timed.seconds if timed else None,
        timed.speed if timed else "",
        timed.evidence if timed else "",
        found.loss,
        found.score,
        found.quantized,
    )
