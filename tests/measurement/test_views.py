"""Scores of detectors are one thing wherever they are, and samples with detections tell of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qcompiler.decisions.schemes import SCHEMES
from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.slices import OutputSlices
from qcompiler.measurement.views import informative
from qcompiler.outputs.asked import DEFAULT_NSR
from qcompiler.search.goal import Goal

Array = np.ndarray
N = helper.make_node
BOXES, LOGITS = (1, 4, 84), (1, 3, 84)


def program(
    nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Sequence[int]], *outputs: str
) -> Program:
    given = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()]
    made = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs]
    graph = helper.make_graph(nodes, "g", given, made)
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def judge_of(source: Program, samples: list[list[Array]], loss: str | None = None) -> Judge:
    feeds = [{"number": np.asarray(i)} for i in range(len(samples))]
    goal = Goal(SCHEMES["auto"], loss=loss)

    def slicing(feeds: object, reference: Sequence[Sequence[Array]]) -> list[OutputSlices]:
        given = [{"boxes": np.zeros(BOXES, np.float32), "logits": np.zeros(LOGITS, np.float32)}]
        return Slicer(source)(given * len(samples), reference)

    return Judge(
        feeds,
        lambda feed: samples[int(feed["number"])],
        slicing,
        lambda reference, slices: goal.tolerances(source, reference, slices),
    )


JOINED = [N("Sigmoid", ["logits"], ["s"]), N("Concat", ["boxes", "s"], ["y"], axis=1)]


@pytest.fixture
def logits(rng: np.random.Generator) -> list[Array]:
    """Mostly background; a detection in one sample of four, all of it in the first cells."""
    found = [rng.normal(-9, 1, size=LOGITS).astype(np.float32) for _ in range(8)]
    for each in found[3::4]:
        each[0, 1, :6] = [3, 2.5, 2, 1, -1.5, 0.4]
    return found


@pytest.fixture
def judge(logits: list[Array]) -> Judge:
    source = program(JOINED, {"boxes": BOXES, "logits": LOGITS}, "y")
    boxes = np.linspace(1, 320, 4 * 84, dtype=np.float32).reshape(BOXES)
    return judge_of(source, [[np.concatenate([boxes, sigmoid(each)], 1)] for each in logits])


def test_scores_beside_boxes_are_decisions(judge: Judge) -> None:
    boxes, scores = judge.tolerances
    assert (boxes.output, boxes.loss, boxes.bound) == ("y", "sqnr", DEFAULT_NSR)
    assert (scores.output, scores.loss) == ("y (scores)", "sigmoid")
    assert scores.bound >= DEFAULT_NSR


def test_noise_of_background_does_not_count_and_lost_detections_do(
    judge: Judge, logits: list[Array]
) -> None:
    def losses_without(where: Callable[[Array], Array]) -> list[float]:
        def run(feed: Mapping[str, Array]) -> list[Array]:
            wanted = np.array(judge.reference[int(feed["number"])][0])
            scores = wanted[:, 4:]
            scores[where(scores)] = 0
            return [wanted]

        return judge.losses(run)

    quiet = losses_without(lambda scores: scores < 0.05)
    lost = losses_without(lambda scores: scores > 0.3)
    assert quiet[1] < 0.1 * DEFAULT_NSR
    assert lost[1] > 0.5
    assert quiet[0] == lost[0] == 0  # boxes are as they were


def test_a_loss_that_is_asked_for_is_of_the_whole_output(logits: list[Array]) -> None:
    source = program(JOINED, {"boxes": BOXES, "logits": LOGITS}, "y")
    boxes = np.ones(BOXES, np.float32)
    samples = [[np.concatenate([boxes, sigmoid(each)], 1)] for each in logits]
    assert [each.output for each in judge_of(source, samples, "sqnr").tolerances] == ["y"]


@pytest.mark.parametrize("sizes", [(64, 16, 4), (64, 64), (64, 48)])
def test_scores_of_a_pyramid_are_one_and_others_are_not(
    rng: np.random.Generator, sizes: tuple[int, ...]
) -> None:
    shapes = {f"x{i}": (1, size, 5) for i, size in enumerate(sizes)}
    nodes = [N("Sigmoid", [name], [f"y{name}"]) for name in shapes]
    source = program(nodes, shapes, *(f"y{name}" for name in shapes))
    samples = [[sigmoid(rng.normal(size=each)) for each in shapes.values()] for _ in range(3)]
    kinds = [each.output for each in judge_of(source, samples).tolerances]
    assert kinds == (["yx0, yx1, yx2"] if sizes == (64, 16, 4) else ["yx0", "yx1"])


def test_samples_that_hold_the_signal_are_probed() -> None:
    plain = OutputSlices((False,), (None,) * 6)
    even = [[np.ones(4, np.float32)] for _ in range(6)]
    assert informative([plain], even, 3) == [0, 1, 2]
    rare = [[np.full(4, 1e-3, np.float32)] for _ in range(5)] + [[np.ones(4, np.float32)]]
    assert 5 in informative([plain], rare, 3)
    assert informative([plain.first(2)], rare[:2], 3) == [0, 1]
