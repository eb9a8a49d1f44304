"""ONNX import: oddities of real exporters, the user's object stays untouched, clear errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.errors import ConfigurationError, UnreadableModelError
from qcompiler.frontends import load
from qcompiler.ir.verifier import require_valid
from qcompiler.ir.walk import all_graphs, all_nodes

FLOAT = TensorProto.FLOAT


def _parse(text: str, header: str = 'ir_version: 8, opset_import: ["" : 17]') -> onnx.ModelProto:
    return onnx.parser.parse_model(f"<{header}>\n{text}")


def _weight(model: onnx.ModelProto, name: str, array: np.ndarray[Any, Any]) -> None:
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    for info in [info for info in model.graph.value_info if info.name == name]:
        model.graph.value_info.remove(info)


@pytest.fixture
def feed(rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    return {"x": rng.standard_normal((3, 4)).astype(np.float32)}


@pytest.fixture
def dense(rng: np.random.Generator) -> onnx.ModelProto:
    """MatMul with a weight, a Constant and unnamed nodes."""
    model = _parse(
        """g (float[N,4] x) => (float[N,2] y) <float[4,2] w> {
        a = MatMul (x, w)  c = Constant <value = float[2] {1.5, -0.5}> ()  b = Add (a, c)
        y = Relu (b) }"""
    )
    _weight(model, "w", rng.standard_normal((4, 2)).astype(np.float32))
    return model


def test_constants_become_initializers(dense: onnx.ModelProto, assert_same: Any, feed: Any) -> None:
    program = load(dense)
    assert "Constant" not in {node.op_type for node in all_nodes(program.model)}
    assert_same(dense, program, feed)


def test_constants_of_every_kind(run: Any) -> None:
    model = _parse(
        """g (float[2] x) => (float[2] f, int64[2] i, float s, string[2] t) {
        a = Constant <value_floats = [1.5, 2.5]> ()  f = Add (x, a)
        b = Constant <value_ints = [3, 4]> ()        i = Identity (b)
        c = Constant <value_float = 0.5> ()          s = Identity (c)
        d = Constant <value_strings = ["p", "q"]> () t = Identity (d) }"""
    )
    found = run(load(model), {"x": np.ones(2, np.float32)})
    assert [array.tolist() for array in found] == [[2.5, 3.5], [3, 4], 0.5, ["p", "q"]]


@pytest.mark.parametrize("kind", ["proto", "ir", "file"])
def test_the_source_is_never_changed(dense: onnx.ModelProto, kind: str, tmp_path: Path) -> None:
    dense.graph.node[0].name = ""  # filled in on our side only
    before = dense.SerializeToString(deterministic=True)
    source: Any = dense
    if kind == "ir":
        source = ir.from_proto(dense)
        tensors = {name: v.const_value for name, v in source.graph.initializers.items()}
        before = ir.to_proto(source).SerializeToString(deterministic=True)
    elif kind == "file":
        source = tmp_path / "m.onnx"
        onnx.save(dense, source)
    program = load(source)
    program.graph.initializers["w"].name = "renamed"
    node = program.graph[0]
    node.op_type = "Changed"
    if kind == "ir":
        assert all(source.graph.initializers[n].const_value is t for n, t in tensors.items())
        assert [tensor.name for tensor in tensors.values()] == list(tensors)
        after = ir.to_proto(source).SerializeToString(deterministic=True)
    else:
        after = (onnx.load(source) if kind == "file" else dense).SerializeToString(
            deterministic=True
        )
    assert after == before


def test_a_later_change_of_the_proto_does_not_reach_the_program(
    dense: onnx.ModelProto, run: Any, feed: Any
) -> None:
    program = load(dense)
    wanted = run(program, feed)[0]
    dense.graph.initializer[0].raw_data = bytes(4 * 8)
    np.testing.assert_array_equal(run(program, feed)[0], wanted)


def test_a_program_is_cloned(dense: onnx.ModelProto) -> None:
    program = load(dense)
    other = load(program)
    other.graph[0].op_type = "Changed"
    assert program.graph[0].op_type == "MatMul"


def test_initializers_listed_as_inputs(dense: onnx.ModelProto, assert_same: Any, feed: Any) -> None:
    dense.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [4, 2]))
    program = load(dense)
    assert program.signature.input_names == ("x",)
    assert "compiled in: 'w'" in program.provenance.warnings[0]
    assert_same(dense, program, feed)


def test_shadowed_and_doubled_names_become_unique(assert_same: Any, run: Any) -> None:
    """Both branches use the names a and w; node names are empty or equal."""
    model = _parse(
        """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
        [n] a = Add (x, w)
        [n] y = If (c) <
            then_branch = t () => (float[2] o) <float[2] k = {3, 4}>
                { [n] p = Mul (x, k)  o = Add (p, w) },
            else_branch = e () => (float[2] o) <float[2] k = {5, 6}>
                { [n] p = Mul (a, k)  o = Sub (p, w) }>
        }"""
    )
    program = load(model)
    names = [v.name for n in all_nodes(program.model) for v in n.outputs]
    names += [name for graph in all_graphs(program.model) for name in graph.initializers]
    assert len(names) == len(set(names))
    labels = [node.name for node in all_nodes(program.model)]
    assert len(labels) == len(set(labels))
    assert all(labels)
    assert program.signature.output_names == ("y",)
    for node in [*model.graph.node, *(n for a in model.graph.node[1].attribute for n in a.g.node)]:
        node.name = ""  # ONNX Runtime refuses equal ones
    for condition in (True, False):
        feed = {"x": np.array([1, -2], np.float32), "c": np.array(condition)}
        assert_same(model, program, feed)


def test_t3_any_tensor_names(run: Any, rng: np.random.Generator) -> None:
    """T3: a tensor that is named like a bias keeps its own value."""
    text = """g (float[1,2,5,5] x) => (float[1,2,5,5] y)
        <float[2,2,1,1] w0, float[2,2,1,1] w1, float[2] b> {
        MID = Conv (x, w0, b)  y = Conv (MID, w1, b) }"""
    arrays = {
        "w0": rng.standard_normal((2, 2, 1, 1)).astype(np.float32),
        "w1": rng.standard_normal((2, 2, 1, 1)).astype(np.float32),
        "b": rng.standard_normal(2).astype(np.float32),
    }
    feed = {"x": rng.standard_normal((1, 2, 5, 5)).astype(np.float32)}
    results = []
    for name in ("middle", "b0", "b_1"):
        model = _parse(text.replace("MID", name))
        for weight, array in arrays.items():
            _weight(model, weight, array)
        results.append(run(load(model), feed)[0])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_missing_and_unused_domains(assert_same: Any, dense: onnx.ModelProto, feed: Any) -> None:
    dense.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    dense.graph.node[0].domain = "ai.onnx"
    program = load(dense)
    assert set(program.model.opset_imports) == {""}
    dense.graph.node[0].domain = ""
    assert_same(dense, program, feed)


def test_an_unknown_domain_is_carried_through() -> None:
    model = _parse("g (float[2] x) => (float[2] y) { y = com.acme.Op <k = 3> (x) }")
    program = load(model)
    require_valid(program)
    assert program.graph[0].domain == "com.acme"
    assert program.model.opset_imports["com.acme"] == 1


@pytest.mark.parametrize("function_opset", [17, 16])
def test_functions_are_inlined(function_opset: int, assert_same: Any, feed: Any) -> None:
    model = _parse(
        """g (float[N,4] x) => (float[N,4] y) { a = local.Twice (x)  y = local.Twice (a) }
        <domain: "local", opset_import: ["" : OPSET]>
        Twice (X) => (Y) { t = Add (X, X)  Y = Relu (t) }""".replace("OPSET", str(function_opset)),
        'ir_version: 8, opset_import: ["" : 17, "local" : 1]',
    )
    program = load(model)
    assert [node.op_type for node in program.graph] == ["Add", "Relu"] * 2
    assert not program.model.functions
    assert_same(model, program, feed)


def test_outputs_that_are_inputs_or_weights(assert_same: Any) -> None:
    model = _parse(
        """g (float[2] x) => (float[2] x, float[2] w, float[2] y) <float[2] w = {1, 2}> {
        y = Add (x, w) }"""
    )
    program = load(model)
    assert program.signature.output_names == ("x", "w", "y")
    assert_same(model, program, {"x": np.array([3, 4], np.float32)})


def test_omitted_optional_outputs_stay_omitted(assert_same: Any, rng: np.random.Generator) -> None:
    model = _parse(
        """g (float[5,1,3] x) => (float[1,1,2] h) <float[1,8,3] w, float[1,8,2] r> {
        , h = LSTM <hidden_size = 2> (x, w, r) }"""
    )
    _weight(model, "w", rng.standard_normal((1, 8, 3)).astype(np.float32))
    _weight(model, "r", rng.standard_normal((1, 8, 2)).astype(np.float32))
    program = load(model)
    assert not program.graph[0].outputs[0].name
    assert_same(model, program, {"x": rng.standard_normal((5, 1, 3)).astype(np.float32)})


def test_quantized_models_are_kept_bit_for_bit(assert_same: Any) -> None:
    model = _parse(
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.03}, int8 z = {3}> {
        [q] q = QuantizeLinear (x, s, z)  [d] y = DequantizeLinear (q, s, z) }"""
    )
    program = load(model)
    assert [(node.op_type, node.name) for node in program.graph] == [
        ("QuantizeLinear", "q"),
        ("DequantizeLinear", "d"),
    ]
    scale = program.graph.initializers["s"].const_value
    assert scale is not None
    assert scale.numpy().tobytes() == np.float32(0.03).tobytes()
    x = np.linspace(-5, 5, 6, dtype=np.float32).reshape(2, 3)
    assert_same(model, program, {"x": x})


def test_half_precision_clip_gets_half_bounds(run: Any) -> None:
    model = _parse(
        "g (float16[4] x) => (float16[4] y) { y = Clip <min = -0.5, max = 0.5> (x) }",
        'ir_version: 5, opset_import: ["" : 10]',
    )
    x = np.array([-1, -0.25, 0.25, 1], np.float16)
    found = run(load(model), {"x": x})[0]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, np.clip(x, -0.5, 0.5))


def _external(folder: Path, rows: int = 64) -> Path:
    """A model whose weight lies in `w.bin`."""
    model = _parse(f"g (float[N,{rows}] x) => (float[N,4] y) {{ y = MatMul (x, w) }}")
    array = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    (folder / "w.bin").write_bytes(array.tobytes())
    tensor = TensorProto(name="w", data_type=FLOAT, dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", 0), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    model.graph.initializer.append(tensor)
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def test_external_data_stays_mapped(tmp_path: Path) -> None:
    program = load(_external(tmp_path))
    tensor = program.graph.initializers["w"].const_value
    assert isinstance(tensor, ir.ExternalTensor)
    wanted = np.arange(256, dtype=np.float32).reshape(64, 4)
    np.testing.assert_array_equal(tensor.numpy(), wanted)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_broken_external_data(tmp_path: Path, damage: str) -> None:
    path = _external(tmp_path)
    if damage == "missing":
        (tmp_path / "w.bin").unlink()
    else:
        (tmp_path / "w.bin").write_bytes(b"1234")
    with pytest.raises(UnreadableModelError, match=r"w\.bin"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "no graph"),
        (b"this is no model\n" * 9, "cannot read the model"),
        (b"\x08\x07\x12", "cannot read the model"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableModelError, match=message):
        load(str(path))


def test_a_truncated_file(tmp_path: Path, dense: onnx.ModelProto) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(dense.SerializeToString()[:-7])
    with pytest.raises(UnreadableModelError):
        load(path)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModelError, match="folder"):
        load(tmp_path)


def test_a_value_that_nothing_produces() -> None:
    with pytest.raises(UnreadableModelError, match="'w' is read but nothing produces it"):
        load(_parse("g (float[2] x) => (float[2] y) { y = Add (x, w) }"))


def test_a_doubly_produced_value() -> None:
    with pytest.raises(UnreadableModelError, match="redeclared"):
        load(_parse("g (float[2] x) => (float[2] y) { y = Relu (x)  y = Neg (x) }"))


def test_something_else() -> None:
    with pytest.raises(ConfigurationError, match="type int"):
        load(3)


def test_shapes_that_lie_are_computed_anew(feed: dict[str, np.ndarray[Any, Any]]) -> None:
    model = _parse("g (float[N, 4] x) => (float[N, 4] y) { h = Relu (x)  y = Neg (h) }")
    stale = helper.make_tensor_value_info("h", FLOAT, [1, 4])
    model.graph.value_info.append(stale)
    program = load(model)
    (hidden,) = (v for n in all_nodes(program.model) for v in n.outputs if v.name == "h")
    assert hidden.shape is not None
    assert str(hidden.shape[0]) == "N"
    assert any("computed anew" in text for text in program.provenance.warnings)


def test_shapes_that_inference_does_not_know_are_believed() -> None:
    text = "g (float[N, 4] x, int64[2] s) => (float[a, b] y) { h = Reshape (x, s)  y = Neg (h) }"
    model = _parse(text)
    model.graph.value_info.append(helper.make_tensor_value_info("h", FLOAT, ["N", 4]))
    program = load(model)
    (hidden,) = (v for n in all_nodes(program.model) for v in n.outputs if v.name == "h")
    assert hidden.shape is not None
    assert [str(dim) for dim in hidden.shape] == ["N", "4"]
    assert not program.provenance.warnings


@pytest.mark.parametrize("name", ["x" * 300, "a\0b.onnx", "none.onnx", "."])
def test_whatever_a_path_is_the_error_is_ours(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableModelError, match="cannot read the model"):
        load(str(tmp_path / name))


@pytest.mark.parametrize("ir_version", [3, 4, 10])
def test_a_default_that_becomes_a_constant_is_told(ir_version: int, dense: onnx.ModelProto) -> None:
    """IR version 3 had to list every weight: nothing is lost there."""
    dense.ir_version = ir_version
    dense.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [4, 2]))
    program = load(dense)
    assert program.signature.input_names == ("x",)
    told = program.provenance.warnings
    assert ["compiled in: 'w'" in text for text in told] == ([] if ir_version == 3 else [True])


def test_a_written_shape_of_a_stored_weight_counts_for_nothing() -> None:
    """ONNX Runtime takes the tensor's own."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[n,4] x) => (float[n,2] y) <float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}>
        { y = MatMul(x, w) }"""
    )
    del model.graph.value_info[:]
    model.graph.value_info.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1]))
    program = load(model)
    require_valid(program, "loaded")
    weight = program.graph.initializers["w"]
    assert weight.shape is not None
    assert list(weight.shape) == [4, 2]
