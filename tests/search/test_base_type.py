"""A target that computes float values in a coarser type: what that loses and gains is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.artifact import OrtArtifact
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import LossError
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.text import from_text
from qcompiler.target.contract import Target

NET = """net (float[N,8] x) => (float[N,4] y) <float[8,8] w, float[8,4] m> {
    [first] a = MatMul(x, w)
    r = Relu(a)
    [second] y = MatMul(r, m)
}"""
Clock = Callable[..., None]
Array = npt.NDArray[Any]


class _Cut(OrtArtifact):
    """Gives out the leading bits of every number."""

    kept = 16

    def run(self, feed: Feed) -> list[Array]:
        mask = np.uint32(0xFFFFFFFF << (32 - self.kept) & 0xFFFFFFFF)
        return [(each.view(np.uint32) & mask).view(np.float32) for each in super().run(feed)]


@dataclass(frozen=True)
class _Coarse(OnnxRuntime):
    """ONNX Runtime, as an engine of coarse numbers."""

    @property
    def yardstick(self) -> Target:
        return OnnxRuntime(self.threads)

    @property
    def floats(self) -> tuple[ir.DataType, ...]:
        return (ir.DataType.BFLOAT16,)

    def lower(self, program: Program) -> OrtArtifact:
        plain = super().lower(program)
        plain.__class__ = _Cut
        return plain


@pytest.fixture
def net() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((8, 8)), "m": rng.standard_normal((8, 4))}
    texts = {name: each.astype(np.float32) for name, each in weights.items()}
    return ir.to_proto(from_text(NET, texts).model)


@pytest.fixture
def feeds() -> list[Feed]:
    return [{"x": np.random.default_rng(i).standard_normal((4, 8), np.float32)} for i in range(8)]


def _compiled(net: onnx.ModelProto, feeds: list[Feed], **options: Any) -> qc.Compiled:
    return qc.compile(net, _Coarse(1), feeds, **({"recipe": "fast"} | options))


def test_the_type_alone_is_a_result_whose_loss_is_told(
    net: onnx.ModelProto, feeds: list[Feed], clock: Clock
) -> None:
    clock(2.0, rewritten=0.5)
    found = _compiled(net, feeds)
    assert set(found.plan.precisions.values()) == {FLOAT}
    assert "0 of 2 regions quantized, the rest in bfloat16: 2.00x" in found.report.summary
    (output,) = found.report.outputs
    # 8 bits of mantissa, cut off: an error of up to 2^-8 of a number, a third of it on average.
    assert output.kept is not None
    assert 1e-6 < output.kept < 2.0**-15


def test_it_has_to_gain_as_integers_have(
    net: onnx.ModelProto, feeds: list[Feed], clock: Clock
) -> None:
    clock(2.0, rewritten=0.995)
    found = _compiled(net, feeds)
    assert found.report.summary.startswith("float is returned")
    exact = qc.compile(net, OnnxRuntime(1), feeds, recipe="fast")
    np.testing.assert_array_equal(found.run(feeds[0])[0], exact.run(feeds[0])[0])


def test_integers_are_judged_with_it(net: onnx.ModelProto, feeds: list[Feed], clock: Clock) -> None:
    clock(0.9, candidate=0.4)
    found = _compiled(net, feeds)
    assert "2 of 2 regions quantized, the rest in bfloat16" in found.report.summary


def test_a_type_that_loses_too_much_ends_the_search(
    net: onnx.ModelProto, feeds: list[Feed], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sign, exponent and no mantissa: a third of every number is lost, whatever else is done."""
    monkeypatch.setattr(_Cut, "kept", 9)
    clock(0.1)
    found = _compiled(net, feeds)
    assert found.report.summary.startswith("float is returned")
    assert "lose more than is allowed" in "\n".join(found.log)
    assert "every region" not in "\n".join(found.log)


def test_a_plan_of_float_is_held_to_max_loss(
    net: onnx.ModelProto, feeds: list[Feed], clock: Clock
) -> None:
    clock(0.9)
    with pytest.raises(LossError, match="max_loss"):
        _compiled(net, feeds, scheme="float32", max_loss=1e-9)
    assert _compiled(net, feeds, scheme="float32", max_loss=1e-3).run(feeds[0])


def test_the_users_score_decides(net: onnx.ModelProto, feeds: list[Feed], clock: Clock) -> None:
    clock(2.0, rewritten=0.5)
    wanted = [each.copy() for each in qc.compile(net, scheme="float32").run(feeds[0])]

    def equal(run: Callable[[Feed], list[Array]]) -> float:
        return float(np.allclose(run(feeds[0])[0], wanted[0], rtol=1e-5, atol=1e-5))

    found = _compiled(net, feeds, evaluate=equal)
    assert found.report.summary.startswith("float is returned")
