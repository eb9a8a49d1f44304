"""`qc.why`: the decisive reason comes first, for each way in which a match can fail."""

from __future__ import annotations

import onnx
import pytest

import qcompiler as qc
from qcompiler.errors import ConfigurationError

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
CONV = "float[4,4,1,1] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7}"
VECTORS = ", ".join(f"float[4] {name} = {{1,1,1,1}}" for name in "sbmv")


def model(body: str, weights: str = CONV, outputs: str = "float[] y") -> onnx.ModelProto:
    text = f"{HEAD}g (float[1,4,8,8] x) => ({outputs}) <{weights}> {{ {body} }}"
    found = onnx.parser.parse_model(text)
    for node in found.graph.node:
        node.name = node.name or node.output[0]
    return found


@pytest.mark.parametrize(
    ("body", "outputs", "node", "words"),
    [
        ("y = Erf(x)", "float[] y", "y", ["no integer kernel for Erf"]),
        ("c = Conv(x, w) y = Relu(c)", "float[] y", "y", ["runs inside Conv+Relu 'c'"]),
        ("y = Conv(x, w)", "float[] y", "y", ["may run as int8"]),
        ("c = Conv(x, w) y = Relu(c) z = Abs(c)", "float[] y, float[] z", "c",
         ["behind it is not absorbed", "'c' between them is read by 2 nodes"]),
        ("c = Conv(x, w) y = Relu(c)", "float[] y, float[] c", "y",
         ["does not absorb it", "an output of the model"]),
        ("y = AveragePool<kernel_shape = [2, 2], dilations = [2, 2]>(x)", "float[] y", "y",
         ["stays float on onnxruntime", "dilat"]),
        ("i = Identity(x) c = Conv(i, w) y = Neg(c)", "float[] y", "i", ["canonicalize"]),
    ],
)  # fmt: skip
def test_the_reason_is_named(body: str, outputs: str, node: str, words: list[str]) -> None:
    told = "\n".join(qc.why(model(body, outputs=outputs), node))
    for word in words:
        assert word in told


def test_why_a_batch_normalization_is_not_folded() -> None:
    weights = f"{CONV}, {VECTORS}"
    behind = "c = Conv(x, w) y = BatchNormalization(c, s, b, m, v)"
    assert "fuse-conv-bn" in qc.why(model(behind, weights), "y")[0]
    alone = "c = Erf(x) y = BatchNormalization(c, s, b, m, v)"
    assert "no weight to take it" in qc.why(model(alone, weights), "y")[-1]
    twice = "c = Conv(x, w) y = BatchNormalization(c, s, b, m, v) z = Erf(c)"
    told = qc.why(model(twice, weights, "float[] y, float[] z"), "y")[-1]
    assert "read by 2 nodes" in told


def test_forms_that_nobody_searches_stand_by_themselves() -> None:
    first, *others = qc.why(model("y = Conv(x, w)"), "y")
    assert first.endswith("may run as int8 or float32; the search or the scheme chooses")
    (asked,) = [line for line in others if line.startswith("on request")]
    assert "int16" in asked


def test_a_module_is_told_node_by_node() -> None:
    found = model("c = Conv(x, w) d = Erf(c) y = Relu(d)")
    for node, path in zip(found.graph.node, ("body.0", "body.1", "bodyguard"), strict=True):
        node.metadata_props.add(key="qcompiler.module", value=path)
    told = "\n".join(qc.why(found, "body"))
    assert "Conv 'c'" in told
    assert "Erf" in told
    assert "bodyguard" not in told
    with pytest.raises(ConfigurationError, match="near names are body"):
        qc.why(found, "bodi")


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="near names are conv_1"):
        qc.why(model("conv_1 = Conv(x, w) y = Relu(conv_1)"), "conv_l")
