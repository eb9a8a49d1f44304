"""Every command, called rightly and wrongly: exit code, what it says, and what it leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from qcompiler.cli import app
from qcompiler.ir.plan import Plan


@dataclass(frozen=True)
class Call:
    """A command line.

    Attributes:
        line: Its words.
        code: Exit code.
        says: What is in its output, or in its message where it fails.
        makes: Files that are there afterwards and were not before.
    """

    line: str
    code: int
    says: str
    makes: tuple[str, ...] = ()


FAST = "compile model.onnx -c data.npz --batch 32 --scheme int8 --recipe fast"
RIGHT = (
    Call("--version", 0, "qcompiler "),
    Call("--help", 0, "run-pipeline"),
    Call("-h", 0, "Exit codes"),
    Call("compile -h", 0, "--calibration"),
    Call(f"{FAST} -o o.onnx", 0, "int8", ("o.onnx",)),
    Call(f"{FAST} -o o.onnx -q", 0, "", ("o.onnx",)),
    Call("compile model.onnx -d data.npz -o o.onnx --plan plan.json -q", 0, "", ("o.onnx",)),
    Call("inspect model.onnx", 0, "multiply-accumulates: 7,918,208, batch at 1"),
    Call("inspect model.onnx --json", 0, '"macs": 7918208'),
    Call("inspect model.onnx --shape 4x1x32x32", 0, "31,672,832 with image 4x1x32x32"),
    Call("inspect model.onnx --shape image=2x1x32x32 --json", 0, '"macs": 15836416'),
    Call("inspect model.onnx --all", 0, "node_linear"),
    Call("inspect model.onnx --target openvino", 0, "regions on openvino"),
    Call("inspect model.onnx --text", 0, "= Conv <"),
    Call("inspect out.onnx", 0, "calibration data digest: "),
    Call("inspect out.onnx --json", 0, '"made with": "engine onnxruntime '),
    Call("inspect model.onnx --why node_linear", 0, "Gemm"),
    Call("inspect model.onnx --why node_linear --json", 0, "["),
    Call("lint model.onnx --target onnxruntime", 0, "nothing found"),
    Call("lint model.onnx --target tensorrt --json", 0, "["),
    Call("ops", 0, "Conv"),
    Call("ops --target onnxruntime --json", 0, '"Conv"'),
    Call("targets", 0, "onnxruntime"),
    Call("targets --json", 0, '"openvino"'),
    Call("passes", 0, "canonicalize"),
    Call("passes list --json", 0, '"dead-code"'),
    Call("passes --json", 0, '"dead-code"'),
    Call("passes describe gptq", 0, "stage: placement"),
    Call("passes describe fuse-conv-bn --json", 0, '"establishes"'),
    Call("plan show plan.json", 0, "node_Conv_176"),
    Call("plan show out.onnx --all", 0, "int8"),
    Call("plan show plan.json --json", 0, '"choices"'),
    Call("plan diff plan.json plan.json", 0, "no difference"),
    Call("plan diff plan.json out.onnx --json", 1, '"only_second": {}'),
    Call("plan edit plan.json --set node_linear=float32 -o p.json", 0, "-> float32", ("p.json",)),
    Call("plan edit out.onnx --set node_Conv_*=float32 -o p.json", 0, "176", ("p.json",)),
    Call(
        "plan edit plan.json --set node_linear=float32 -o p.json --json",
        0,
        '"changed"',
        ("p.json",),
    ),
    Call("run-pipeline model.onnx canonicalize,dead-code -o o.onnx", 0, "dead-code", ("o.onnx",)),
    Call("run-pipeline model.onnx dead-code -o o.onnx --json", 0, '"passes"', ("o.onnx",)),
    Call("run-pipeline model.onnx dead-code -o o.onnx --dump ir", 0, "", ("ir", "o.onnx")),
    Call("compare model.onnx out.onnx -d data.npz --batch 32 --seconds 0", 0, " dB"),
    Call("compare model.onnx model.onnx -d data.npz --seconds 0 --json", 0, '"largest": 0.0'),
    Call("verify out.onnx", 0, "ok: artifact for onnxruntime"),
    Call("verify out.onnx --data data.npz --batch 32", 0, "worst difference 0 LSB"),
    Call("verify out.onnx -c data.npz --batch 32", 0, "worst difference 0 LSB"),
    Call("verify out.onnx --json", 0, '"problems": []'),
    Call("verify model.onnx", 0, "holds no plan"),
    Call("bench model.onnx out.onnx --seconds 0.1 --threads 1", 0, "speed"),
    Call("bench model.onnx --shape 2x1x32x32 --seconds 0.1 --json", 0, '"engine"'),
    Call("bench model.onnx -d data.npz --seconds 0.1 --json", 0, '"engine": "onnxruntime"'),
)
WRONG = (
    Call("frobnicate", 2, "frobnicate"),
    Call("inspect", 2, "Missing argument"),
    Call("inspect model.onnx --no-such-option", 2, "--no-such-option"),
    Call("inspect none.onnx", 1, "cannot read the model none.onnx"),
    Call("inspect cut.onnx", 1, "cut.onnx"),
    Call("compile model.onnx -c data.npz --order brg -o o.onnx", 2, "no order of channels 'brg'"),
    Call("inspect model.onnx --why none", 2, "there is no node or module 'none'"),
    Call("inspect model.onnx --shape 1x", 2, "cannot read --shape"),
    Call("inspect model.onnx --shape picture=1x1x32x32", 1, "name one of image"),
    Call("inspect model.onnx --shape 1x3x32x32", 1, "shape [1, 3, 32, 32]"),
    Call("inspect model.onnx --target onnxruntim", 2, "did you mean 'onnxruntime'?"),
    Call("ops --target nothing", 2, "no target 'nothing'"),
    Call("passes describe fuse-conv-b", 2, "did you mean 'fuse-conv-bn'?"),
    Call("passes frobnicate", 2, "frobnicate"),
    Call("plan show none.json", 2, "none.json"),
    Call("plan show bad.json", 2, "the plan bad.json"),
    Call("plan show model.onnx", 2, "holds no plan"),
    Call("plan diff plan.json", 2, "Missing argument"),
    Call("plan edit plan.json --set node_linea=float32 -o p.json", 2, "mean 'node_linear'?"),
    Call("plan edit plan.json --set node_linear -o p.json", 2, "write --set"),
    Call("plan edit plan.json --set node_linear=int9 -o p.json", 2, "did you mean 'int8'?"),
    Call("plan edit plan.json --set node_linear=int8 -o no/p.json", 1, "no folder no"),
    Call("verify none.onnx", 1, "none.onnx"),
    Call("verify cut.onnx", 1, "cut.onnx"),
    Call("verify changed.onnx", 1, "stamp is damaged"),
    Call("verify plan.json", 1, "no artifact"),
    Call("bench none.onnx", 1, "none.onnx"),
    Call("bench model.onnx -d none.npz", 1, "no such file"),
    Call("bench model.onnx -d data.npz --shape 2x1x32x32", 2, "shapes of made-up inputs"),
    Call("bench model.onnx --size 8", 2, "options of calibration data without data"),
    Call("compare model.onnx out.onnx", 2, "give --data"),
    Call("compare model.onnx out.onnx -d data.npz --seconds -1", 2, "not negative"),
    Call("bench model.onnx --seconds -1", 2, "not negative"),
    Call("compile model.onnx -c data.npz -o -", 2, "cannot be standard output"),
    Call("compile model.onnx -c feeds.py:make -o o.onnx", 2, "write feeds:make, without .py"),
    Call("compare model.onnx none.onnx -d data.npz", 1, "none.onnx"),
    Call("lint none.onnx --target onnxruntime", 1, "none.onnx"),
    Call("lint model.onnx", 2, "--target"),
    Call("run-pipeline model.onnx dead-cod -o o.onnx", 2, "mean 'dead-code'?"),
    Call("run-pipeline model.onnx dead-code( -o o.onnx", 2, "pipeline"),
    Call("run-pipeline model.onnx dead-code -o model.onnx", 2, "model.onnx"),
    Call("run-pipeline model.onnx assign-precision -o o.onnx", 2, "within qc.compile"),
    Call("compile model.onnx -o o.onnx --scheme int9", 2, "int9"),
    Call("compile model.onnx -o o.onnx --scheme int8", 1, "calibration"),
    Call("compile model.onnx -o o.onnx --report r.pdf", 2, "cannot be written as '.pdf'"),
    Call(f"{FAST} -o o.onnx --variants gptqq", 2, "gptqq"),
    Call("compile no_such_module:make -o o.onnx", 2, "cannot import 'no_such_module'"),
    Call("debug model.onnx", 2, "give --calibration"),
    Call("demo -o model.onnx", 1, "cannot make the folder model.onnx"),
    Call("run-pipeline model.onnx dead-code -o o.onnx --dump data.npz", 1, "the folder data.npz"),
)


def _run(line: str) -> Result:
    return CliRunner().invoke(app, line.split())


def _named(call: Call) -> str:
    return call.line


@pytest.mark.parametrize("call", RIGHT, ids=_named)
def test_a_right_call(call: Call, folder: Path) -> None:
    before = set(folder.iterdir())
    result = _run(call.line)
    assert result.exit_code == call.code, result.output + repr(result.exception)
    assert call.says in result.stdout
    assert {path.name for path in set(folder.iterdir()) - before} == set(call.makes)
    if "--json" in call.line:
        json.loads(result.stdout)


@pytest.mark.parametrize("call", WRONG, ids=_named)
def test_a_wrong_call_is_a_screen_at_most_and_leaves_nothing(call: Call, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    result = _run(call.line)
    assert result.exit_code == call.code, result.output + repr(result.exception)
    assert isinstance(result.exception, SystemExit)
    assert call.says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") <= 24
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_every_command_is_called_both_ways() -> None:
    right, wrong = ({call.line.split()[0] for call in calls} for calls in (RIGHT, WRONG))
    names = {command.name or "" for command in app.registered_commands}
    names |= {group.name or "" for group in app.registered_groups}
    unnamed = {command.callback.__name__.replace("_", "-") for command in app.registered_commands
               if command.callback is not None and not command.name}  # fmt: skip
    wanted = {name for name in names | unnamed if name}
    assert wanted - right == {"demo", "debug"}  # slow enough for a test of their own
    assert wanted - wrong == {"targets"}  # it takes nothing that could be wrong


def test_multiply_accumulates_are_those_of_the_layers(folder: Path) -> None:
    """Counted anew from shapes that ONNX's own inference gives."""
    model = onnx.load(folder / "model.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        each.name: [dim.dim_value or 1 for dim in each.type.tensor_type.shape.dim]
        for each in (*inferred.value_info, *inferred.output)
    }
    weights = {each.name: list(each.dims) for each in model.graph.initializer}
    wanted = 0
    for node in model.graph.node:
        if node.op_type in {"Conv", "Gemm"}:
            per_output = int(np.prod(weights[node.input[1]][1:]))
            wanted += int(np.prod(shapes[node.output[0]])) * per_output
    assert json.loads(_run("inspect model.onnx --json").stdout)["macs"] == wanted


def test_the_dump_begins_with_what_the_first_pass_got(folder: Path) -> None:
    assert _run("run-pipeline model.onnx canonicalize -o o.onnx --dump ir").exit_code == 0
    names = sorted(path.name for path in (folder / "ir").iterdir())
    assert names[0] == "000-start.txt"
    assert "Conv" in (folder / "ir" / names[0]).read_text()


def test_an_edited_plan_is_followed(folder: Path) -> None:
    _run("plan edit plan.json --set node_linear=float32 -o p.json")
    assert Plan.read("p.json").precision("node_linear") == "float32"
    assert Plan.read("plan.json").precision("node_linear") == "int8"
    line = "compile model.onnx -c data.npz -o o.onnx --plan p.json -q --save-plan q.json"
    assert _run(line).exit_code == 0
    assert Plan.read("q.json").precision("node_linear") == "float32"


def test_the_editor_changes_a_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that replaces one word, as a command."""
    monkeypatch.setenv("EDITOR", "sed -i s/int8/float32/")
    monkeypatch.delenv("VISUAL", raising=False)
    result = _run("plan edit plan.json -o p.json")
    assert result.exit_code == 0, result.output
    assert set(Plan.read(folder / "p.json").precisions.values()) <= {"float32", "int8-shared"}
    monkeypatch.setenv("EDITOR", "true")
    assert _run("plan edit plan.json -o q.json").exit_code == 2
    assert not (folder / "q.json").exists()


@pytest.mark.slow
def test_the_demo_leaves_files_to_go_on_with(folder: Path) -> None:
    result = _run("demo -o made")
    assert result.exit_code == 0, result.output
    assert "held-out images" in result.stdout
    written = {path.name for path in (folder / "made").iterdir()}
    assert written == {"model.onnx", "data.npz", "out.onnx", "report.html"}
    assert json.loads(_run("demo --json").stdout)["images"] == 360
