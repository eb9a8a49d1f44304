"""Foreign passes and rules run as they are, and their edits are measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    IdentityEliminationPass,
    RemoveUnusedNodesPass,
    ShapeInferencePass,
)
from onnxscript.rewriter import RewriteRule, RewriteRuleClassBase, RewriteRuleSet

from qcompiler.errors import PassFailedError, PipelineError
from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.pipeline.adapters import OnnxIrPass, RewriteRules, as_pass
from qcompiler.pipeline.combinators import FixedPoint
from qcompiler.pipeline.pipeline import Pipeline


class Liar(ir.passes.InPlacePass):
    """Does nothing and says it did."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        return ir.passes.PassResult(model, modified=True)


class Silent(ir.passes.FunctionalPass):
    """Changes an op on a copy and does not say so."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        copy = model.clone()
        for node in copy.graph:
            if node.op_type == "Neg":
                node.op_type = "Abs"
        return ir.passes.PassResult(copy, modified=False)


class Fails(ir.passes.InPlacePass):
    """Raises."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        raise RuntimeError("no")


class DoubleToMul(RewriteRuleClassBase):
    """x + x becomes x * 2."""

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Add(x, x)

    def rewrite(self, op: Any, x: Any) -> Any:
        return op.Mul(x, op.Constant(value_float=2.0))


def _reference(program: Program, x: np.ndarray[Any, Any]) -> Any:
    outputs: Any = ReferenceEvaluator(ir.to_proto(program.model)).run(None, {"x": x})
    return outputs[0]


def _rule() -> RewriteRule:
    return DoubleToMul.rule()  # type: ignore[no-any-return,no-untyped-call]


def test_modified_is_measured_not_claimed(program: Program) -> None:
    assert not Pipeline.of(Liar()).run(program).modified
    report = Pipeline.of(Silent()).run(program)
    assert report.modified
    assert report.reports[0].edits.attributes == 1
    assert [node.op_type for node in program.graph].count("Abs") == 1


def test_in_place_passes_of_onnx_ir(program: Program) -> None:
    x = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)
    expected = _reference(program, x)
    passes = (as_pass(IdentityEliminationPass()), as_pass(CommonSubexpressionEliminationPass()))
    report = Pipeline.of(FixedPoint(passes), ShapeInferencePass()).run(program)
    assert report.reports[0].details["converged"]
    assert [node.op_type for node in program.graph] == ["Relu", "Neg", "Add"]
    assert report.reports[0].children[0].edits.erased == 2
    got = _reference(program, x)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("form", ["rule", "class", "list", "set", "adapter"])
def test_rewrite_rules_in_every_form(program: Program, form: str) -> None:
    forms: dict[str, Any] = {
        "rule": _rule(),
        "class": DoubleToMul,
        "list": [_rule(), DoubleToMul],
        "set": RewriteRuleSet([_rule()]),
        "adapter": RewriteRules([_rule()]),
    }
    report = Pipeline.of(forms[form]).run(program)
    assert [node.op_type for node in program.graph if node.op_type in ("Add", "Mul")] == ["Mul"]
    assert report.modified
    assert not Pipeline.of(forms[form]).run(program).modified


def test_a_failing_foreign_pass_leaves_the_program(program: Program) -> None:
    with pytest.raises(PassFailedError) as caught:
        Pipeline.of(IdentityEliminationPass(), Fails()).run(program)
    assert caught.value.pass_number == 2
    assert [node.op_type for node in program.graph].count("Identity") == 2


def test_foreign_passes_see_no_trace_of_what_is_to_be_observed(program: Program) -> None:
    """Requests are no nodes: a pass that removes what has no users leaves them whole."""
    value = program.graph[0].outputs[0].name or ""
    program.requests[Request.of(value)] = None
    Pipeline.of(RemoveUnusedNodesPass()).run(program)
    assert [request.value for request in program.requests] == [value]


def test_what_is_no_pass() -> None:
    with pytest.raises(PipelineError, match="str is no pass"):
        as_pass("canonicalize")
    assert isinstance(as_pass(Liar()), OnnxIrPass)
    assert str(Pipeline.of(Liar())) == "<onnx-ir Liar>"
