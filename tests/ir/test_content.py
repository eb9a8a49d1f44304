"""The digest of a graph: the same for every way to store it, another one for every change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.ir.content import content_digest

TEXT = """<ir_version: 10, opset_import: ["" : 21, "own" : 1]>
g (float[n, 8] x, bool c) => (float[n, 8] y) <float[8, 8] w, float[8] b, int4[2] q> {
  [first] h = MatMul(x, w)
  [second] a = Add(h, b)
  [third] i = Cast <to = 1>(q)
  k = Constant <value_strings = ["a", "b"]> ()
  z = own.F <alpha = 0.1, beta = [1.0, 2.0], text = "t"> (a, k)
  y = If (c) <then_branch = t () => (float[n, 8] u) <float[8] v = {1,2,3,4,5,6,7,8}>
                { u = Add(z, v) },
              else_branch = e () => (float[n, 8] d) { d = Identity(a) }>
}
<domain: "own", opset_import: ["" : 21]>
F <alpha, beta, text> (p, q) => (r) { r = Relu(p) }"""


def _proto() -> onnx.ModelProto:
    model = onnx.parser.parse_model(TEXT)
    chance = np.random.default_rng(0)
    for name, shape in {"w": (8, 8), "b": (8,)}.items():
        array = chance.standard_normal(shape, dtype=np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    model.graph.initializer.append(helper.make_tensor("q", TensorProto.INT4, [2], [-3, 5]))
    del model.graph.value_info[:]
    return model


def _digest(model: onnx.ModelProto) -> str:
    return content_digest(ir.from_proto(model))


def _as_fields(model: onnx.ModelProto) -> None:
    """Numbers in `float_data` in the place of bytes."""
    for each in model.graph.initializer:
        if each.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(each)
            each.CopyFrom(helper.make_tensor(each.name, each.data_type, array.shape, array.ravel()))


def _as_bytes(model: onnx.ModelProto) -> None:
    """Two numbers of four bits in one byte, low half first."""
    held = model.graph.initializer[2]
    held.ClearField("int32_data")
    held.raw_data = bytes([(-3 & 15) | 5 << 4])


def _nodes_in_another_order(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(sorted(nodes, key=lambda node: node.op_type == "If"))


def _weights_in_another_order(model: onnx.ModelProto) -> None:
    held = list(model.graph.initializer)[::-1]
    del model.graph.initializer[:]
    model.graph.initializer.extend(held)


def _what_is_written_besides(model: onnx.ModelProto) -> None:
    model.doc_string = model.graph.doc_string = "new"
    model.producer_name, model.ir_version = "another", 11
    model.metadata_props.add(key="k", value="v")
    model.graph.node[0].name = "renamed"
    model.graph.node[1].doc_string = "sum"
    model.graph.node[0].domain = "ai.onnx"
    model.graph.node[0].input.append("")
    model.graph.value_info.append(helper.make_tensor_value_info("h", 1, ["n", 8]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3), "nobody_reads_it"))


@pytest.mark.parametrize(
    "store",
    [
        _as_fields,
        _as_bytes,
        _nodes_in_another_order,
        _weights_in_another_order,
        _what_is_written_besides,
    ],
)
def test_ways_to_store_one_graph_are_equal(store: Callable[[onnx.ModelProto], None]) -> None:
    model = _proto()
    store(model)
    assert model != _proto()
    assert _digest(model) == _digest(_proto())


def test_weights_in_a_file_beside_it_are_equal(tmp_path: Path) -> None:
    onnx.save(_proto(), tmp_path / "m", save_as_external_data=True, location="w", size_threshold=0)
    assert (tmp_path / "w").stat().st_size > 0
    assert content_digest(ir.load(tmp_path / "m")) == _digest(_proto())


def test_what_onnx_ir_writes_is_equal(tmp_path: Path) -> None:
    ir.save(ir.from_proto(_proto()), tmp_path / "m")
    assert content_digest(ir.load(tmp_path / "m")) == _digest(_proto())


def _weight(model: onnx.ModelProto) -> None:
    held = model.graph.initializer[0]
    array = numpy_helper.to_array(held).copy()
    array[3, 4] = np.nextafter(array[3, 4], np.float32(9))
    held.CopyFrom(numpy_helper.from_array(array, held.name))


def _shape(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [4, 16]


def _small_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].CopyFrom(helper.make_tensor("q", TensorProto.INT4, [2], [-3, 4]))


def _weight_of_a_branch(model: onnx.ModelProto) -> None:
    model.graph.node[-1].attribute[0].g.initializer[0].float_data[7] = 0


def _node_of_a_branch(model: onnx.ModelProto) -> None:
    model.graph.node[-1].attribute[1].g.node[0].op_type = "Neg"


def _op(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Mul"


def _domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "own"


def _operands(model: onnx.ModelProto) -> None:
    inputs = model.graph.node[0].input
    inputs[0], inputs[1] = inputs[1], inputs[0]


def _attribute(model: onnx.ModelProto) -> None:
    model.graph.node[4].attribute[0].f = 0.2


def _list(model: onnx.ModelProto) -> None:
    model.graph.node[4].attribute[1].floats[1] = 2.5


def _string(model: onnx.ModelProto) -> None:
    model.graph.node[4].attribute[2].s = b"u"


def _strings(model: onnx.ModelProto) -> None:
    model.graph.node[3].attribute[0].strings[:] = [b"ab", b""]


def _less_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[2]


def _output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "a"


def _input(model: onnx.ModelProto) -> None:
    model.graph.input[1].name, model.graph.input[0].name = "x", "c"


def _body_of_a_function(model: onnx.ModelProto) -> None:
    model.functions[0].node[0].op_type = "Neg"


def _opset_of_a_function(model: onnx.ModelProto) -> None:
    model.functions[0].opset_import[0].version = 11


def _opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 20


@pytest.mark.parametrize(
    "change",
    [
        _weight, _shape, _small_weight, _weight_of_a_branch, _node_of_a_branch, _op, _domain,
        _operands, _attribute, _list, _string, _strings, _less_nodes, _output, _input,
        _body_of_a_function, _opset, _opset_of_a_function,
    ],
)  # fmt: skip
def test_any_change_is_another_one(change: Callable[[onnx.ModelProto], None]) -> None:
    model = _proto()
    change(model)
    assert _digest(model) != _digest(_proto())
