"""A user's pass that changes what the model computes is named before anything is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

import qcompiler as qc
import qcompiler.measurement.pass_check as checked
from qcompiler.errors import PassFailedError
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.pipeline.contract import Outcome
from qcompiler.pipeline.instruments import Timing


@dataclass(frozen=True)
class Drop(qc.Pass):
    """Drops every node of an op that has one input, right or wrong."""

    name: ClassVar[str] = "drop"
    op: str = "Identity"

    def apply(self, program: qc.Program, rewriter: Any, context: Any) -> Outcome:
        for node in list(all_nodes(program.model)):
            if is_op(node, self.op):
                rewriter.replace_uses(node.outputs[0], node.inputs[0])
                rewriter.erase_dead(node)
        return Outcome()


@dataclass(frozen=True)
class Silent(qc.Pass):
    """Forgets its return."""

    name: ClassVar[str] = "silent"

    def apply(self, program: qc.Program, rewriter: Any, context: Any) -> Outcome:
        return None  # type: ignore[return-value]


def _compile(op: str, model: Any, feeds: Any) -> qc.Compiled:
    passes = qc.Pipeline.of(qc.Pipeline.parse("canonicalize"), Drop(op))
    return qc.compile(model, calibration=feeds, pipeline=passes, scheme="float32", recipe="fast")


def test_the_pass_is_blamed(digits_path: Any, digits_feeds: Any) -> None:
    with pytest.raises(PassFailedError, match="'drop' changes what the model computes") as caught:
        _compile("Relu", digits_path, digits_feeds)
    assert (caught.value.pass_name, caught.value.pass_number) == ("drop", 2)
    assert "dB of the source's" in str(caught.value)


def test_one_that_keeps_it_is_not(digits_path: Any, digits_feeds: Any) -> None:
    assert _compile("Identity", digits_path, digits_feeds).plan.choices


def test_it_is_asked_for_passes_of_the_user_only(
    digits_path: Any, digits_feeds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(*_: Any) -> None:
        raise AssertionError("compared")

    monkeypatch.setattr(checked, "_compare", compare)
    qc.compile(digits_path, calibration=digits_feeds, scheme="float32", recipe="fast")


def test_apply_without_a_return_is_an_error_of_ours(digits_path: Any) -> None:
    with pytest.raises(PassFailedError, match="`apply` of pass 'silent' returned NoneType"):
        qc.Pipeline.of(Silent()).run(qc.load(digits_path))


def test_a_pipeline_goes_into_a_pipeline_with_its_instruments(digits_path: Any) -> None:
    timing = Timing()
    inner = qc.Pipeline.parse("canonicalize,dead-code", [timing])
    outer = qc.Pipeline.of(Drop(), inner)
    assert str(outer) == "drop,canonicalize,dead-code"
    outer.run(qc.load(digits_path))
    assert [each.name for each in timing.measurements] == ["drop", "canonicalize", "dead-code"]
