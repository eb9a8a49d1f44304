"""What variants are compared by: classes in logits, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import scipy.special

from qcompiler.ir.signature import Feed
from qcompiler.measurement.judge import Judge, Run
from qcompiler.measurement.loss import Outputs
from qcompiler.measurement.slices import OutputSlices
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale
from qcompiler.outputs.tolerance import Tolerance
from qcompiler.outputs.tolerances import tolerances_of

Array = np.ndarray
CERTAIN = OutputKind(Purpose.CLASSES, "made so", Scale.PROBABILITIES)
VALUES = OutputKind(Purpose.VALUES, "made so")


def judge_of(kind: OutputKind, outputs: list[Array]) -> Judge:
    tolerating = partial(tolerances_of, ["y"], [kind], [None])
    feeds = [{"x": each} for each in outputs]
    return Judge(
        feeds,
        lambda feed: [feed["x"]],
        tolerating=lambda reference, slices: tolerating(reference, [(False,)]),
    )


def softmax(rows: Array) -> Array:
    return np.asarray(scipy.special.softmax(rows, axis=1))


def test_classes_are_compared_by_their_logits() -> None:
    """Seven sure rows get noisier and the one unsure row luckier: probabilities see that one."""
    rng = np.random.default_rng(0)
    winners = np.array([0.2, *(6.0,) * 7])
    logits = [np.array([[0.0, margin, -3.0]]) for margin in winners]
    outputs = [softmax(each) for each in logits]
    judge = judge_of(CERTAIN, outputs)
    noise = rng.standard_normal((8, 1, 3))
    known = {id(feed["x"]): i for i, feed in enumerate(judge.feeds)}

    def candidate(scales: Array) -> Run:
        def run(feed: dict[str, Array]) -> list[Array]:
            i = known[id(feed["x"])]
            return [softmax(logits[i] + scales[i] * noise[i])]

        return run

    plain = judge.judged(candidate(np.full(8, 0.2)))
    lucky = judge.judged(candidate(np.array([0.02, *(0.6,) * 7])))
    assert lucky.loss < plain.loss  # by probabilities it looks better
    assert lucky.compared.loss > plain.compared.loss
    ratios = np.array(lucky.compared.each) / np.array(plain.compared.each)
    centred = np.array([0.1, *(3.0,) * 7]) ** 2
    np.testing.assert_allclose(ratios, centred, rtol=1e-3)


def test_values_are_compared_by_their_noise() -> None:
    rng = np.random.default_rng(0)
    outputs = [rng.standard_normal((1, 4)) for _ in range(4)]
    found = judge_of(VALUES, outputs).judged(lambda feed: [feed["x"] * 1.1])
    np.testing.assert_allclose([found.compared.loss, *found.compared.each], 0.01, rtol=1e-6)
    assert found.compared.loss == found.loss


@pytest.mark.parametrize(("sliced", "asked"), [(False, [4, 12]), (True, [4, 4, 12])])
def test_tolerances_are_found_again_only_where_slices_changed(
    sliced: bool, asked: list[int]
) -> None:
    """Further samples may show other parts of an output; as a rule they do not."""
    rng = np.random.default_rng(0)
    feeds = [{"x": softmax(rng.standard_normal((4, 12)))} for _ in range(12)]
    seen: list[int] = []

    def slicing(samples: Sequence[Feed], reference: Sequence[Outputs]) -> list[OutputSlices]:
        parts = np.zeros((4, 12), np.int16)
        parts[:, 6:] = sliced and len(samples) > 4
        return [OutputSlices((False, False), (parts.copy(),) * len(samples))]

    def tolerating(reference: Sequence[Outputs], slices: Sequence[OutputSlices]) -> list[Tolerance]:
        seen.append(len(reference))
        return tolerances_of(["y"], [CERTAIN], [None], reference, [(False,)])

    Judge(feeds[:4], lambda feed: [feed["x"]], slicing, tolerating, feeds[4:])
    assert seen == asked
