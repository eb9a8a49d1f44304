"""OrtSession against numpy and a plain onnxruntime session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper

from qcompiler.errors import FeedError, LoweringError
from qcompiler.execution.packing import pack
from qcompiler.execution.session import OrtSession

Array = npt.NDArray[Any]
TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 32] x, int64[n] k) => (float[n, 16] y) <float[32, 16] w>
{ z = MatMul(x, w)  f = Cast<to = 1>(k)  a = Constant<value_ints = [1]>()
  u = Unsqueeze(f, a)  s = Add(z, u)  y = Relu(s) }"""


@pytest.fixture
def weight(rng: np.random.Generator) -> Array:
    return rng.standard_normal((32, 16), dtype=np.float32)


@pytest.fixture
def proto(weight: Array) -> onnx.ModelProto:
    model = onnx.parser.parse_model(TEXT)
    del model.graph.initializer[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return model


@pytest.fixture
def model(proto: onnx.ModelProto, weight: Array) -> ir.Model:
    model = ir.from_proto(proto)
    model.graph.initializers["w"].const_value = ir.Tensor(weight, name="w")
    return model


@pytest.fixture
def feed(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.standard_normal((3, 32), dtype=np.float32), "k": np.arange(3)}


def test_same_outputs_as_plain_onnxruntime(
    model: ir.Model, proto: onnx.ModelProto, feed: dict[str, Array], tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    plain = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = plain.run(None, feed)[0]
    for source in (model, proto.SerializeToString(), path, pack(model)):
        assert np.array_equal(OrtSession(source).run(feed)[0], expected)


def test_extra_outputs_and_names(model: ir.Model, weight: Array, feed: dict[str, Array]) -> None:
    session = OrtSession(model, extra_outputs=["z"])
    assert session.output_names == ("y", "z")
    outputs = session.run_named(feed, ["z"])
    assert set(outputs) == {"z"}
    # 32 products in float32: error below 32 * eps * sum of |products|.
    bound = 32 * 2**-23 * (np.abs(feed["x"]) @ np.abs(weight))
    assert np.all(np.abs(outputs["z"] - feed["x"] @ weight) <= bound)


def test_weights_are_read_in_place(model: ir.Model) -> None:
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    packed = pack(model)
    assert np.shares_memory(packed.weights["w"], tensor.numpy())
    assert len(packed.graph) < packed.weights["w"].nbytes
    assert model.graph.initializers["w"].const_value is tensor


def test_memory_mapped_weights_are_not_copied(proto: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    model = ir.load(tmp_path / "m.onnx")
    packed = pack(model)
    base = packed.weights["w"]
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        assert base.base is not None
        base = base.base
    assert base is not None
    assert OrtSession(packed).output_names == ("y",)


def test_positional_feeds_and_float64(model: ir.Model, feed: dict[str, Array]) -> None:
    session = OrtSession(model)
    expected = session.run(feed)[0]
    assert np.array_equal(session.run((feed["x"].astype(np.float64), feed["k"]))[0], expected)


def test_torch_tensors(model: ir.Model, feed: dict[str, Array]) -> None:
    torch = pytest.importorskip("torch")
    session = OrtSession(model)
    tensors = {name: torch.from_numpy(array) for name, array in feed.items()}
    tensors["x"].requires_grad_()
    assert np.array_equal(session.run(tensors)[0], session.run(feed)[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: {"x": f["x"]}, ["missing k"]),
        (lambda f: f | {"q": f["x"]}, ["unknown q"]),
        (lambda f: f | {"k": f["k"].astype(np.int32)}, ["'k'", "int32", "numpy.int64"]),
        (lambda f: f | {"x": f["x"].astype(np.float16)}, ["'x'", "float16", "float32"]),
        (lambda f: f | {"x": f["x"][0]}, ["'x'", "rank"]),
        (lambda f: f | {"x": f["x"][:, :5]}, ["[3, 5]", "[n, 32]"]),
        (lambda f: f["x"], ["1 arrays", "2 inputs"]),
    ],
)
def test_wrong_feeds_are_named(
    model: ir.Model, feed: dict[str, Array], change: object, words: list[str]
) -> None:
    assert callable(change)
    with pytest.raises(FeedError) as caught:
        OrtSession(model).run(change(feed))
    assert all(word in str(caught.value) for word in words)


def test_refused_model_is_a_lowering_error() -> None:
    node = helper.make_node("NoSuchOp", ["x"], ["y"])
    info = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [info("x", 1, [1])], [info("y", 1, [1])])
    bad = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(LoweringError, match="NoSuchOp"):
        OrtSession(bad.SerializeToString())
    with pytest.raises(LoweringError, match="cannot load"):
        OrtSession(b"no model")


def test_failure_while_running_is_a_lowering_error(
    model: ir.Model, rng: np.random.Generator
) -> None:
    feed = {"x": rng.standard_normal((3, 32), dtype=np.float32), "k": np.arange(2)}
    with pytest.raises(LoweringError, match="failed to run"):
        OrtSession(model).run(feed)


def test_optimized_model_is_what_runs(model: ir.Model, weight: Array) -> None:
    optimized = OrtSession(model).optimized_model().graph
    plain = OrtSession(model, optimize=False).optimized_model().graph
    assert {"MatMul", "Add", "Relu"} <= {node.op_type for node in plain}
    assert "FusedGemm" in {node.op_type for node in optimized}  # MatMul + Add + Relu
    assert len(optimized) < len(plain)
    tensors = [value.const_value for value in optimized.initializers.values()]
    assert any(np.array_equal(each.numpy(), weight) for each in tensors if each is not None)


def test_profile_times_every_kernel(model: ir.Model, feed: dict[str, Array]) -> None:
    session = OrtSession(model)
    times = session.profile([feed] * 3)
    ran = session.optimized_model().graph
    assert sorted(each.op for each in times) == sorted(node.op_type for node in ran)
    assert all(0 < each.seconds < 10 for each in times)


def test_only_the_outputs_asked_for(model: ir.Model, feed: dict[str, Array]) -> None:
    assert len(OrtSession(model, extra_outputs=["z", "y"]).run(feed)) == 2
