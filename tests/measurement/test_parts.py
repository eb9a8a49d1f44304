"""Origins of output elements against what the graph says by its construction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.frontends import load
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.slices import OutputSlices

Node = onnx.NodeProto
N = helper.make_node
FEED = {
    "big": np.linspace(100, 600, 80, dtype=np.float32).reshape(2, 4, 10),
    "small": np.linspace(0.1, 1, 100, dtype=np.float32).reshape(2, 5, 10),
}


@pytest.fixture
def sliced() -> Callable[..., OutputSlices]:
    """Slices of the output `y` of a graph over `big` and `small`."""

    def build(
        nodes: list[Node], y: np.ndarray, kind: int = TensorProto.FLOAT, **stored: np.ndarray
    ) -> OutputSlices:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, each.shape)
            for name, each in FEED.items()
        ]
        output = helper.make_tensor_value_info("y", kind, None)
        constants = [numpy_helper.from_array(each, name) for name, each in stored.items()]
        graph = helper.make_graph(nodes, "g", inputs, [output], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return Slicer(load(model))([FEED], [[y]])[0]

    return build


BIG, SMALL = FEED["big"], FEED["small"]
JOINED = np.concatenate([BIG, SMALL], 1)


def groups_of(found: OutputSlices) -> np.ndarray:
    assert found.labels == (False, False)
    groups = found.groups[0]
    assert groups is not None
    return groups


@pytest.mark.parametrize("axis", [1, -2])
def test_parts_of_a_concat(sliced: Callable[..., OutputSlices], axis: int) -> None:
    groups = groups_of(sliced([N("Concat", ["big", "small"], ["y"], axis=axis)], JOINED))
    np.testing.assert_array_equal(groups[:, :4], 1)
    np.testing.assert_array_equal(groups[:, 4:], 0)


def test_parts_behind_activations_and_movers(sliced: Callable[..., OutputSlices]) -> None:
    nodes = [
        N("Sigmoid", ["small"], ["scores"]),
        N("Concat", ["big", "scores"], ["joined"], axis=1),
        N("Transpose", ["joined"], ["turned"], perm=[0, 2, 1]),
        N("Reshape", ["turned", "shape"], ["y"]),
    ]
    y = JOINED.transpose(0, 2, 1).reshape(2, 3, 30)
    found = sliced(nodes, y, shape=np.asarray([2, 3, -1]))
    np.testing.assert_array_equal(groups_of(found), y < 50)
    assert found.scores == (1,)


def test_a_constant_that_scales_channels_makes_parts(sliced: Callable[..., OutputSlices]) -> None:
    scale = np.asarray([640, 640, 1, 1], np.float32).reshape(1, 4, 1)
    groups = groups_of(sliced([N("Mul", ["big", "scale"], ["y"])], BIG * scale, scale=scale))
    np.testing.assert_array_equal(groups, np.broadcast_to(scale > 1, BIG.shape))


def test_elements_written_into_a_tensor_are_a_part(sliced: Callable[..., OutputSlices]) -> None:
    y = BIG.copy()
    y[0] = 0.5
    row = np.full((1, 4, 10), 0.5, np.float32)
    nodes = [N("ScatterND", ["big", "where", "row"], ["y"])]
    groups = groups_of(sliced(nodes, y, where=np.asarray([[0]]), row=row))
    np.testing.assert_array_equal(groups, y > 50)


def test_parts_of_one_size_stay_together(sliced: Callable[..., OutputSlices]) -> None:
    found = sliced([N("Concat", ["big", "big"], ["y"], axis=1)], np.concatenate([BIG, BIG], 1))
    assert found.groups == (None,)


LABELS = {
    "ArgMax": ([N("ArgMax", ["big"], ["y"], axis=1)], TensorProto.INT64),
    "ArgMax without the axis": ([N("ArgMax", ["big"], ["y"], axis=1, keepdims=0)], 7),
    "ArgMax as float": ([N("ArgMax", ["big"], ["a"]), N("Cast", ["a"], ["y"], to=1)], 1),
    "mask": ([N("Greater", ["big", "k"], ["y"])], TensorProto.BOOL),
    "mask as float": ([N("Greater", ["big", "k"], ["m"]), N("Cast", ["m"], ["y"], to=1)], 1),
    "indices": ([N("TopK", ["big", "n"], ["v", "y"], axis=2)], TensorProto.INT64),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_any_type(sliced: Callable[..., OutputSlices], case: str) -> None:
    nodes, kind = LABELS[case]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    found = sliced(nodes, np.ones((2, 4), dtype), kind, k=np.float32(3), n=np.asarray([2]))
    assert found.labels == (True,)


@pytest.mark.parametrize("op", ["Cast", "Round then Cast", "QuantizeLinear"])
def test_numbers_in_integers(sliced: Callable[..., OutputSlices], op: str) -> None:
    nodes = {
        "Cast": [N("Cast", ["big"], ["y"], to=2)],
        "Round then Cast": [N("Round", ["big"], ["r"]), N("Cast", ["r"], ["y"], to=2)],
        "QuantizeLinear": [N("QuantizeLinear", ["big", "k"], ["y"])],
    }[op]
    found = sliced(nodes, BIG.astype(np.uint8), TensorProto.UINT8, k=np.float32(3))
    assert found.labels == (False,)


@pytest.mark.parametrize("function", ["Cos", "Sigmoid", "Sqrt"])
def test_functions_of_positions_are_numbers(
    sliced: Callable[..., OutputSlices], function: str
) -> None:
    """Rotary positions: integers times rates of many decades, whose cosine scales keys."""
    rates = 10.0 ** -np.arange(10, dtype=np.float32)
    nodes = [
        N("Shape", ["small"], ["dims"]),
        N("Cast", ["dims"], ["positions"], to=TensorProto.FLOAT),
        N("Unsqueeze", ["positions", "last"], ["column"]),
        N("Mul", ["column", "rates"], ["angles"]),
        N(function, ["angles"], ["turned"]),
        N("Slice", ["small", "zero", "three", "one"], ["some"]),
        N("Mul", ["some", "turned"], ["keys"]),
        N("Concat", ["some", "keys"], ["y"], axis=0),
    ]
    stored = {"last": [1], "zero": [0], "three": [3], "one": [1]}
    constants = {name: np.asarray(each, np.int64) for name, each in stored.items()}
    some = SMALL[:, :3]
    found = sliced(nodes, np.concatenate([some, some]), rates=rates, **constants)
    assert not any(found.labels)


def test_whole_numbers_stay_labels(sliced: Callable[..., OutputSlices]) -> None:
    """The control: class indices as floats, clipped, are compared for equality."""
    nodes = [
        N("ArgMax", ["small"], ["best"], axis=2, keepdims=1),
        N("Cast", ["best"], ["floats"], to=TensorProto.FLOAT),
        N("Abs", ["floats"], ["classes"]),
        N("Concat", ["small", "classes"], ["y"], axis=2),
    ]
    y = np.concatenate([SMALL, np.full((2, 5, 1), 9, np.float32)], 2)
    assert sliced(nodes, y).labels == (False, True)
