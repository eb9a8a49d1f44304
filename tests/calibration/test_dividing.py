"""Kept feeds divided: nothing is judged on what corrections are fitted to."""

from __future__ import annotations

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.calibration.dividing import divided
from qcompiler.calibration.keeper import Keeper
from qcompiler.ir.text import from_text
from qcompiler.measurement.judge import Judge
from qcompiler.passes.accuracy.gptq import Gptq
from qcompiler.pipeline.contract import PassContext

TEXT = "g (float[2,64] x) => (float[2,8] y) <float[64,8] w> { y = MatMul(x, w) }"


def _feeds(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((2, 64)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize(
    ("kept", "least", "fitting", "judged", "fitted"),
    [
        (40, 8, 0, 8, 8),
        (40, 8, 24, 8, 24),
        (40, 8, 99, 8, 32),
        (40, 32, 99, 20, 20),
        (9, 4, 99, 4, 5),
        (7, 4, 99, 4, 4),
    ],
)
def test_what_does_not_judge_may_be_fitted_to(
    kept: int, least: int, fitting: int, judged: int, fitted: int
) -> None:
    program = from_text(TEXT)
    keeper = Keeper(program.signature, _feeds(kept), kept)
    list(keeper)
    judging, others = divided(keeper, program, least, fitting)
    assert (len(judging), len(others)) == (judged, fitted)
    shared = {id(each) for each in judging} & {id(each) for each in others}
    assert len(shared) == (judged if kept < 8 else 0)


def test_weights_are_not_fitted_to_what_judges_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme that needs no ranges divides its feeds as well."""
    seen: dict[str, set[bytes]] = {}
    apply, start = Gptq.apply, Judge.__init__

    def noted(self: Gptq, program: qc.Program, rewriter: object, context: PassContext) -> object:
        seen["fitted"] = {each["x"].tobytes() for each in context.samples}
        return apply(self, program, rewriter, context)  # type: ignore[arg-type]

    def judging(self: Judge, feeds: list[dict[str, np.ndarray]], *given: object) -> None:
        seen["judged"] = {each["x"].tobytes() for each in feeds}
        start(self, feeds, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Gptq, "apply", noted)
    monkeypatch.setattr(Judge, "__init__", judging)
    qc.compile(
        from_text(TEXT),
        calibration=_feeds(32),
        scheme="int4-weights",
        recipe="fast",
        variants=["gptq"],
    )
    assert seen["fitted"]
    assert not seen["fitted"] & seen["judged"]
