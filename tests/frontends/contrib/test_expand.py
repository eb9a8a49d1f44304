"""ONNX Runtime's own operators spelt in standard ones, against ONNX Runtime running them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.helper import (
    make_empty_tensor_value_info,
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
    np_dtype_to_tensor_dtype,
)

from qcompiler.errors import UnreadableModelError
from qcompiler.frontends import load
from qcompiler.ir.walk import all_nodes
from tests.frontends.conftest import Same
from tests.oracle import unoptimized

Array = npt.NDArray[Any]
Feed = dict[str, Any]
Case = tuple[str, Feed, list[str], dict[str, Any]]
RNG = np.random.default_rng(9)
WINDOW = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(top: int, *shape: int, kind: Any = np.int32) -> Array:
    return RNG.integers(0, top, shape).astype(kind)


def model_of(op: str, feed: Feed, outputs: list[str], domain: str, **attributes: Any) -> Any:
    """One node; operands whose names begin with W are constants, None is an operand left out."""
    names = [name if array is not None else "" for name, array in feed.items()]
    node = make_node(op, names, outputs, domain=domain, **attributes)
    present = {name: array for name, array in feed.items() if array is not None}
    inputs = [
        make_tensor_value_info(name, np_dtype_to_tensor_dtype(a.dtype), list(a.shape))
        for name, a in present.items()
        if name[0] != "W"
    ]
    weights = [onnx.numpy_helper.from_array(a, n) for n, a in present.items() if n[0] == "W"]
    results = [make_empty_tensor_value_info(name) for name in outputs if name]
    for each in results:
        each.type.tensor_type.elem_type = TensorProto.FLOAT
    graph = make_graph([node], "g", inputs, results, weights)
    opsets = [make_opsetid("", 17), make_opsetid("com.microsoft", 1)]
    return make_model(graph, opset_imports=opsets, ir_version=10)


X, W, B, Z = floats(2, 3, 6, 6), floats(4, 3, 3, 3), floats(4), floats(2, 4, 6, 6)
CONV: Feed = {"X": X, "W": W}
HIDDEN: Feed = {"x": floats(2, 5, 8), "skip": floats(2, 5, 8), "W": floats(8)}
CASES: list[Case] = [
    ("FusedConv", CONV, ["Y"], {"activation": "Relu", **WINDOW}),
    ("FusedConv", CONV | {"Wb": B}, ["Y"], {"activation": "Tanh", **WINDOW, "strides": [2, 1]}),
    ("FusedConv", CONV | {"Wb": B, "Z": Z}, ["Y"], {"activation": "Relu", **WINDOW}),
    ("FusedConv", CONV, ["Y"], {"activation": "HardSwish", **WINDOW}),
    ("FusedConv", CONV | {"Wb": None, "Z": Z}, ["Y"], {"activation": "Sigmoid", **WINDOW}),
    *[
        ("FusedConv", CONV, ["Y"], {"activation": name, "activation_params": list(given), **WINDOW})
        for name, given in {
            "LeakyRelu": (0.3,),
            "Clip": (-0.5, 1.5),
            "HardSigmoid": (0.3, 0.4),
        }.items()
    ],
    ("FusedConv", {"X": floats(1, 4, 9), "W": floats(4, 1, 3)}, ["Y"],
     {"activation": "Relu", "kernel_shape": [3], "group": 4, "dilations": [2]}),
    *[
        ("FusedGemm", {"A": floats(3, 5), "W": floats(5, 4), "Wc": floats(4)}, ["Y"],
         {"activation": name, "alpha": 0.7, "beta": 1.5,
          **{f"activation_{key}": value for key, value in given.items()}})
        for name, given in {
            "Relu": {}, "Tanh": {}, "Sigmoid": {}, "Softplus": {}, "Softsign": {},
            "LeakyRelu": {"alpha": 0.2}, "Elu": {"alpha": 0.6}, "ThresholdedRelu": {"alpha": 0.8},
            "HardSigmoid": {"alpha": 0.3, "beta": 0.6}, "Selu": {"alpha": 1.3, "gamma": 1.1},
        }.items()
    ],
    ("FusedGemm", {"A": floats(5, 3), "W": floats(4, 5)}, ["Y"],
     {"activation": "Relu", "transA": 1, "transB": 1}),
    ("FusedMatMul", {"A": floats(2, 3, 5, 4), "B": floats(2, 3, 4, 6)}, ["Y"], {"alpha": 0.25}),
    ("FusedMatMul", {"A": floats(2, 3, 4, 5), "B": floats(2, 3, 6, 4)}, ["Y"],
     {"transA": 1, "transB": 1}),
    ("FusedMatMul", {"A": floats(3, 4), "W": floats(6, 4)}, ["Y"], {"transB": 1, "alpha": 2.0}),
    ("FusedMatMul", {"A": floats(5, 2, 3, 4), "B": floats(4, 2, 3, 6)}, ["Y"],
     {"transBatchA": 1, "transBatchB": 1}),
    ("FusedMatMul", {"A": floats(4, 2, 3, 5), "B": floats(6, 2, 3, 4)}, ["Y"],
     {"transBatchA": 1, "transA": 1, "transBatchB": 1, "transB": 1}),
    ("TransposeMatMul", {"A": floats(2, 4, 5), "B": floats(2, 4, 6)}, ["Y"], {"transA": 1}),
    ("Gelu", {"X": floats(3, 4)}, ["Y"], {}),
    ("BiasGelu", {"X": floats(2, 3, 4), "W": floats(4)}, ["Y"], {}),
    ("FastGelu", {"X": floats(3, 4)}, ["Y"], {}),
    ("FastGelu", {"X": floats(3, 4), "W": floats(4)}, ["Y"], {}),
    ("QuickGelu", {"X": floats(3, 4)}, ["Y"], {}),
    ("QuickGelu", {"X": floats(3, 4)}, ["Y"], {"alpha": 1.0}),
    ("SkipLayerNormalization", HIDDEN, ["Y"], {}),
    ("SkipLayerNormalization", HIDDEN | {"Wb": floats(8), "Wc": floats(8)}, ["Y", "", "", "sum"],
     {"epsilon": 0.1}),
    ("SkipLayerNormalization", HIDDEN | {"skip": floats(5, 8), "Wb": floats(8)}, ["Y"], {}),
    ("SkipLayerNormalization", HIDDEN | {"skip": floats(1, 5, 8), "Wb": None, "Wc": floats(8)},
     ["Y"], {}),
    ("SkipSimplifiedLayerNormalization", HIDDEN, ["Y", "", "", "sum"], {}),
    ("SkipSimplifiedLayerNormalization", HIDDEN | {"Wc": floats(8)}, ["Y"], {"epsilon": 0.1}),
]  # fmt: skip
IDS: Feed = {
    "ids": whole(9, 2, 5), "segments": whole(2, 2, 5), "Wwords": floats(9, 8),
    "Wpositions": floats(7, 8), "Wsegments": floats(2, 8), "Wg": floats(8), "Wb": floats(8),
}  # fmt: skip
UNSEGMENTED = IDS | {"segments": None, "Wsegments": None}
CASES += [
    ("EmbedLayerNormalization", IDS, ["Y", "", "sum"], {}),
    ("EmbedLayerNormalization", IDS | {"mask": whole(2, 2, 5)}, ["Y", "", "sum"], {"epsilon": 0.1}),
    ("EmbedLayerNormalization", UNSEGMENTED | {"mask": None, "positions": whole(7, 2, 5)},
     ["Y", ""], {}),
]  # fmt: skip
N = 2
QKV: Feed = {"x": floats(2, 5, 8), "W": floats(8, 24), "Wb": floats(24)}
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
CASES += [
    ("Attention", QKV, ["Y"], {"num_heads": N}),
    ("Attention", QKV, ["Y"], {"num_heads": N, "scale": 0.3}),
    ("Attention", QKV, ["Y"], {"num_heads": N, "unidirectional": 1}),
    ("Attention", QKV | {"mask": MASK}, ["Y"], {"num_heads": N}),
    ("Attention", QKV | {"mask": MASK}, ["Y"],
     {"num_heads": N, "unidirectional": 1, "mask_filter_value": -1.5}),
    ("Attention", QKV | {"mask": np.stack([MASK] * 5, 1)}, ["Y"], {"num_heads": N}),
    ("Attention", QKV | {"mask": np.array([3, 5], np.int32)}, ["Y"], {"num_heads": N}),
    ("Attention", QKV | {"mask": np.array([3, 5, 1, 2], np.int32)}, ["Y"], {"num_heads": N}),
    ("Attention", QKV | {"mask": None, "past": None, "bias": floats(2, 2, 5, 5)}, ["Y"],
     {"num_heads": N}),
    ("Attention", QKV | {"mask": None, "past": None, "bias": floats(1, 1, 5, 5)}, ["Y"],
     {"num_heads": N}),
    ("Attention", QKV | {"mask": None, "past": floats(2, 2, N, 3, 4)}, ["Y", "present"],
     {"num_heads": N, "unidirectional": 1}),
    ("Attention", QKV | {"W": floats(8, 28), "Wb": floats(28)}, ["Y"],
     {"num_heads": N, "qkv_hidden_sizes": [8, 8, 12]}),
]  # fmt: skip
MHA: Feed = {"q": floats(2, 5, 8), "k": floats(2, 6, 8), "v": floats(2, 6, 12)}
KEYS = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]], np.int32)
LAID: Feed = {"q": floats(2, 5, 8), "k": floats(2, N, 6, 4), "v": floats(2, N, 6, 4)}
CASES += [
    ("MultiHeadAttention", MHA, ["Y"], {"num_heads": N}),
    ("MultiHeadAttention", MHA | {"Wb": floats(28)}, ["Y"], {"num_heads": N, "scale": 0.2}),
    ("MultiHeadAttention", MHA | {"Wb": None, "mask": KEYS}, ["Y"], {"num_heads": N}),
    ("MultiHeadAttention", MHA | {"Wb": None, "mask": np.array([3, 6], np.int32)}, ["Y"],
     {"num_heads": N}),
    ("MultiHeadAttention", MHA | {"Wb": None, "mask": None, "bias": floats(1, N, 5, 6)}, ["Y"],
     {"num_heads": N}),
    ("MultiHeadAttention", LAID, ["Y"], {"num_heads": N}),
    ("MultiHeadAttention", {"q": floats(2, 5, 8), "k": floats(2, 5, 8), "v": floats(2, 5, 8),
     "Wb": None, "mask": None, "bias": None, "pk": floats(2, N, 3, 4), "pv": floats(2, N, 3, 4)},
     ["Y", "K", "V"], {"num_heads": N, "unidirectional": 1}),
]  # fmt: skip
TABLES: Feed = {"Wc": floats(9, 4), "Ws": floats(9, 4)}
NARROW: Feed = {"Wc": floats(9, 2), "Ws": floats(9, 2)}
AT = whole(9, 2, 5, kind=np.int64)
CASES += [
    ("RotaryEmbedding", {"x": floats(2, 5, 16), "at": AT} | TABLES, ["Y"], {}),
    ("RotaryEmbedding", {"x": floats(2, 3, 5, 8), "at": AT} | TABLES, ["Y"], {"interleaved": 1}),
    ("RotaryEmbedding", {"x": floats(2, 5, 16), "at": np.array([3], np.int64)} | TABLES, ["Y"],
     {"interleaved": 1}),
    ("RotaryEmbedding", {"x": floats(2, 5, 16), "at": AT} | NARROW, ["Y"],
     {"rotary_embedding_dim": 4, "num_heads": 2}),
    ("RotaryEmbedding", {"x": floats(2, 2, 5, 8), "at": AT} | NARROW, ["Y"],
     {"rotary_embedding_dim": 4, "num_heads": 2, "interleaved": 1}),
    ("NhwcMaxPool", {"X": whole(99, 2, 6, 6, 3, kind=np.uint8)}, ["Y"],
     {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
]  # fmt: skip


def named(index: int) -> str:
    op, feed, outputs, attributes = CASES[index]
    given = "".join(name[0] if array is not None else "-" for name, array in feed.items())
    return f"{index}-{op}-{given}-{len(outputs)}-{'-'.join(attributes)}"


@pytest.mark.parametrize("index", range(len(CASES)), ids=named)
def test_spelling_is_what_onnx_runtime_computes(index: int, assert_same: Same) -> None:
    op, feed, outputs, attributes = CASES[index]
    model = model_of(op, feed, outputs, "com.microsoft", **attributes)
    if op == "NhwcMaxPool":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    program = load(model)
    assert all(not node.domain for node in all_nodes(program.model))
    fed = {n: a for n, a in feed.items() if a is not None and n[0] != "W"}
    assert_same(model, program, fed)


def test_lengths_of_masks_that_embeddings_count(assert_same: Same) -> None:
    feed = IDS | {"mask": MASK}
    model = model_of("EmbedLayerNormalization", feed, ["Y", "count"], "com.microsoft")
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT32
    fed = {name: array for name, array in feed.items() if array is not None and name[0] != "W"}
    assert_same(model, load(model), fed)


@pytest.mark.parametrize("op", ["SimplifiedLayerNormalization", "LayerNormalization"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_norms_of_onnx_runtime_in_the_onnx_domain(op: str, axis: int, assert_same: Same) -> None:
    """At BASIC level ONNX Runtime writes LayerNormalization into files of any opset."""
    shape = (8,) if axis == -1 else (5, 8)
    feed = {"x": floats(2, 5, 8), "W": floats(*shape)}
    model = model_of(op, feed, ["Y"], "", axis=axis, epsilon=0.1)
    model.opset_import[0].version = 13
    assert_same(model, load(model), {"x": feed["x"]})


def test_half_precision_keeps_its_type() -> None:
    feed = {n: a.astype(np.float16) for n, a in HIDDEN.items() if a is not None}
    for op in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"):
        model = model_of(op, feed, ["Y"], "com.microsoft", epsilon=0.1)
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        fed = {name: array for name, array in feed.items() if name[0] != "W"}
        wanted, found = unoptimized(model, fed)[0], unoptimized(load(model), fed)[0]
        assert found.dtype == wanted.dtype == np.float16
        np.testing.assert_allclose(found, wanted, atol=2**-7)  # two roundings to 2^-10 of 4


def test_numbers_between_fused_nodes_get_the_type_of_what_they_meet(assert_same: Same) -> None:
    """Types behind a contrib node are known only when it is spelt."""
    nodes = [
        make_node("FusedConv", ["X", "W"], ["c"], domain="com.microsoft", activation="Relu"),
        make_node("QuickGelu", ["c"], ["q"], domain="com.microsoft"),
        make_node("FusedMatMul", ["q", "q"], ["Y"], domain="com.microsoft", transA=1, alpha=0.5),
    ]
    inputs = [make_tensor_value_info("X", TensorProto.FLOAT, [2, 3, 6, 6])]
    outputs = [make_tensor_value_info("Y", TensorProto.FLOAT, None)]
    graph = make_graph(nodes, "g", inputs, outputs, [onnx.numpy_helper.from_array(W, "W")])
    opsets = [make_opsetid("", 11), make_opsetid("com.microsoft", 1)]
    model = make_model(graph, opset_imports=opsets, ir_version=8)
    program = load(model)
    assert {n.op_type for n in all_nodes(program.model)}.isdisjoint({"CastLike", "FusedMatMul"})
    assert_same(model, program, {"X": floats(2, 3, 6, 6)})


def test_what_has_no_spelling_stays() -> None:
    model = model_of("Attention", QKV, ["Y"], "com.microsoft", num_heads=2, do_rotary=1)
    assert [node.op_type for node in load(model).graph] == ["Attention"]


LEVELS = onnxruntime.GraphOptimizationLevel


def saved(model: Any, level: Any, path: Any) -> Any:
    """What ONNX Runtime saves of a model at a level."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 4
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    return onnx.load(path)


def convolutions() -> Any:
    """A network whose optimized form holds FusedConv, and blocked layouts at the highest level."""
    weights = {"w": floats(32, 16, 3, 3), "v": floats(32, 32, 3, 3)}
    nodes = [
        make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        make_node("Relu", ["a"], ["b"]),
        make_node("Conv", ["b", "v"], ["c"], pads=[1, 1, 1, 1]),
        make_node("Add", ["c", "b"], ["d"]),
        make_node("Relu", ["d"], ["y"]),
    ]
    inputs = [make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16, 8, 8])]
    outputs = [make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32, 8, 8])]
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = make_graph(nodes, "g", inputs, outputs, stored)
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("level", ["ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED"])
def test_files_that_onnx_runtime_saved(level: str, tmp_path: Any, assert_same: Same) -> None:
    model = convolutions()
    found = saved(model, getattr(LEVELS, level), tmp_path / "saved.onnx")
    fused = any(node.op_type == "FusedConv" for node in found.graph.node)
    assert fused == (level == "ORT_ENABLE_EXTENDED")
    program = load(tmp_path / "saved.onnx")
    assert {node.op_type for node in program.graph} == {"Conv", "Relu", "Add"}
    assert_same(model, program, {"x": floats(2, 16, 8, 8)})


def test_layouts_of_an_accelerator_are_refused() -> None:
    model = model_of("Conv", CONV, ["Y"], "com.ms.internal.nhwc")
    with pytest.raises(UnreadableModelError, match="ORT_ENABLE_EXTENDED"):
        load(model)


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "lacking"),
    [
        ("GroupQueryAttention", ["x", "x", "x", "", "", "l", "t"], {}, "num_heads"),
        ("GroupQueryAttention", ["x", "x", "x", "", "", "l", "t"], {"num_heads": 2},
         "kv_num_heads"),
        ("MultiHeadAttention", ["x", "x", "x"], {"num_heads": 0}, "num_heads"),
        ("Attention", ["x", "w"], {"num_heads": -1}, "num_heads"),
    ],
)  # fmt: skip
def test_attention_without_heads_is_refused(
    op: str, operands: list[str], attributes: dict[str, Any], lacking: str
) -> None:
    feed = {"x": floats(1, 2, 8), "w": floats(8, 24), "l": whole(1, 1), "t": whole(1, 1)}
    node = make_node(op, operands, ["y"], "odd", domain="com.microsoft", **attributes)
    inputs = [
        make_tensor_value_info(name, TensorProto.FLOAT if a.dtype == np.float32 else 6, a.shape)
        for name, a in feed.items()
    ]
    graph = make_graph([node], "g", inputs, [make_tensor_value_info("y", 1, None)])
    opsets = [make_opsetid("", 18), make_opsetid("com.microsoft", 1)]
    with pytest.raises(UnreadableModelError, match=f"(?s)no positive attribute '{lacking}'.*odd"):
        load(make_model(graph, opset_imports=opsets))
