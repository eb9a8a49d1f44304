"""Instruments see every execution; bisection finds the culprit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import pytest

from qcompiler.errors import InvalidProgramError, PipelineError
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes
from qcompiler.pipeline.bisection import Culprit, bisect
from qcompiler.pipeline.combinators import FixedPoint
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.pipeline.instruments import Bisect, IRDump, Statistics, Timing, VerifyEach
from qcompiler.pipeline.pipeline import VERIFY_VARIABLE, Pipeline


@dataclass(frozen=True)
class Erase(Pass):
    """Erases the first node of one op."""

    name = "toy-erase"
    op: str = "Identity"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        for node in [node for node in all_nodes(program.model) if node.op_type == self.op][:1]:
            source = node.inputs[0]
            assert source is not None
            rewriter.replace_uses(node.outputs[0], source)
            rewriter.erase(node)
        return Outcome()


@dataclass(frozen=True)
class Break(Pass):
    """Leaves two values with one name."""

    name = "toy-break"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        first, second = program.graph[0].outputs[0], program.graph[1].outputs[0]
        second.name = first.name
        return Outcome()


_PASSES = (Erase("Neg"), FixedPoint((Erase(),)), Erase("Relu"))
# Neg, then Identity, Identity, nothing; then Relu: five executions.


def test_timing_and_statistics_see_inner_passes(program: Program) -> None:
    timing, statistics = Timing(), Statistics()
    Pipeline(_PASSES, (timing, statistics)).run(program)
    assert [each.number for each in timing.measurements] == [1, 2, 3, 4, 5]
    assert all(each.seconds > 0 and each.peak > 0 for each in timing.measurements)
    assert [edits > 0 for edits in statistics.edits.values()] == [True, True, True, False, True]
    assert statistics.ops[5, "toy-erase"] == {"Add": 1}


def test_dump_writes_text_of_modifying_passes_only(program: Program, tmp_path: Path) -> None:
    Pipeline(_PASSES, (IRDump(tmp_path / "ir"),)).run(program)
    files = sorted((tmp_path / "ir").iterdir())
    assert [file.name[:3] for file in files] == ["000", "001", "002", "003", "005"]
    assert files.pop(0).name == "000-start.txt"
    assert "Neg" not in files[0].read_text()
    assert "Identity" in files[0].read_text()
    assert "Identity" not in files[2].read_text()


def test_verify_each_names_the_breaking_pass(program: Program) -> None:
    with pytest.raises(InvalidProgramError) as caught:
        Pipeline((Erase(), Break()), (VerifyEach(),)).run(program)
    assert (caught.value.pass_name, caught.value.pass_number) == ("toy-break", 2)
    assert caught.value.diagnostics
    Pipeline((Erase(), Erase("Neg")), (VerifyEach(),)).run(program)


@pytest.mark.parametrize("on", [True, False])
def test_environment_turns_verification_on(monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    monkeypatch.setenv(VERIFY_VARIABLE, "1" if on else "0")
    assert Pipeline().verify_each is on


def test_bisect_instrument_skips_later_passes(program: Program) -> None:
    report = Pipeline(_PASSES, (Bisect(2),)).run(program)
    assert [run.skipped for run in report.runs] == [False, False, True, True]
    assert [node.op_type for node in program.graph] == ["Relu", "Identity", "Add"]


def _has(op: str, program: Program) -> bool:
    return any(node.op_type == op for node in program.graph)


def _identities(program: Program) -> int:
    return sum(node.op_type == "Identity" for node in program.graph)


def test_bisection_finds_the_first_bad_pass(program: Program) -> None:
    pipeline = Pipeline((*_PASSES, Erase("Exp")))
    assert bisect(pipeline, program, lambda p: _has("Relu", p)) == Culprit(5, "toy-erase")
    assert bisect(pipeline, program, lambda p: _has("Neg", p)) == Culprit(1, "toy-erase")
    assert bisect(pipeline, program, lambda p: _identities(p) > 0) == Culprit(3, "toy-erase")
    assert bisect(pipeline, program, lambda _: True) is None
    assert _identities(program) == 2
    with pytest.raises(PipelineError, match="before the first pass"):
        bisect(pipeline, program, lambda _: False)


def test_clone_is_independent(program: Program) -> None:
    before = ir.to_proto(program.model).SerializeToString()
    Pipeline(_PASSES, (Timing(),)).run(program.clone())
    assert ir.to_proto(program.model).SerializeToString() == before
