"""What outputs are for, against small graphs whose heads are known by construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import scipy.special
from onnx import TensorProto, helper, numpy_helper

from qcompiler.frontends import load
from qcompiler.outputs.analysis import output_kinds
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale

N = helper.make_node
RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((4, 12)) * 4


def kind_of(
    nodes: list[onnx.NodeProto],
    samples: list[np.ndarray],
    output: str = "y",
    **stored: np.ndarray,
) -> OutputKind:
    """The kind of `output`, which gives `samples`, in a graph over x [4, 8] and z [4, 3, 8]."""
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, [4, 3, 8]),
    ]
    kind = helper.np_dtype_to_tensor_dtype(samples[0].dtype)
    outputs = [helper.make_tensor_value_info(output, kind, None)]
    constants = [numpy_helper.from_array(each, name) for name, each in stored.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return output_kinds(load(model), [[each] for each in samples])[0]


def f32(array: Any) -> np.ndarray:
    return np.asarray(array, np.float32)


W = f32(RNG.standard_normal((8, 12)))
LINEAR = N("MatMul", ["x", "w"], ["l"])
PROBABILITIES = f32(scipy.special.softmax(LOGITS, 1))


@pytest.mark.parametrize(
    "nodes",
    [
        [N("Softmax", ["l"], ["y"], axis=-1)],
        [
            N("Exp", ["l"], ["e"]),
            N("ReduceSum", ["e", "axes"], ["s"], keepdims=1),
            N("Div", ["e", "s"], ["y"]),
        ],
        [
            N("Exp", ["l"], ["e"]),
            N("ReduceSum", ["e", "axes"], ["s"], keepdims=0),
            N("Unsqueeze", ["s", "axes"], ["u"]),
            N("Div", ["e", "u"], ["y"]),
        ],
    ],
    ids=["one op", "taken apart", "taken apart, reshaped"],
)
def test_a_softmax_is_found_however_it_is_written(nodes: list[onnx.NodeProto]) -> None:
    found = kind_of([LINEAR, *nodes], [PROBABILITIES], w=W, axes=np.asarray([1]))
    assert (found.purpose, found.scale, found.axis) == (Purpose.CLASSES, Scale.PROBABILITIES, -1)
    assert "Softmax" in found.reason


def test_the_class_axis_is_where_the_sums_are_one() -> None:
    nodes = [
        LINEAR,
        N("Softmax", ["l"], ["p"], axis=-1),
        N("Transpose", ["p"], ["t"], perm=[1, 0]),
        N("Unsqueeze", ["t", "axes"], ["y"]),
    ]
    found = kind_of(nodes, [PROBABILITIES.T[:, None]], w=W, axes=np.asarray([1]))
    assert (found.purpose, found.axis) == (Purpose.CLASSES, -3)


def test_log_softmax() -> None:
    samples = [f32(scipy.special.log_softmax(LOGITS, 1))]
    found = kind_of([LINEAR, N("LogSoftmax", ["l"], ["y"])], samples, w=W)
    assert (found.purpose, found.scale) == (Purpose.CLASSES, Scale.LOG_PROBABILITIES)
    apart = [N("Softmax", ["l"], ["p"]), N("Log", ["p"], ["y"])]
    assert kind_of([LINEAR, *apart], samples, w=W).scale is Scale.LOG_PROBABILITIES


def test_attention_weights_are_no_classes() -> None:
    nodes = [
        N("Transpose", ["z"], ["t"], perm=[0, 2, 1]),
        N("MatMul", ["z", "t"], ["q"]),
        N("Mul", ["q", "scale"], ["m"]),
        N("Softmax", ["m"], ["y"], axis=-1),
    ]
    samples = [f32(scipy.special.softmax(RNG.standard_normal((4, 3, 3)), -1))]
    found = kind_of(nodes, samples, scale=f32(0.1))
    assert found.purpose is Purpose.VALUES
    assert "attention" in found.reason


@pytest.mark.parametrize("op", ["Sigmoid", "HardSigmoid"])
def test_scores_of_yes_or_no(op: str) -> None:
    samples = [f32(scipy.special.expit(LOGITS))]
    found = kind_of([LINEAR, N(op, ["l"], ["y"])], samples, w=W)
    assert (found.purpose, found.scale) == (Purpose.YES_NO, Scale.PROBABILITIES)


def test_a_gated_value_is_no_score() -> None:
    nodes = [LINEAR, N("Sigmoid", ["l"], ["s"]), N("Mul", ["l", "s"], ["y"])]
    assert kind_of(nodes, [f32(LOGITS * 3)], w=W).purpose is Purpose.VALUES


def test_one_class_of_a_softmax_is_a_score() -> None:
    nodes = [
        LINEAR,
        N("Softmax", ["l"], ["p"], axis=-1),
        N("Gather", ["p", "one"], ["y"], axis=1),
    ]
    found = kind_of(nodes, [PROBABILITIES[:, 1]], w=W, one=np.asarray(1))
    assert found.purpose is Purpose.YES_NO


def test_indices_are_labels() -> None:
    nodes = [LINEAR, N("ArgMax", ["l"], ["y"], axis=1)]
    found = kind_of(nodes, [LOGITS.argmax(1)[:, None]], w=W)
    assert found.purpose is Purpose.LABELS
    assert "ArgMax" in found.reason


@pytest.mark.parametrize("guard", [[], [N("Clip", ["n", "least"], ["c"])]], ids=["bare", "clipped"])
def test_normalised_rows_are_an_embedding(guard: list[onnx.NodeProto]) -> None:
    nodes = [
        LINEAR,
        N("ReduceL2", ["l"], ["n"], axes=[1], keepdims=1),
        *guard,
        N("Div", ["l", "c" if guard else "n"], ["y"]),
    ]
    unit = f32(LOGITS / np.linalg.norm(LOGITS, axis=1, keepdims=True))
    found = kind_of(nodes, [unit], w=W, least=f32(1e-12))
    assert found.purpose is Purpose.EMBEDDING
    assert "length" in found.reason


def test_pooled_features_are_an_embedding() -> None:
    nodes = [N("ReduceMean", ["z"], ["y"], axes=[1], keepdims=0)]
    found = kind_of(nodes, [f32(RNG.standard_normal((4, 8)))])
    assert found.purpose is Purpose.EMBEDDING


def test_states_of_recurrent_layers() -> None:
    nodes = [
        N("Transpose", ["z"], ["t"], perm=[1, 0, 2]),
        N("GRU", ["t", "gw", "gr"], ["", "y"], hidden_size=2),
    ]
    gw, gr = f32(np.ones((1, 6, 8))), f32(np.ones((1, 6, 2)))
    found = kind_of(nodes, [f32(np.ones((1, 4, 2)))], gw=gw, gr=gr)
    assert found.purpose is Purpose.STATE


CONFIDENT = f32(10 * np.eye(12)[RNG.permutation(12)])


def test_a_linear_layer_is_classes_if_its_numbers_behave_so() -> None:
    found = kind_of([N("MatMul", ["x", "w"], ["y"])], [CONFIDENT], w=W)
    assert (found.purpose, found.scale) == (Purpose.CLASSES, Scale.LOGITS)
    assert "behaves" in found.reason


@pytest.mark.parametrize(
    ("what", "samples"),
    [
        ("flat", f32(RNG.standard_normal((12, 12)) * 0.1)),
        ("always the same winner", f32(10 * np.eye(12)[[3] * 12])),
        ("four numbers: a box", CONFIDENT[:, :4]),
    ],
)
def test_other_linear_layers_are_values(what: str, samples: np.ndarray) -> None:
    weight = W[:, : samples.shape[1]]
    found = kind_of([N("MatMul", ["x", "w"], ["y"])], [samples], w=weight)
    assert found.purpose is Purpose.VALUES, what


def test_a_sibling_that_picks_makes_classes_of_any_linear_layer() -> None:
    nodes = [N("MatMul", ["x", "w"], ["y"]), N("ArgMax", ["y"], ["picked"], axis=1)]
    found = kind_of(nodes, [f32(RNG.standard_normal((4, 12)) * 0.1)], w=W)
    assert found.purpose is Purpose.CLASSES
    assert "ArgMax" in found.reason


def test_a_name_makes_classes_of_a_linear_layer() -> None:
    samples = [f32(RNG.standard_normal((4, 12)) * 0.1)]
    found = kind_of([N("MatMul", ["x", "w"], ["logits"])], samples, "logits", w=W)
    assert found.purpose is Purpose.CLASSES


def test_parts_of_one_kind_are_of_that_kind_and_others_values() -> None:
    nodes = [LINEAR, N("Sigmoid", ["l"], ["s"]), N("Sigmoid", ["x"], ["t"])]
    samples = [f32(scipy.special.expit(RNG.standard_normal((4, 20))))]
    joined = [*nodes, N("Concat", ["s", "t"], ["y"], axis=1)]
    assert kind_of(joined, samples, w=W).purpose is Purpose.YES_NO
    mixed = [*nodes, N("Concat", ["s", "x"], ["y"], axis=1)]
    assert kind_of(mixed, samples, w=W).purpose is Purpose.VALUES


def test_without_samples_nothing_is_known() -> None:
    program = load(
        helper.make_model(
            helper.make_graph(
                [N("Relu", ["x"], ["y"])],
                "g",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
            ),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
    )
    assert [each.purpose for each in output_kinds(program, [])] == [Purpose.VALUES]
