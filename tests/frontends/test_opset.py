"""Every operator that changed between opsets 7 and 25 computes the same at the working opset."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qcompiler.errors import UnsupportedOpsetError
from qcompiler.frontends import load
from qcompiler.frontends.opset import to_working_opset
from qcompiler.ir.program import WORKING_OPSET, Program, Provenance
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.signature import signature_of
from qcompiler.ir.verifier import require_valid, verify

X = ("x", TensorProto.FLOAT, [2, 4, 6, 6])


def _model(text: str, opset: int, ir_version: int = 8, imports: str = "") -> onnx.ModelProto:
    head = f'<ir_version: {ir_version}, opset_import: ["" : {opset}{imports}]>\n'
    return onnx.parser.parse_model(head + text)


# (name, opset, graph text); the input is x float[2,4,6,6] everywhere.
HEAD = "g (float[2,4,6,6] x) => (float[] y)"
OLD: list[tuple[str, int, str]] = [
    ("clip", 7, "{ y = Clip <min = -0.5, max = 0.25> (x) }"),
    ("clip-one-bound", 10, "{ y = Clip <min = 0.0> (x) }"),
    ("pad", 7, "{ y = Pad <pads = [0,0,1,2,0,0,3,0], value = 1.5> (x) }"),
    ("slice", 9, "{ y = Slice <starts = [1,0], ends = [3,5], axes = [1,3]> (x) }"),
    ("squeeze", 11, "{ a = Unsqueeze <axes = [1]> (x)  y = Squeeze <axes = [1]> (a) }"),
    ("unsqueeze", 11, "{ y = Unsqueeze <axes = [0, 3]> (x) }"),
    ("split", 7, "{ a, b = Split <axis = 1, split = [1, 3]> (x)  y = Concat <axis = 1> (b, a) }"),
    ("split-equal", 13, "{ a, b = Split <axis = 1> (x)  y = Sub (b, a) }"),
    ("reduce-sum", 11, "{ y = ReduceSum <axes = [2, 3], keepdims = 0> (x) }"),
    ("reduce-mean", 17, "{ y = ReduceMean <axes = [-1]> (x) }"),
    ("reduce-all", 12, "{ y = ReduceMax <keepdims = 0> (x) }"),
    ("topk", 9, "{ y, i = TopK <k = 3, axis = 3> (x) }"),
    ("softmax-2d", 11, "{ y = Softmax (x) }"),
    ("softmax-middle", 12, "{ y = LogSoftmax <axis = 2> (x) }"),
    ("softmax-last", 9, "{ y = Softmax <axis = 3> (x) }"),
    ("hardmax", 11, "{ y = Hardmax <axis = 2> (x) }"),
    ("dropout", 9, "{ a, m = Dropout <ratio = 0.3> (x)  y = Relu (a) }"),
    ("upsample-7", 7, '{ y = Upsample <mode = "nearest", scales = [1.0,1.0,2.0,3.0]> (x) }'),
    ("upsample-9", 9, '<float[4] s = {1,1,2,2}> { y = Upsample <mode = "linear"> (x, s) }'),
    ("resize-10", 10, '<float[4] s = {1,1,2.5,1.5}> { y = Resize <mode = "nearest"> (x, s) }'),
    ("resize-10-down", 10, '<float[4] s = {1,1,0.6,0.5}> { y = Resize <mode = "nearest"> (x, s) }'),
    ("resize-10-linear", 10, '<float[4] s = {1,1,0.6,2}> { y = Resize <mode = "linear"> (x, s) }'),
]


@pytest.mark.parametrize(("opset", "body"), [row[1:] for row in OLD], ids=[row[0] for row in OLD])
def test_old_forms_compute_the_same(
    opset: int, body: str, assert_same: Any, rng: np.random.Generator
) -> None:
    source = _model(f"{HEAD} {body}", opset)
    _drop_output_shape(source)
    program = load(source)
    assert program.model.opset_imports[""] == WORKING_OPSET
    assert program.provenance.opset == opset
    feed = {"x": rng.standard_normal((2, 4, 6, 6)).astype(np.float32)}
    assert_same(source, program, feed)


def test_an_adapter_needs_no_shape(assert_same: Any, rng: np.random.Generator) -> None:
    """Rank and type of `a` are hidden behind an op that inference does not know."""
    body = """<int64[1] axes = {0}> {
        s = Shape (x)  r = Reshape (x, s)
        y = Softmax <axis = 2> (r) }"""
    source = _model(f"{HEAD} {body}", 11)
    _drop_output_shape(source)
    for value in source.graph.input:
        value.type.tensor_type.ClearField("shape")
    program = load(source)
    assert_same(source, program, {"x": rng.standard_normal((2, 4, 6, 6)).astype(np.float32)})


def _drop_output_shape(model: onnx.ModelProto) -> None:
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


@pytest.mark.parametrize(
    ("opset", "spatial"), [(7, None), (7, 1), (8, None), (8, 1), (9, None), (13, None), (14, None)]
)
def test_batch_normalization(
    opset: int, spatial: int | None, assert_same: Any, rng: np.random.Generator
) -> None:
    options: dict[str, Any] = {} if spatial is None else {"spatial": spatial}
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], **options)
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, [4], np.abs(rng.standard_normal(4)) + 0.5)
        for name in "sbmv"
    ]
    source = _one_node(node, opset, weights)
    program = load(source)
    assert_same(source, program, {"x": rng.standard_normal((2, 4, 6, 6)).astype(np.float32)})


def test_batch_normalization_per_element(run: Any, rng: np.random.Generator) -> None:
    """`spatial = 0` normalises every element with its own mean (numpy is the oracle)."""
    names, shape = "sbmv", (4, 6, 6)
    arrays = {n: (np.abs(rng.standard_normal(shape)) + 0.5).astype(np.float32) for n in names}
    weights = [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()]
    node = helper.make_node("BatchNormalization", ["x", *names], ["y"], spatial=0)
    program = load(_one_node(node, 7, weights))
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    deviation = np.sqrt(arrays["v"] + np.float32(1e-5))
    wanted = (x - arrays["m"]) / deviation * arrays["s"] + arrays["b"]
    np.testing.assert_allclose(run(program, {"x": x})[0], wanted, rtol=1e-5, atol=1e-5)


def test_unused_batch_statistics_are_dropped(assert_same: Any, rng: np.random.Generator) -> None:
    outputs = ["y", "mean", "var", "saved_mean", "saved_var"]
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], outputs)
    weights = [helper.make_tensor(n, TensorProto.FLOAT, [4], [0.5] * 4) for n in "sbmv"]
    program = load(_one_node(node, 9, weights))
    plain = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
    source = _one_node(plain, 9, weights)
    assert_same(source, program, {"x": rng.standard_normal((2, 4, 6, 6)).astype(np.float32)})


def test_batch_normalization_in_training_is_refused() -> None:
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["z", "mean"])
    weights = [helper.make_tensor(n, TensorProto.FLOAT, [4], [0.5] * 4) for n in "sbmv"]
    source = _one_node(node, 9, weights)
    source.graph.node.append(helper.make_node("Identity", ["mean"], ["y"]))
    with pytest.raises(UnsupportedOpsetError, match="training"):
        load(source)


def _reference(model: onnx.ModelProto, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    outputs: Any = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    found: np.ndarray[Any, Any] = outputs[0]
    return found


def _one_node(node: onnx.NodeProto, opset: int, weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info(*X)], [y], weights)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def test_group_normalization_gets_channel_scales(run: Any, rng: np.random.Generator) -> None:
    """Opset 18 scales per group; numpy is the oracle."""
    scale, bias = rng.standard_normal((2, 2)).astype(np.float32)
    weights = [onnx.numpy_helper.from_array(a, n) for n, a in (("s", scale), ("b", bias))]
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)
    program = load(_one_node(node, 18, weights))
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    grouped = x.reshape(2, 2, -1).astype(np.float64)
    mean, variance = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
    wanted = (grouped - mean) / np.sqrt(variance + 1e-5) * scale[:, None] + bias[:, None]
    found = run(program, {"x": x})[0]
    np.testing.assert_allclose(found, wanted.reshape(x.shape), rtol=0, atol=1e-5)


def test_bodies_are_converted_too(assert_same: Any, rng: np.random.Generator) -> None:
    text = """g (float[2,4,6,6] x, bool c) => (float[] y) {
        y = If (c) <
            then_branch = t () => (float[] a) { a = Clip <min = 0.0, max = 0.5> (x) },
            else_branch = e () => (float[] b)
                { b = Pad <pads = [0,0,1,0,0,0,-1,0], value = 2.0> (x) }>
    }"""
    source = _model(text, 10)
    for body in [source.graph, *(a.g for a in source.graph.node[0].attribute)]:
        for value in body.output:
            value.type.tensor_type.ClearField("shape")
    program = load(source)
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    for condition in (True, False):
        assert_same(source, program, {"x": x, "c": np.array(condition)})


def test_t15_per_channel_dequantize_is_legal_after_an_opset_10_source(
    run: Any, rng: np.random.Generator
) -> None:
    """T15: per-channel DequantizeLinear needs 13, the source says 10."""
    text = "g (float[1,4] x) => (float[1,3] y) <float[4,3] w> { y = MatMul (x, w) }"
    q = rng.integers(-127, 128, (4, 3)).astype(np.int8)
    scale = np.array([0.1, 0.2, 0.3], np.float32)
    source = _model(text, 10)
    source.graph.initializer.append(onnx.numpy_helper.from_array(q * scale, "w"))
    del source.graph.value_info[:]
    program = load(source)
    rewriter = Rewriter(program)
    steps = [rewriter.constant(q, "w_q"), rewriter.constant(scale, "w_scale")]
    matmul = program.graph[0]
    weight = rewriter.insert(
        "DequantizeLinear", steps, before=matmul, attributes={"axis": 1}
    ).outputs[0]
    rewriter.set_input(matmul, 1, weight)
    require_valid(program)
    x = rng.standard_normal((1, 4)).astype(np.float32)
    np.testing.assert_allclose(run(program, {"x": x})[0], x @ (q * scale), rtol=1e-5, atol=1e-5)

    program.model.opset_imports[""] = 10  # what the source said
    assert any("axis" in found.message for found in verify(program))


@pytest.mark.parametrize("opset", [22, 23, 24, 25])
def test_newer_opsets_come_down(
    opset: int, run: Any, rng: np.random.Generator, needs_opset: Any
) -> None:
    """onnx.reference runs the source: ONNX Runtime may not know its opset."""
    needs_opset(opset)
    body = """<int64[4] p = {1,1,1,1}, int64[2] axes = {2,3}> {
        a = Relu (x)  b = Pad (a, p, , axes)  y = MaxPool <kernel_shape = [2,2]> (b) }"""
    source = _model(f"{HEAD} {body}", opset, ir_version=10)
    _drop_output_shape(source)
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    wanted = _reference(source, x)
    program = load(source)
    assert program.model.opset_imports[""] == WORKING_OPSET
    np.testing.assert_allclose(run(program, {"x": x})[0], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("opset", "body"),
    [
        (24, "{ y = Swish (x) }"),
        (24, "{ y = Swish <alpha = 1.7> (x) }"),
        (23, "<float[6] w = {1,2,3,4,5,6}> { y = RMSNormalization (x, w) }"),
        (23, "<float[6] w = {1,2,3,4,5,6}> { y = RMSNormalization <axis = 2> (x, w) }"),
    ],
)
def test_newer_ops_are_spelt_out(
    opset: int, body: str, run: Any, rng: np.random.Generator, needs_opset: Any
) -> None:
    needs_opset(opset)
    source = _model(f"{HEAD} {body}", opset, ir_version=10)
    _drop_output_shape(source)
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    wanted = _reference(source, x)
    np.testing.assert_allclose(run(load(source), {"x": x})[0], wanted, rtol=1e-5, atol=1e-5)


def test_an_op_without_an_older_form_is_named(needs_opset: Any) -> None:
    needs_opset(26)
    text = "g (float[4] x, int64 axis) => (float[4] y) { [prod] y = CumProd (x, axis) }"
    with pytest.raises(UnsupportedOpsetError, match=r"CumProd .*opset 26") as caught:
        load(_model(text, 26, ir_version=10))
    assert "prod" in str(caught.value)


@pytest.mark.parametrize("opset", [4, 5, 29])
def test_opsets_outside_are_refused(opset: int) -> None:
    with pytest.raises(UnsupportedOpsetError, match=f"opset {opset}"):
        load(_model("g (float[2] x) => (float[2] y) { y = Relu (x) }", opset))


def test_an_opset_that_the_installed_onnx_does_not_know_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What changed in it is unknown, so no op of the model can be trusted to mean what it did."""
    text = "g (float[2] x) => (float[2] y) { y = Relu (x) }"
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 22)
    load(_model(text, 22, ir_version=10))
    with pytest.raises(UnsupportedOpsetError, match=r"opset 23 is newer than the installed onnx"):
        load(_model(text, 23, ir_version=10))


def test_a_scan_with_a_batch_is_refused() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "i"], ["o"])],
        "body",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "si"],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [3])],
    )
    node = helper.make_node("Scan", ["", "x", "x"], ["y"], body=body, num_scan_inputs=1)
    with pytest.raises(UnsupportedOpsetError, match="Scan"):
        load(_one_node(node, 8, []))


def test_a_clones_types_are_its_own() -> None:
    """onnx-ir clones share type objects, so an adapter must not write into one."""
    graph = """g (float[2,3] x) => (float[2,3] y) <float[2,3] m>
    { d, m = Dropout <ratio = 0.0> (x)  y = Mul (d, m) }"""
    model = ir.from_proto(_model(graph, 7))
    (mask,) = [value for node in model.graph for value in node.outputs if value.name == "m"]
    mask.type = ir.TensorType(ir.DataType.FLOAT)
    copy = Program(model.clone(), signature_of(model), Provenance("text"))
    to_working_opset(copy)
    changed = [value for node in copy.graph for value in node.outputs if value.name == "m"]
    assert changed[0].dtype is ir.DataType.BOOL
    assert mask.dtype is ir.DataType.FLOAT


@pytest.mark.parametrize("scales", ["e", "computed"])
def test_an_empty_tensor_in_place_of_scales_is_dropped(scales: str, run: Any) -> None:
    source = _model(
        f"""g (float[1, 1, 2, 2] x) => (float[1, 1, 4, 4] y)
        <float[0] e = {{}}, int64[4] sizes = {{1, 1, 4, 4}}> {{
            computed = Concat <axis = 0> (e, e)
            y = Resize <mode = "nearest"> (x, e, {scales}, sizes) }}""",
        11,
    )
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    wanted = np.kron(x[0, 0], np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(run(load(source), {"x": x})[0][0, 0], wanted)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow"])
@pytest.mark.parametrize(("axis", "shape"), [(1, "3, 4"), (0, "2"), (2, "4, 5"), (-1, "5")])
def test_broadcasting_along_an_axis_of_opset_6(op: str, axis: int, shape: str, run: Any) -> None:
    source = _model(
        f"""g (float[2, 3, 4, 5] x, float[{shape}] b) => (float[2, 3, 4, 5] y)
        {{ y = {op} <axis = {axis}, broadcast = 1> (x, b) }}""",
        6,
    )
    sizes = [int(size) for size in shape.split(",")]
    rng = np.random.default_rng(0)
    x = rng.random((2, 3, 4, 5)).astype(np.float32) + 1
    b = rng.random(sizes).astype(np.float32) + 1
    behind = 4 - axis % 4 - len(sizes)
    numpy_op = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
    wanted = numpy_op.get(op, np.power)(x, b.reshape(*sizes, *[1] * behind))
    np.testing.assert_allclose(run(load(source), {"x": x, "b": b})[0], wanted, rtol=1e-5)


def test_slopes_of_opset_6_belong_to_channels(run: Any) -> None:
    source = _model(
        "g (float[1, 2, 2, 2] x, float[2] s) => (float[1, 2, 2, 2] y) { y = PRelu (x, s) }", 6
    )
    x, slopes = -np.ones((1, 2, 2, 2), np.float32), np.array([2, 3], np.float32)
    wanted = x * slopes.reshape(2, 1, 1)
    np.testing.assert_array_equal(run(load(source), {"x": x, "s": slopes})[0], wanted)
