"""Fused operators on integers: channels last, QAttention, QEmbedLayerNormalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from qcompiler.frontends import load
from qcompiler.ir.walk import all_nodes
from tests.frontends.conftest import Same
from tests.frontends.contrib.test_expand import IDS, MASK, floats, model_of, whole

SCALE, ZERO = np.float32(0.05), np.uint8(120)
DATA = {"X": whole(256, 2, 6, 7, 3, kind=np.uint8), "Wxs": np.array(SCALE), "Wxz": np.array(ZERO)}
RESULT = {"Wys": np.array(np.float32(0.07)), "Wyz": np.array(np.uint8(99))}
WEIGHT = {
    "Ww": whole(99, 4, 3, 3, 3, kind=np.int8), "Wws": np.full(4, 0.02, np.float32),
    "Wwz": np.zeros(4, np.int8),
}  # fmt: skip
POOL = {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [0, 1, 0, 1]}
LAST: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("QLinearConv", DATA | WEIGHT | RESULT, {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
    ("QLinearConv", DATA | WEIGHT | RESULT | {"Wb": whole(99, 4)}, {}),
    ("QLinearAveragePool", DATA | RESULT, POOL),
    ("QLinearGlobalAveragePool", DATA | RESULT, {}),
]


@pytest.mark.parametrize("index", range(len(LAST)))
@pytest.mark.parametrize("known", [True, False])
def test_channels_last(index: int, known: bool, assert_same: Same) -> None:
    """Whether a rank is known or follows from the weight behind an operator that hides it."""
    op, feed, attributes = LAST[index]
    model = model_of(op, feed, ["Y"], "com.microsoft", channels_last=1, **attributes)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    if not known:  # x + 0 on the same grid
        zero = onnx.numpy_helper.from_array(np.array(ZERO), "zero")
        inner = ["X", "Wxs", "Wxz", "zero", "Wxs", "Wxz", "Wxs", "Wxz"]
        node = onnx.helper.make_node("QLinearAdd", inner, ["inner"], domain="com.microsoft")
        model.graph.initializer.append(zero)
        model.graph.node[0].input[0] = "inner"
        model.graph.node.insert(0, node)
    program = load(model)
    assert not any("channels_last" in node.attributes for node in all_nodes(program.model))
    assert_same(model, program, {"X": feed["X"]})


@pytest.mark.parametrize("columns", [1, 24])
@pytest.mark.parametrize("masked", [False, True])
def test_quantized_attention(columns: int, masked: bool, assert_same: Same) -> None:
    """Its product is summed in integers, so only the rounding of a float sum differs."""
    feed = {
        "X": whole(256, 2, 5, 8, kind=np.uint8), "Ww": whole(256, 8, 24, kind=np.uint8),
        "Wb": floats(24), "Wxs": np.array(SCALE), "Wws": np.full(columns, 0.01, np.float32),
        "mask": MASK if masked else None, "Wxz": np.array(ZERO),
        "Wwz": np.full(columns, 128, np.uint8),
    }  # fmt: skip
    if columns == 1:
        feed |= {"Wws": np.array(np.float32(0.01)), "Wwz": np.array(np.uint8(128))}
    model = model_of("QAttention", feed, ["Y"], "com.microsoft", num_heads=2)
    program = load(model)
    assert all(not node.domain for node in all_nodes(program.model))
    fed = {name: a for name, a in feed.items() if a is not None and name[0] != "W"}
    assert_same(model, program, fed)


def test_quantized_embeddings(assert_same: Same) -> None:
    tables = {
        name: whole(256, *IDS[name].shape, kind=np.uint8)
        for name in ("Wwords", "Wpositions", "Wsegments", "Wg", "Wb")
    }
    scales = {f"Ws{i}": np.array(np.float32(0.01 * (i + 1))) for i in range(5)}
    zeros = {f"Wz{i}": np.array(np.uint8(100 + i)) for i in range(5)}
    feed = IDS | tables | {"mask": None} | scales | zeros
    model = model_of("QEmbedLayerNormalization", feed, ["Y", "count"], "com.microsoft")
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT32
    program = load(model)
    assert all(not node.domain for node in all_nodes(program.model))
    assert_same(model, program, {"ids": IDS["ids"], "segments": IDS["segments"]})
