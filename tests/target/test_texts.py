"""Texts are refused where the engine has none, with the cut that leaves them off."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.errors import LoweringError
from qcompiler.pipeline.targets import target_of
from qcompiler.target.texts import refuse_texts

RNG = np.random.default_rng(0)
NAMES = np.array(["cat", "dog", "bird"], object)
TAILS = {
    "extractor": [helper.make_node("ArrayFeatureExtractor", ["names", "i"], ["t"],
                                   domain="ai.onnx.ml"),
                  helper.make_node("Reshape", ["t", "flat"], ["label"])],
    "gather": [helper.make_node("Gather", ["names", "i"], ["label"])],
    "encoder": [helper.make_node("LabelEncoder", ["i"], ["label"], domain="ai.onnx.ml",
                                 keys_int64s=[0, 1, 2], values_strings=["cat", "dog", "bird"])],
}  # fmt: skip


def _classifier(tail: str) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["logits"], name="gemm"),
        helper.make_node("Softmax", ["logits"], ["p"], name="softmax"),
        helper.make_node("ArgMax", ["p"], ["i"], axis=1, keepdims=0, name="best"),
        *TAILS[tail],
    ]
    stored = {"w": RNG.normal(size=(12, 3)).astype(np.float32), "flat": np.array([-1])}
    if tail != "encoder":
        stored["names"] = NAMES
    outputs = [helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]),
               helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 3])]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 12])], outputs,
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("tail", TAILS)
def test_the_cut_that_is_told_compiles(tail: str, tmp_path: Path) -> None:
    model = _classifier(tail)
    with pytest.raises(LoweringError, match="texts, which fbgemm has not") as caught:
        refuse_texts(qc.load(model), "fbgemm")
    found = re.search(r"extract_model\(file, new_file, \[(.*)\], \[(.*)\]\)", str(caught.value))
    assert found is not None
    inputs, outputs = (re.findall("'([^']*)'", part) for part in found.groups())
    assert (inputs, sorted(outputs)) == (["x"], ["i", "p"])
    onnx.save(model, tmp_path / "whole.onnx")
    onnx.utils.extract_model(tmp_path / "whole.onnx", tmp_path / "cut.onnx", inputs, outputs)
    refuse_texts(qc.load(tmp_path / "cut.onnx"), "fbgemm")


def test_a_target_without_texts_says_so() -> None:
    feed = {"x": RNG.normal(size=(4, 12)).astype(np.float32)}
    with pytest.raises(LoweringError, match="texts, which fbgemm has not"):
        qc.compile(_classifier("gather"), "fbgemm", [feed], scheme="int8", recipe="fast")
    assert not any(target_of(each).has_texts for each in ("executorch", "tensorrt", "fbgemm"))
    assert target_of("onnxruntime").has_texts


def test_texts_that_come_in_are_named() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]>
        g (string[n] s, float[n] x) => (string[n] y, float[n] z)
        { y = StringConcat(s, s) z = Identity(x) }"""
    )
    with pytest.raises(LoweringError, match=r"inputs \['s'\] are texts"):
        refuse_texts(qc.load(model), "fbgemm")
