"""Order checks, atomicity, measured edits, post-conditions, numbering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from qcompiler.errors import (
    CalibrationError,
    InvalidProgramError,
    PassFailedError,
    PipelineError,
)
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline import registry
from qcompiler.pipeline.combinators import FixedPoint, Sequential
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class DropOneIdentity(Pass):
    """Erases the first Identity, one for each run."""

    name = "drop-one-identity"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        for node in program.graph:
            if node.op_type == "Identity":
                source = node.inputs[0]
                assert source is not None
                rewriter.replace_uses(node.outputs[0], source)
                rewriter.erase(node)
                return Outcome(details={"erased": node.name})
        return Outcome()


@dataclass(frozen=True)
class Observe(Pass):
    """Says that it observes."""

    name = "toy-observe"
    requires = frozenset({Property.CANONICAL})
    establishes = frozenset({Property.OBSERVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        return Outcome()


@dataclass(frozen=True)
class Canonical(Pass):
    """Says that it canonicalizes."""

    name = "toy-canonical"
    establishes = frozenset({Property.CANONICAL})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        return Outcome()


@dataclass(frozen=True)
class Spoil(Pass):
    """Destroys CANONICAL."""

    name = "toy-spoil"
    destroys = frozenset({Property.CANONICAL})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        return Outcome()


@dataclass(frozen=True)
class Raise(Pass):
    """Edits, then raises."""

    name = "toy-raise"
    ours: bool = False

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        DropOneIdentity().apply(program, rewriter, context)
        program.placement = None
        if self.ours:
            raise CalibrationError("no data")
        raise ValueError("a bug")


@dataclass(frozen=True)
class NoNeg(Pass):
    """Promises that no Neg is left, and breaks the promise unless it removes it."""

    name = "toy-no-neg"
    keep: bool = True

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        found = [node for node in program.graph if node.op_type == "Neg"]
        for node in [] if self.keep else found:
            source = node.inputs[0]
            assert source is not None
            rewriter.replace_uses(node.outputs[0], source)
            rewriter.erase(node)
        return Outcome()

    def check(self, program: Program) -> tuple[Diagnostic, ...]:
        left = [node.name for node in program.graph if node.op_type == "Neg"]
        return tuple(Diagnostic(Severity.ERROR, "NEG", "a Neg is left", node=n) for n in left)


@pytest.fixture
def registered() -> Iterator[None]:
    """Registers a toy pass that establishes CANONICAL for the time of a test."""
    registry.register_pass(Canonical)
    yield
    registry.PASSES.forget(Canonical.name)


def _ops(program: Program) -> list[str]:
    return [node.op_type for node in program.graph]


def test_missing_requirement_is_an_error_before_anything_runs(
    program: Program, registered: None
) -> None:
    with pytest.raises(PipelineError) as caught:
        Pipeline.of(DropOneIdentity(), Observe()).run(program)
    message = str(caught.value)
    assert "'toy-observe' requires CANONICAL" in message
    assert "toy-canonical" in message
    assert _ops(program).count("Identity") == 2


def test_a_later_establisher_is_named_first(program: Program) -> None:
    with pytest.raises(PipelineError, match="move 'toy-canonical'"):
        Pipeline.of(Observe(), Canonical()).run(program)


def test_requirements_start_from_the_programs_properties(program: Program) -> None:
    program.properties = frozenset({Property.CANONICAL})
    Pipeline.of(Observe()).run(program)
    assert program.properties == {Property.CANONICAL, Property.OBSERVED}


def test_destroyed_property_no_longer_satisfies(program: Program) -> None:
    pipeline = Pipeline.of(Canonical(), Spoil(), Observe())
    with pytest.raises(PipelineError, match="requires CANONICAL"):
        pipeline.run(program)
    Pipeline.of(Canonical(), Spoil()).run(program)
    assert program.properties == frozenset()


def test_a_fixed_points_second_round_is_checked(program: Program) -> None:
    once = Pipeline.of(Canonical(), Sequential((Observe(), Spoil())))
    once.run(program)
    with pytest.raises(PipelineError, match="requires CANONICAL"):
        Pipeline.of(Canonical(), FixedPoint((Observe(), Spoil()))).run(program)


@pytest.mark.parametrize("ours", [False, True])
def test_an_error_leaves_the_program_and_carries_name_and_number(
    program: Program, ours: bool
) -> None:
    graph, text = program.graph, str(program.model)
    kind = CalibrationError if ours else PassFailedError
    with pytest.raises(kind) as caught:
        Pipeline.of(DropOneIdentity(), Raise(ours=ours)).run(program)
    assert (caught.value.pass_name, caught.value.pass_number) == ("toy-raise", 2)
    assert "'toy-raise', number 2" in str(caught.value)
    assert program.graph is graph
    assert str(program.model) == text
    assert isinstance(caught.value.__cause__, ValueError) is not ours


def test_success_commits_and_modified_is_measured(program: Program) -> None:
    report = Pipeline.of(DropOneIdentity(), Spoil()).run(program)
    assert [each.modified for each in report.reports] == [True, False]
    assert report.modified
    assert _ops(program) == ["Relu", "Identity", "Neg", "Add"]


def test_broken_post_condition_stops_and_restores(program: Program) -> None:
    with pytest.raises(InvalidProgramError, match="toy-no-neg") as caught:
        Pipeline.of(DropOneIdentity(), NoNeg()).run(program)
    assert caught.value.diagnostics[0].rule == "NEG"
    assert _ops(program).count("Identity") == 2
    Pipeline.of(NoNeg(keep=False)).run(program)
    assert "Neg" not in _ops(program)


def test_fixed_point_runs_until_nothing_changes(program: Program) -> None:
    report = Pipeline.of(FixedPoint((DropOneIdentity(),))).run(program)
    assert report.reports[0].details == {"rounds": 3, "converged": True}
    assert [child.modified for child in report.reports[0].children] == [True, True, False]
    assert [run.number for run in report.runs] == [1, 2, 3]
    assert _ops(program) == ["Relu", "Neg", "Add"]


def test_fixed_point_stops_at_its_limit(program: Program) -> None:
    report = Pipeline.of(FixedPoint((DropOneIdentity(),), limit=1)).run(program)
    assert report.reports[0].details == {"rounds": 1, "converged": False}
    assert _ops(program).count("Identity") == 1


def test_the_callers_context_is_left_as_it_was(program: Program) -> None:
    context = PassContext()
    Pipeline.of(FixedPoint((DropOneIdentity(),))).run(program, context)
    assert context.runner is None


def test_an_empty_combinator_is_an_error() -> None:
    with pytest.raises(PipelineError, match="has no passes"):
        Sequential()
