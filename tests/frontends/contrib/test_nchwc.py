"""Layouts in blocks of channels taken apart, against the plain network on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.errors import UnreadableModelError
from qcompiler.frontends import load, onnx_file
from qcompiler.frontends.contrib import blocks
from qcompiler.frontends.contrib.blocks import DOMAIN, machine_block
from qcompiler.ir.walk import all_nodes
from qcompiler.measurement.sources import reference_of
from tests.frontends.conftest import Same
from tests.oracle import unoptimized

Array = npt.NDArray[Any]
Net = Callable[[], onnx.ModelProto]
NODE = helper.make_node
PADDED: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
NEAREST: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
RNG = np.random.default_rng(31)


def weight(*shape: int) -> Array:
    return (RNG.standard_normal(shape) / 4).astype(np.float32)


def model_of(
    nodes: list[onnx.NodeProto], dims: Sequence[int | str], weights: dict[str, Array]
) -> onnx.ModelProto:
    """From `x` to `y`."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", 20)]
    opsets += [helper.make_opsetid(d, 1) for d in (DOMAIN, "com.microsoft")]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def plain_chain() -> onnx.ModelProto:
    """20 channels, which fill no block; activations with and without parameters; pools."""
    nodes = [
        NODE("Conv", ["x", "w", "b"], ["a"], **PADDED),
        NODE("Relu", ["a"], ["a1"]),
        NODE("Conv", ["a1", "v"], ["c"], **PADDED),
        NODE("HardSwish", ["c"], ["c1"]),
        NODE("MaxPool", ["c1"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        NODE("Conv", ["p", "u"], ["d"]),
        NODE("LeakyRelu", ["d"], ["d1"], alpha=0.2),
        NODE("GlobalAveragePool", ["d1"], ["y"]),
    ]
    weights = {"w": weight(20, 3, 3, 3), "b": weight(20), "v": weight(32, 20, 3, 3)}
    return model_of(nodes, ["n", 3, 8, 8], weights | {"u": weight(20, 32, 1, 1)})


def plain_joins() -> onnx.ModelProto:
    """A sum that is fused, products, a Concat, a norm, both ways to resize, channels last."""
    nodes = [
        NODE("Conv", ["x", "w", "b"], ["a"], **PADDED),
        NODE("Relu", ["a"], ["r"]),
        NODE("Conv", ["r", "v"], ["c"], **PADDED),
        NODE("Add", ["c", "r"], ["s"]),
        NODE("Sigmoid", ["s"], ["g"]),
        NODE("Mul", ["g", "r"], ["m"]),
        NODE("Concat", ["m", "r"], ["j"], axis=1),
        NODE("BatchNormalization", ["j", "gamma", "beta", "mean", "var"], ["n1"]),
        NODE("Resize", ["n1", "", "twice"], ["up"], **NEAREST),
        NODE("Resize", ["up", "", "twice"], ["up2"], mode="linear"),
        NODE("Transpose", ["up2"], ["y"], perm=[0, 2, 3, 1]),
    ]
    weights = {"w": weight(32, 3, 3, 3), "b": weight(32), "v": weight(32, 32, 3, 3)}
    weights |= {name: weight(64) for name in ("gamma", "beta", "mean")}
    weights |= {"var": np.abs(weight(64)), "twice": np.array([1, 1, 2, 2], np.float32)}
    return model_of(nodes, ["n", 3, 6, 6], weights)


def plain_groups() -> onnx.ModelProto:
    """Depthwise and grouped convolutions behind channels last."""
    nodes = [
        NODE("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        NODE("Conv", ["t", "w"], ["a"], **PADDED),
        NODE("Conv", ["a", "v"], ["c"], group=32, **PADDED),
        NODE("Clip", ["c", "low", "high"], ["c1"]),
        NODE("Conv", ["c1", "u"], ["y"], group=2),
    ]
    weights = {"w": weight(32, 24, 3, 3), "v": weight(32, 1, 3, 3), "u": weight(32, 16, 1, 1)}
    weights |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    return model_of(nodes, [1, 7, 7, 24], weights)


def plain_unproven() -> onnx.ModelProto:
    """A sum of sizes that are only equal at run time, which makes blocks an axis of their own."""
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], strides=[2, 2]),
        NODE("Conv", ["x", "v"], ["c"], kernel_shape=[5, 5], strides=[2, 2], pads=[1, 1, 1, 1]),
        NODE("Add", ["a", "c"], ["s"]),
        NODE("Gelu", ["s"], ["y"]),
    ]
    return model_of(
        nodes, [1, 16, "h", "w"], {"w": weight(32, 16, 3, 3), "v": weight(32, 16, 5, 5)}
    )


def saved(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """What ONNX Runtime saves at its default level."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    options.intra_op_num_threads = 1
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    return onnx.load(path)


@pytest.mark.skipif(machine_block() is None, reason="ONNX Runtime has no blocks on this machine")
@pytest.mark.parametrize("net", [plain_chain, plain_joins, plain_groups, plain_unproven])
def test_files_of_the_default_level(net: Net, tmp_path: Path, assert_same: Same) -> None:
    model = net()
    assert any(n.domain == DOMAIN for n in saved(model, tmp_path / "saved.onnx").graph.node)
    program = load(tmp_path / "saved.onnx")
    assert not any(node.domain for node in all_nodes(program.model))
    dims = [d.dim_value or 9 for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert_same(model, program, {"x": weight(*dims)})
    had = sorted(list(w.dims) for w in model.graph.initializer if len(w.dims) == 4)
    kept = [list(w.shape) for w in program.graph.initializers.values() if w.shape is not None]
    norms = [[64, 1, 1, 1]] if net is plain_joins else []  # the norm became a convolution
    assert sorted(w for w in kept if len(w) == 4) == sorted(had + norms)  # nothing is left to fill


def blocked(size: int, middle: int) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Two convolutions 3 -> middle -> 32 in blocks of `size`, written here, and the plain ones."""
    w, b, v = weight(middle, 3, 3, 3), weight(middle), weight(32, middle, 3, 3)
    whole = -(-middle // size) * size
    wide = np.zeros((whole, 3, 3, 3), np.float32)
    wide[:middle] = w
    deep = np.zeros((32, whole, 3, 3), np.float32)
    deep[:, :middle] = v
    first, second = np.zeros_like(wide), np.zeros_like(deep)
    flat, dense = first.reshape(-1), second.reshape(-1)
    for m, c, i, j in np.ndindex(wide.shape):  # [M/B, C, h, w, B of M]
        flat[((((m // size) * 3 + c) * 3 + i) * 3 + j) * size + m % size] = wide[m, c, i, j]
    for m, c, i, j in np.ndindex(deep.shape):  # [M/B, C/B, h, w, B of C, B of M]
        at = (((m // size) * (whole // size) + c // size) * 3 + i) * 3 + j
        dense[(at * size + c % size) * size + m % size] = deep[m, c, i, j]
    bias = np.zeros(whole, np.float32)
    bias[:middle] = b
    nodes = [
        NODE("Conv", ["x", "w", "b"], ["a"], domain=DOMAIN, activation="Relu", **PADDED),
        NODE("Conv", ["a", "v"], ["c"], domain=DOMAIN, **PADDED),
        NODE("ReorderOutput", ["c"], ["y"], domain=DOMAIN, channels=32),
    ]
    plain = [
        NODE("Conv", ["x", "w", "b"], ["a"], **PADDED),
        NODE("Relu", ["a"], ["r"]),
        NODE("Conv", ["r", "v"], ["y"], **PADDED),
    ]
    stored = {"w": first, "b": bias, "v": second}
    return model_of(nodes, [1, 3, 6, 6], stored), model_of(
        plain, [1, 3, 6, 6], {"w": w, "b": b, "v": v}
    )


@pytest.mark.parametrize("own", [8, 16, None])
def test_sizes_that_the_numbers_of_channels_tell(
    own: int | None, monkeypatch: pytest.MonkeyPatch, assert_same: Same
) -> None:
    """24 channels are whole blocks of 8 alone, whatever this machine has."""
    monkeypatch.setattr(blocks, "machine_block", lambda: own)
    model, plain = blocked(8, 20)
    program = load(model)
    assert_same(plain, program, {"x": weight(1, 3, 6, 6)})


@pytest.mark.parametrize("size", [8, 16])
def test_where_any_size_fits_it_is_that_of_this_machine(
    size: int, monkeypatch: pytest.MonkeyPatch, assert_same: Same
) -> None:
    monkeypatch.setattr(blocks, "machine_block", lambda: size)
    model, plain = blocked(size, 32)
    assert_same(plain, load(model), {"x": weight(1, 3, 6, 6)})
    other, _ = blocked(24 - size, 32)  # the control: read in the wrong blocks
    with pytest.raises(AssertionError):
        assert_same(plain, load(other), {"x": weight(1, 3, 6, 6)})


def test_a_file_of_another_machine_is_judged_by_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ONNX Runtime reads blocks of this machine's size in it, or fails: it is no reference."""
    monkeypatch.setattr(onnx_file, "is_foreign", lambda size: size == 8)
    model, plain = blocked(8, 20)
    program = load(model)
    assert "another machine" in " ".join(program.provenance.warnings)
    feed = {"x": weight(1, 3, 6, 6)}
    found = reference_of(model, program).run(feed)[0]
    np.testing.assert_allclose(found, unoptimized(plain, feed)[0], atol=1e-5)


def test_what_is_not_known_of_blocks_is_refused() -> None:
    model, _ = blocked(8, 20)
    model.graph.node[1].CopyFrom(NODE("Softmax", ["a"], ["c"]))
    with pytest.raises(UnreadableModelError, match="not known to do"):
        load(model)
    model.graph.node[1].CopyFrom(NODE("Fold", ["a"], ["c"], domain=DOMAIN))
    with pytest.raises(UnreadableModelError, match="such an operator"):
        load(model)
    model, _ = blocked(8, 20)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight(20, 3, 3, 3), "w"))
    with pytest.raises(UnreadableModelError, match="fit no block"):
        load(model)
