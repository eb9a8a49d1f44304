"""A Concat whose one scale would drown an operand stays float; others are quantized as asked."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.ir.plan import FLOAT

N = helper.make_node
TAILS = {
    "output": [N("Concat", ["boxes", "scores"], ["y"], "join", axis=1)],
    "moved output": [
        N("Concat", ["boxes", "scores"], ["c"], "join", axis=1),
        N("Reshape", ["c", "flat"], ["r"]),
        N("Transpose", ["r"], ["y"], perm=[0, 2, 1]),
    ],
    "parted": [
        N("Concat", ["boxes", "scores"], ["c"], "join", axis=1),
        N("Slice", ["c", "four", "six", "one"], ["s"]),
        N("Conv", ["s", "last"], ["y"], "after"),
    ],
    "computed": [
        N("Concat", ["boxes", "scores"], ["c"], "join", axis=1),
        N("Conv", ["c", "wide"], ["y"], "after"),
    ],
    "computed and output": [
        N("Concat", ["boxes", "scores"], ["y"], "join", axis=1),
        N("Conv", ["y", "wide"], ["z"], "after"),
    ],
}
DROWNING = ("output", "moved output", "parted", "computed and output")


def detector(tail: str, size: float) -> onnx.ModelProto:
    """Boxes up to about `size` beside scores in 0..1, of one convolution each."""
    rng = np.random.default_rng(0)
    stored = {
        "wb": rng.normal(size=(4, 8, 1, 1)) * size / 8,
        "ws": rng.normal(size=(2, 8, 1, 1)),
        "last": rng.normal(size=(2, 2, 1, 1)),
        "wide": rng.normal(size=(2, 6, 1, 1)),
        "stem": rng.normal(size=(8, 3, 3, 3)),
    }
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in stored.items()]
    numbers = {"flat": [1, 6, 64], "four": [4], "six": [6], "one": [1]}
    constants += [numpy_helper.from_array(np.asarray(v), k) for k, v in numbers.items()]
    nodes = [
        N("Conv", ["x", "stem"], ["h"], "stem", pads=[1, 1, 1, 1]),
        N("Relu", ["h"], ["f"]),
        N("Conv", ["f", "wb"], ["boxes"], "boxes"),
        N("Conv", ["f", "ws"], ["logits"], "logits"),
        N("Sigmoid", ["logits"], ["scores"], "score"),
        *TAILS[tail],
    ]
    shown = ("y", "z") if tail == "computed and output" else ("y",)
    outputs = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in shown]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def images() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]


def joined_as(tail: str, size: float, **overrides: str) -> str:
    made = qc.compile(
        detector(tail, size),
        calibration=images(),
        scheme="int8",
        recipe="fast",
        overrides=overrides,
    )
    return made.plan.precision("join")


@pytest.mark.parametrize("tail", TAILS)
def test_a_concat_of_boxes_and_scores_stays_float_unless_integers_are_computed_with(
    tail: str,
) -> None:
    assert (joined_as(tail, 300.0) == FLOAT) == (tail in DROWNING)


@pytest.mark.parametrize("tail", DROWNING)
def test_operands_of_like_size_are_joined_in_integers(tail: str) -> None:
    assert joined_as(tail, 0.3) == "int8"


def test_an_override_is_stronger() -> None:
    assert joined_as("output", 300.0, join="int8") == "int8"


@pytest.mark.parametrize(
    "target", ["onnxruntime", *(name for name in ("openvino",) if find_spec(name))]
)
def test_scores_beside_boxes_keep_their_signal(target: str) -> None:
    """In steps of 1/255 they lose 1 % at most, in those of the boxes everything."""
    model, feeds = detector("output", 300.0), images()
    made = qc.compile(model, target, feeds, scheme="int8", recipe="fast")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = np.stack([session.run(None, each)[0] for each in feeds])[:, 0, 4:]
    found = np.stack([np.asarray(made(each)[0]) for each in feeds]).reshape(4, 6, 8, 8)[:, 4:]
    lost = np.square(found - wanted).sum() / np.square(wanted).sum()
    assert lost < 0.01
