"""ZipMap's dictionaries are the tensor that they are made of, in the order of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.errors import UnreadableModelError
from qcompiler.execution.onnx_source import OnnxSource
from qcompiler.execution.session import OrtSession
from qcompiler.frontends.maps import without_maps

N = helper.make_node


def _maps(name: str, key: int) -> onnx.ValueInfoProto:
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    pairs = helper.make_map_type_proto(key, element)
    return helper.make_value_info(name, helper.make_sequence_type_proto(pairs))


def _classifier(labels: Sequence[Any], extra: Sequence[onnx.NodeProto] = ()) -> onnx.ModelProto:
    """As scikit-learn's converter writes it: a label, and a list of dictionaries."""
    strings = isinstance(labels[0], str)
    key = TensorProto.STRING if strings else TensorProto.INT64
    given: dict[str, Any] = {
        "classlabels_strings" if strings else "classlabels_int64s": list(labels)
    }
    weight = np.random.default_rng(0).standard_normal((4, len(labels))).astype(np.float32)
    nodes = [
        N("MatMul", ["x", "w"], ["scores"], name="product"),
        N("Softmax", ["scores"], ["share"], name="softmax"),
        N("ArgMax", ["share"], ["label"], name="label", axis=1, keepdims=0),
        N("ZipMap", ["share"], ["dicts"], name="zip", domain="ai.onnx.ml", **given),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    graph = helper.make_graph(
        [*nodes, *extra],
        "g",
        [x],
        [label, _maps("dicts", key)],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("labels", [("cat", "ant", "bee"), (7, -1, 3)])
@pytest.mark.parametrize("as_file", [True, False])
def test_columns_are_in_the_order_of_the_labels(
    labels: Sequence[Any], as_file: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Oracle: ONNX Runtime on the file as it is. Labels are not sorted, as its dictionaries are."""
    proto = _classifier(labels)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    x = rng.normal(size=(5, 4)).astype(np.float32)
    wanted = ort.InferenceSession(path).run(None, {"x": x})
    program = qc.load(path if as_file else proto)
    label, share = OrtSession(program.model).run({"x": x})
    np.testing.assert_array_equal(label, wanted[0])
    np.testing.assert_allclose(share, [[row[each] for each in labels] for row in wanted[1]], 1e-6)
    (note,) = program.provenance.warnings
    assert ", ".join(map(str, labels)) in note
    again = OnnxSource(path if as_file else proto).run({"x": x})
    np.testing.assert_array_equal(again[1], share)
    assert proto.graph.node[3].op_type == "ZipMap"  # the user's model stays


def test_a_classifier_is_quantized_and_says_what_it_returns(rng: np.random.Generator) -> None:
    feeds = [{"x": rng.normal(size=(8, 4)).astype(np.float32)} for _ in range(3)]
    found = qc.compile(_classifier(("a", "b")), "onnxruntime", feeds, scheme="int8", recipe="fast")
    assert "product" in found.kernels.integer
    assert any("ZipMap" in each for each in found.report.warnings)


def test_a_model_without_maps_is_not_copied() -> None:
    plain = _classifier((1, 2))
    del plain.graph.node[3], plain.graph.output[1]
    assert without_maps(plain) == (plain, ())


def test_maps_that_go_in_are_refused() -> None:
    proto = _classifier((1, 2))
    proto.graph.input.append(_maps("words", TensorProto.STRING))
    with pytest.raises(UnreadableModelError, match="'words' is a map") as caught:
        qc.load(proto)
    assert "DictVectorizer" in (caught.value.fix or "")


def test_maps_that_are_read_are_refused() -> None:
    proto = _classifier((1, 2), [N("SequenceAt", ["dicts", "label"], ["first"], name="at")])
    with pytest.raises(UnreadableModelError, match="computes with maps") as caught:
        qc.load(proto)
    assert "SequenceAt 'at'" in str(caught.value)
