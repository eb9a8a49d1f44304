"""Ops newer than the working opset, spelt in older ones, against onnx.reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.reference import ReferenceEvaluator

from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import WORKING_OPSET
from qcompiler.ir.walk import all_nodes

Feed = dict[str, Any]
RNG = np.random.default_rng(3)
_ORACLE = "older ones have no such op, or a reference that does not broadcast what the text does"


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def model_of(op: str, feed: Feed, outputs: list[str], opset: int, **attributes: Any) -> Any:
    names = [name if not name.startswith("_") else "" for name in feed]
    node = make_node(op, names, outputs, **attributes)
    inputs = [
        make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), list(a.shape))
        for name, a in feed.items()
        if a is not None
    ]
    results = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs if name]
    graph = make_graph([node], "g", inputs, results)
    return onnx.shape_inference.infer_shapes(
        make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=10)
    )


def check(op: str, feed: Feed, outputs: list[str], opset: int, **attributes: Any) -> None:
    model = model_of(op, feed, outputs, opset, **attributes)
    fed = {name: array for name, array in feed.items() if array is not None}
    expected = ReferenceEvaluator(model).run(None, fed)
    program = load(model)
    assert all(node.op_type != op for node in all_nodes(program.model))
    assert program.model.opset_imports[""] == WORKING_OPSET
    for have, want in zip(OrtSession(program.model).run(fed), expected, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)


Q, K, V = floats(2, 4, 5, 8), floats(2, 4, 6, 8), floats(2, 4, 6, 8)
GROUPED = {"Q": Q, "K": floats(2, 2, 6, 8), "V": floats(2, 2, 6, 10)}
FLAT = {"Q": floats(2, 5, 32), "K": floats(2, 6, 16), "V": floats(2, 6, 16)}
PAST = {"past_key": floats(2, 4, 3, 8), "past_value": floats(2, 4, 3, 8)}
PLAIN = {"Q": Q, "K": K, "V": V}
ATTENTION: list[tuple[Feed, list[str], dict[str, Any]]] = [
    (PLAIN, ["Y"], {}),
    (PLAIN, ["Y"], {"is_causal": 1, "scale": 0.3, "softcap": 2.0}),
    (PLAIN | {"mask": RNG.random((5, 6)) > 0.3}, ["Y"], {}),
    (PLAIN | {"mask": floats(4, 5, 6)}, ["Y"], {}),
    (PLAIN | {"mask": floats(2, 1, 5, 6)}, ["Y"], {"is_causal": 1}),
    (GROUPED, ["Y"], {"softcap": 1.5}),
    (FLAT, ["Y"], {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1}),
    (PLAIN | {"mask": floats(5, 9)} | PAST, ["Y", "present_key", "present_value"], {}),
    *[(PLAIN, ["Y", "", "", "scores"], {"qk_matmul_output_mode": mode}) for mode in range(4)],
]


@pytest.mark.parametrize("case", range(len(ATTENTION)))
def test_attention(case: int, needs_onnx: Any) -> None:
    needs_onnx("1.19", _ORACLE)
    feed, outputs, attributes = ATTENTION[case]
    check("Attention", feed, outputs, 23, **attributes)


def test_attention_with_padded_keys(needs_onnx: Any) -> None:
    needs_onnx("1.23", _ORACLE)
    lengths = np.array([4, 6], np.int64)
    feed = PLAIN | {"_mask": None, "_key": None, "_value": None, "lengths": lengths}
    check("Attention", feed, ["Y"], 24)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [0, 4])
def test_rotary_embedding(interleaved: int, width: int) -> None:
    half = (width or 8) // 2
    positions = RNG.integers(0, 9, (2, 5))
    feed = {"X": floats(2, 4, 5, 8), "cos": floats(9, half), "sin": floats(9, half)}
    feed |= {"positions": positions.astype(np.int64)}
    check("RotaryEmbedding", feed, ["Y"], 23, interleaved=interleaved, rotary_embedding_dim=width)


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("axis", [-2, 1, 3])
def test_tensor_scatter(mode: str, axis: int, needs_onnx: Any) -> None:
    needs_onnx("1.23", _ORACLE)
    shape = [2, 4, 6, 5]
    sizes = list(shape)
    sizes[axis] = 2
    starts = np.array([1, shape[axis] - (1 if mode == "circular" else 2)], np.int64)
    feed = {"cache": floats(*shape), "update": floats(*sizes), "starts": starts}
    check("TensorScatter", feed, ["Y"], 24, mode=mode, axis=axis)
    check("TensorScatter", {"cache": feed["cache"], "update": feed["update"]}, ["Y"], 24, axis=axis)
