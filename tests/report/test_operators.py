"""The table of operators is what the capability tables say, and the documented one is current."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.operators import PAGE, page
from qcompiler.cli import app
from qcompiler.ir.regions import Epilogue, RegionPattern, Stage
from qcompiler.pipeline.registry import engines, find_target, targets
from qcompiler.quantization.qspace import S8_AFFINE, U8_AFFINE
from qcompiler.report.operators import operator_support, overview_lines
from qcompiler.target.capability import CapabilityTable, Implementation, Kernel, OpCapability
from qcompiler.target.constraints import COMMON

STATIC = Implementation("int8", activation=U8_AFFINE, output=U8_AFFINE)
DYNAMIC = Implementation("mine", Kernel.DYNAMIC, weight=S8_AFFINE)
STORED = Implementation("stored-b32", Kernel.WEIGHT_ONLY, weight=S8_AFFINE, simulated=True)


def _table(op: str, *forms: Implementation) -> CapabilityTable:
    behind = Epilogue(Stage.ACTIVATION, frozenset({"Relu"}))
    return CapabilityTable((OpCapability(RegionPattern(op, (behind,)), forms, COMMON[:1]),))


def test_forms_by_how_they_compute() -> None:
    (found,) = operator_support(_table("Gemm", STATIC, DYNAMIC, STORED))
    assert (found.op, found.absorbs) == ("Gemm", ("Relu",))
    assert (found.static, found.dynamic, found.weight_only) == (
        ("int8",), ("mine",), ("stored-b32",),
    )  # fmt: skip
    assert found.qat == ("int8", "stored-b32")
    assert found.simulated == ("stored-b32",)
    assert found.conditions == (COMMON[0].name,)


def test_layers_with_state_and_dynamic_scales_are_not_trained() -> None:
    (found,) = operator_support(_table("LSTM", DYNAMIC, STORED))
    assert found.qat == ()


def test_a_row_for_every_operator_of_any_target() -> None:
    lines = overview_lines({"a": _table("Gemm", STATIC, DYNAMIC), "b": _table("Add", STATIC)})
    assert lines == [["operator", "a", "b"], ["Add", "–", "ST"], ["Gemm", "SDT", "–"]]


def test_every_capability_is_in_the_tables_of_the_command() -> None:
    found = json.loads(CliRunner().invoke(app, ["ops", "--json"]).stdout)
    assert list(found) == engines()
    assert set(engines()) == set(targets()) - {"cpu"}
    for name in engines():
        rows = find_target(name)().capabilities.rows
        told = {
            (each["op"], form)
            for each in found[name]
            for kind in ("static", "dynamic", "weight_only")
            for form in each[kind]
        }
        assert told == {
            (row.pattern.anchor, form.precision) for row in rows for form in row.implementations
        }


@pytest.mark.parametrize("columns", ["40", "200"])
def test_no_name_is_cut_on_a_terminal(columns: str) -> None:
    runner = CliRunner(env={"COLUMNS": columns})
    assert "…" not in runner.invoke(app, ["ops"]).stdout
    one = runner.invoke(app, ["ops", "--target", "onnxruntime"]).stdout
    assert "…" not in one
    for word in ("GlobalAveragePool", "int16*", "int4-weights"):
        assert word in one


def test_options_of_a_target_and_mistakes() -> None:
    runner = CliRunner()
    written = "tensorrt{precision=fp8,compute_capability=89}"
    found = json.loads(runner.invoke(app, ["ops", "-t", written, "--json"]).stdout)
    forms = {form for each in found[written] for form in each["static"]}
    assert forms
    assert all(form.startswith("fp8") for form in forms)
    failed = runner.invoke(app, ["ops", "--target", "onnxruntim"])
    assert failed.exit_code == 2
    assert "did you mean 'onnxruntime'" in failed.stderr


def test_engines_need_not_be_installed() -> None:
    """Tables are data: no engine is imported for them."""
    code = (
        "import sys\n"
        "from qcompiler.cli.arguments import tables_of\n"
        "from qcompiler.report.operators import operator_support\n"
        "rows = {name: len(operator_support(t)) for name, t in tables_of(None).items()}\n"
        "engines = {'torch', 'openvino', 'executorch', 'tensorrt_rtx'}\n"
        "assert min(rows.values()) > 5, rows\n"
        "assert not engines & set(sys.modules), engines & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_documented_page_is_current() -> None:
    """`python -m benchmarks.operators` writes it anew."""
    assert Path(PAGE).read_text(encoding="utf-8") == page()
