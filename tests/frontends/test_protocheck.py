"""Damaged and hostile models: refused with an error of ours before anything is built from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import (
    make_function,
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
)

from qcompiler.errors import ModelError, UnreadableModelError
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.frontends.calls import MOST_NODES, drop_uncalled
from qcompiler.ir.walk import all_nodes

OPSETS = [make_opsetid("", 17), make_opsetid("f", 1)]
Build = Callable[[TensorProto], onnx.ModelProto]


def model(
    nodes: list[onnx.NodeProto],
    weights: tuple[TensorProto, ...] = (),
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> onnx.ModelProto:
    x, y = (make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    graph = make_graph(nodes, "g", [x], [y], list(weights))
    return make_model(graph, opset_imports=OPSETS, ir_version=8, functions=functions)


def weight(value: float = 1.0) -> TensorProto:
    return numpy_helper.from_array(np.full((2, 2), value, np.float32), "w")


def external(location: str, **entries: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=1, dims=[2, 2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def as_initializer(tensor: TensorProto) -> onnx.ModelProto:
    return model([make_node("MatMul", ["x", "w"], ["y"])], (tensor,))


def as_constant(tensor: TensorProto) -> onnx.ModelProto:
    return model(
        [make_node("Constant", [], ["w"], value=tensor), make_node("MatMul", ["x", "w"], ["y"])]
    )


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    nodes = [make_node("Constant", [], ["w"], value=tensor), make_node("MatMul", ["a", "w"], ["o"])]
    function = make_function("f", "F", ["a"], ["o"], nodes, OPSETS[:1])
    return model([make_node("F", ["x"], ["y"], domain="f")], functions=(function,))


def in_body(tensor: TensorProto) -> onnx.ModelProto:
    info = make_tensor_value_info("t", TensorProto.FLOAT, [2, 2])
    body = make_graph([make_node("MatMul", ["x", "w"], ["t"])], "b", [], [info], [tensor])
    true = numpy_helper.from_array(np.array(True), "c")
    return model([make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)], (true,))


PLACES: list[Build] = [as_initializer, as_constant, in_function, in_body]


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("build", PLACES)
def test_external_data_is_read_from_below_the_model_only(build: Build, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "model", tmp_path / "secret.bin"
    data = np.array([[1, 2], [3, 4]], np.float32)
    elsewhere.write_bytes(data.tobytes())
    home.mkdir()
    (home / "link.bin").symlink_to(elsewhere)
    for location in (str(elsewhere), "../secret.bin", "link.bin", "a/../../secret.bin"):
        with pytest.raises(UnreadableModelError, match="outside"):
            load(saved(build(external(location)), home))
    (home / "w.bin").write_bytes(data.tobytes())
    program = load(saved(build(external("w.bin")), home))
    x = np.eye(2, dtype=np.float32)
    np.testing.assert_array_equal(OrtSession(program.model).run({"x": x})[0], data)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"length": "99"}, "another size"),
        ({"offset": "8"}, "cut off"),
        ({"offset": "-4"}, "described wrongly"),
        ({"offset": "four"}, "described wrongly"),
    ],
)
@pytest.mark.parametrize("build", PLACES)
def test_external_data_is_as_large_as_its_tensor(
    build: Build, entries: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    with pytest.raises(UnreadableModelError, match=message):
        load(saved(build(external("w.bin", **entries)), tmp_path))


@pytest.mark.parametrize("location", ["", "nothing.bin", "x" * 5000, "a\0b"])
def test_external_data_that_is_not_there(location: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableModelError):
        load(saved(as_initializer(external(location)), tmp_path))


def test_two_weights_of_one_name_are_refused() -> None:
    proto = as_initializer(weight())
    proto.graph.initializer.append(weight(2.0))
    with pytest.raises(UnreadableModelError, match="two initializers"):
        load(proto)


def test_an_attribute_without_a_type_is_refused() -> None:
    proto = as_initializer(weight())
    proto.graph.node[0].attribute.add().name = "odd"
    with pytest.raises(UnreadableModelError, match="without a type"):
        load(proto)


@pytest.mark.parametrize("field", ["name", "domain"])
def test_text_that_is_no_utf8_is_refused(field: str, tmp_path: Path) -> None:
    proto = as_initializer(weight())
    setattr(proto.graph.node[0], field, "QQQQ")
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString().replace(b"QQQQ", b"\xff\xfe\xc0\xaf"))
    with pytest.raises(UnreadableModelError, match="UTF-8"):
        load(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensor: tensor.ClearField("raw_data"),
        lambda tensor: setattr(tensor, "raw_data", b"123"),
        lambda tensor: setattr(tensor, "data_type", 77),
        lambda tensor: tensor.dims.append(-3),
        lambda tensor: tensor.dims.append(2**60),
    ],
)
@pytest.mark.parametrize("build", PLACES)
def test_a_damaged_weight_is_refused(
    build: Build, damage: Callable[[TensorProto], None], tmp_path: Path
) -> None:
    tensor = weight()
    damage(tensor)
    with pytest.raises(UnreadableModelError):
        load(build(tensor))
    with pytest.raises(UnreadableModelError):
        load(saved(build(tensor), tmp_path))


def _strings_as_bytes(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].data_type = TensorProto.STRING


def _of_a_function(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.add(name="axis", type=2, ref_attr_name="of")


def _of_no_type(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].type.tensor_type.elem_type = 99


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_strings_as_bytes, "0 strings for 4"),
        (_of_a_function, "outside of a function"),
        (lambda proto: proto.graph.node[0].input.pop(), r"has 1 operands\n.*MatMul 'product'"),
        (lambda proto: proto.graph.node[0].ClearField("input"), "has 0 operands"),
        (lambda proto: proto.graph.node[0].input.append("x"), "has 3 operands"),
        (lambda proto: proto.graph.node[0].output.append("z"), "has 2 results"),
        (lambda proto: proto.graph.input.append(proto.graph.input[0]), "2 inputs 'x'"),
        (lambda proto: proto.graph.ClearField("output"), "no outputs"),
        (lambda proto: proto.opset_import.append(make_opsetid("", 11)), "two versions"),
        (_of_no_type, r"unknown element type\n.*value 'y'"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(
    damage: Callable[[onnx.ModelProto], None], words: str, tmp_path: Path
) -> None:
    proto = model([make_node("MatMul", ["x", "w"], ["y"], name="product")], (weight(),))
    load(proto)
    damage(proto)
    with pytest.raises(UnreadableModelError, match=words):
        load(saved(proto, tmp_path))


def test_the_file_of_a_damaged_weight_is_named(tmp_path: Path) -> None:
    path = saved(as_initializer(external("none.data")), tmp_path)
    with pytest.raises(UnreadableModelError, match=f"initializer 'w' of {path}"):
        load(path)


def test_nodes_out_of_order_are_sorted() -> None:
    nodes = [make_node("Relu", ["h"], ["y"]), make_node("MatMul", ["x", "w"], ["h"])]
    program = load(model(nodes, (weight(),)))
    assert [node.op_type for node in all_nodes(program.model)] == ["MatMul", "Relu"]
    assert any("order" in text for text in program.provenance.warnings)
    assert isinstance(program.clone().model, ir.Model)


def test_a_circle_is_refused() -> None:
    nodes = [make_node("Add", ["x", "b"], ["a"]), make_node("Relu", ["a"], ["b"])]
    with pytest.raises(UnreadableModelError, match="circle"):
        load(model([*nodes, make_node("Neg", ["b"], ["y"])]))


@pytest.mark.parametrize("name", ["", "nothing"])
def test_an_output_of_nothing_is_refused(name: str) -> None:
    proto = as_initializer(weight())
    proto.graph.output.append(make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    with pytest.raises(UnreadableModelError, match="nothing produces it"):
        load(proto)


def doubling(depth: int) -> onnx.ModelProto:
    last = [make_node("Relu", ["a"], ["o"])]
    functions = [make_function("f", f"F{depth}", ["a"], ["o"], last, OPSETS)]
    for level in range(depth):
        called = f"F{level + 1}"
        twice = [
            make_node(called, ["a"], ["t"], domain="f"),
            make_node(called, ["t"], ["o"], domain="f"),
        ]
        functions.append(make_function("f", f"F{level}", ["a"], ["o"], twice, OPSETS))
    return model([make_node("F0", ["x"], ["y"], domain="f")], functions=tuple(functions))


def test_functions_that_call_twice_are_counted_before_they_are_inlined() -> None:
    assert len(list(all_nodes(load(doubling(5)).model))) == 32
    with pytest.raises(UnreadableModelError, match=f"{2**40} nodes .*{MOST_NODES}"):
        load(doubling(40))


def test_functions_that_nobody_calls_are_left_out_before_inlining() -> None:
    other = [make_opsetid("", 9)]
    idle = make_function("f", "Idle", ["a"], ["o"], [make_node("Cast", ["a"], ["o"], to=1)], other)
    proto = doubling(2)
    proto.functions.append(idle)
    assert len(list(all_nodes(load(proto).model))) == 4
    read = ir.from_proto(proto)
    drop_uncalled(read)
    assert {name for _, name, _ in read.functions} == {"F0", "F1", "F2"}


def test_a_chain_of_concats_that_doubles_is_not_computed() -> None:
    nodes = [make_node("Concat", [f"b{i}", f"b{i}"], [f"b{i + 1}"], axis=0) for i in range(20)]
    nodes += [
        make_node("ReduceMax", ["b20"], ["m"], keepdims=0),
        make_node("Add", ["x", "m"], ["y"]),
    ]
    start = numpy_helper.from_array(np.ones(2, np.int64), "b0")
    nodes[-2:-1] = [
        make_node("ReduceMax", ["b20"], ["k"], keepdims=0),
        make_node("Cast", ["k"], ["m"], to=1),
    ]
    assert len(list(all_nodes(load(model(nodes, (start,))).model))) == 23


def _scalar(value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.int64))


def _list(*values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.int64))


GROWN: dict[str, Callable[[int], tuple[onnx.TensorProto, ...]]] = {
    "Tile": lambda n: (_list(1), _list(n)),
    "Range": lambda n: (_scalar(0), _scalar(n), _scalar(1)),
    "Pad": lambda n: (_list(1), _list(0, n)),
    "Expand": lambda n: (_list(1), _list(n)),
    "ConstantOfShape": lambda n: (_list(n),),
}


@pytest.mark.parametrize("op", GROWN)
def test_what_makes_much_of_few_constants_is_refused_before_it_is_computed(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Propagation of data would write all of it down."""
    plain = onnx.shape_inference.infer_shapes

    def infer(proto: Any, **options: Any) -> Any:
        assert not (large and options.get("data_prop"))
        return plain(proto, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", infer)
    for large in (False, True):
        weights = GROWN[op](2**40 if large else 8)
        for index, each in enumerate(weights):
            each.name = f"k{index}"
        nodes = [
            make_node(op, [each.name for each in weights], ["big"]),
            make_node("Cast", ["big"], ["float"], to=1),
            make_node("ReduceMax", ["float"], ["m"], keepdims=0),
            make_node("Add", ["x", "m"], ["y"]),
        ]
        if not large:
            load(model(nodes, weights))
            continue
        with pytest.raises(UnreadableModelError, match=r"would hold 1\.1e\+12 numbers"):
            load(model(nodes, weights))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff" * 64, b"ir_version: x"])
@pytest.mark.parametrize("suffix", [".onnx", ".json", ".textproto", ".onnxtxt"])
def test_a_file_that_is_no_model(text: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(text)
    with pytest.raises(UnreadableModelError):
        load(path)


@pytest.mark.parametrize("opset", [0, -1, 2**31, 2**62])
def test_an_impossible_opset_is_refused(opset: int, tmp_path: Path) -> None:
    proto = as_initializer(weight())
    proto.opset_import[0].version = opset
    for source in (proto, saved(proto, tmp_path)):
        with pytest.raises(ModelError):
            load(source)


def test_whatever_import_raises_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(model: ir.Model) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("qcompiler.frontends.onnx_file.own_tensors", fails)
    proto = as_initializer(weight())
    for source in (proto, saved(proto, tmp_path), ir.from_proto(proto)):
        with pytest.raises(UnreadableModelError, match="more memory than there is"):
            load(source)
