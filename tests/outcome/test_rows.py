"""Rows from regions, plans, pipeline runs and candidates."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.decisions.options import Options
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.edits import EditCounts
from qcompiler.ir.origin import set_origin
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.program import Program, Provenance
from qcompiler.ir.regions import Epilogue, RegionPattern, Stage, find_regions
from qcompiler.ir.signature import Signature
from qcompiler.outcome.rows import pass_rows, region_rows, with_options, worst_first
from qcompiler.pipeline.contract import PassReport
from qcompiler.pipeline.pipeline import PassRun, PipelineReport
from qcompiler.report.rows import PassRow, RegionRow
from qcompiler.target.capability import Implementation

_MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
two (float[1,4] x) => (float[1,4] y)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}> {
    a = MatMul (x, w)
    b = Relu (a)
    y = MatMul (b, w)
}
"""


def test_rows_of_regions_and_plan() -> None:
    program = Program(ir.from_onnx_text(_MODEL), Signature((), ()), Provenance("test"))
    program.graph[0].name, program.graph[2].name = "first", "second"
    set_origin(program.graph[0], "net.fc", "net.py:7")
    relu = Epilogue(Stage.ACTIVATION, frozenset({"Relu"}))
    regions = find_regions(program, [RegionPattern("MatMul", (relu,))])
    choice = Choice("int8", "wins", 1e-3, 0.01, {"float32": 2e-3})
    kept = Choice("float32", "", 3e-4, None, {"int8": 4e-4})
    plan = Plan("t", {"first": choice, "second": kept})
    rows = region_rows(regions, plan, seconds={"first": 5e-4})
    assert rows == (
        RegionRow(
            "first",
            "MatMul+Relu",
            "int8",
            "net.fc",
            "net.py:7",
            "wins",
            5e-4,
            2e-3,
            0.01,
            forms={"float32": 2e-3, "int8": 5e-4},
        ),
        RegionRow(
            "second",
            "MatMul",
            "float32",
            seconds=3e-4,
            float_seconds=3e-4,
            shape="float[1,4]",
            forms={"float32": 3e-4, "int8": 4e-4},
        ),
    )
    assert [row.precision for row in region_rows(regions, None)] == ["float32", "float32"]


def test_rows_of_passes_leave_out_skipped_ones() -> None:
    ran = PassRun(1, PassReport("a", EditCounts(inserted=2, erased=1)), 0.5)
    skipped = PassRun(2, PassReport("b", EditCounts()), 0.0, skipped=True)
    assert pass_rows(PipelineReport(runs=(ran, skipped))) == (PassRow(1, "a", 0.5, 3),)


def test_diagnostics_are_unique_and_worst_first() -> None:
    info = Diagnostic(Severity.INFO, "A", "a")
    error = Diagnostic(Severity.ERROR, "B", "b")
    other = Diagnostic(Severity.INFO, "C", "c")
    assert worst_first([info, error, other, info]) == (error, info, other)


def test_a_float_region_shows_what_quantizing_it_would_lose() -> None:
    region = find_regions(
        Program(ir.from_onnx_text(_MODEL), Signature((), ()), Provenance("test")),
        [RegionPattern("MatMul")],
    )[0]
    form, other = Implementation("int8"), Implementation("int8-dynamic")
    options = [Options(region, (form, other))]
    key = region.key
    losses = {(key, "int8"): 0.02, (key, "int8-dynamic"): 0.01, (key, "float32"): 0.0}
    plan = Plan("t", {key: Choice("float32", "", 1e-3, 0.0, {"int8": 2e-3})})
    (row,) = with_options(region_rows([region], plan), options, losses)
    assert row.loss == 0.01
    assert row.losses == {"int8": 0.02, "int8-dynamic": 0.01}
    assert row.forms == {"float32": 1e-3, "int8": 2e-3, "int8-dynamic": None}
    (unknown,) = with_options(region_rows([region], plan), options, {})
    assert unknown.loss is None
