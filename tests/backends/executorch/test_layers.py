"""Every row of the table against the integer reference and against XNNPACK's own kernel names."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

import qcompiler as qc
from qcompiler.backends.executorch.artifact import ExecuTorchArtifact
from qcompiler.backends.executorch.costs import kind_of
from qcompiler.backends.executorch.runtime import available
from qcompiler.backends.executorch.target import ExecuTorch
from qcompiler.compiled import Compiled
from qcompiler.execution.verifying import verify_artifact
from qcompiler.ir.text import from_text

pytestmark = pytest.mark.skipif(
    not available(), reason="executorch is not installed: see docs/executorch.md"
)

LAYERS = """
layers (float[N,8,12,12] x) => (float[N,8,24,24] up, float[N,5] y)
<float[16,8,3,3] w0, float[16] b0, float[16,1,3,3] w1, float[16] b1, float[8,4,1,1] w2,
 float[8,8,2,2] w3, float[8,8,3,3] w4, float[5,8] w5, float[5] b5,
 float low, float high>
{
   [plain] c0 = Conv<pads: ints = [1,1,1,1]>(x, w0, b0)
   [relu] r0 = Relu(c0)
   [depthwise] c1 = Conv<pads: ints = [1,1,1,1], group: int = 16>(r0, w1, b1)
   [clip] r1 = Clip(c1, low, high)
   [grouped] c2 = Conv<group: int = 4>(r1, w2)
   [twice] d = Add(c2, x)
   [difference] e = Sub(d, c2)
   [product] f = Mul(e, d)
   [uneven] c4 = Conv<pads: ints = [0,1,2,1]>(f, w4)
   [up] up = ConvTranspose<strides: ints = [2,2]>(c4, w3)
   [pool] p = MaxPool<kernel_shape: ints = [3,3], strides: ints = [2,2], pads: ints = [1,1,1,1]>(c4)
   [mean] g = GlobalAveragePool(p)
   [flat] h = Flatten(g)
   [head] y = Gemm<transB: int = 1>(h, w5, b5)
}
"""
PRODUCTS = """
products (float[N,6,16] x) => (float[N,6,4] y)
<float[16,8] w0, float[8] b0, float[8,4] w1>
{
   [inner] a = MatMul(x, w0)
   [bias] b = Add(a, b0)
   [act] c = Relu(b)
   [outer] y = MatMul(c, w1)
}
"""


def feeds_of(shape: tuple[int, ...], count: int = 3) -> list[dict[str, Any]]:
    return [
        {"x": np.random.default_rng(i).normal(0, 1, shape).astype(np.float32)} for i in range(count)
    ]


def build(text: str, feeds: list[dict[str, Any]], scheme: str = "int8") -> Compiled:
    program = from_text(text)
    for name, bound in (("low", -0.5), ("high", 0.75)):
        if name in program.graph.initializers:
            program.graph.initializers[name].const_value = ir.Tensor(np.float32(bound))
    return qc.compile(program, ExecuTorch(), feeds, scheme=scheme, recipe="fast", progress=False)


@pytest.fixture(scope="module")
def layers() -> Compiled:
    return build(LAYERS, feeds_of((2, 8, 12, 12)))


def test_every_row_runs_in_integers(layers: Compiled) -> None:
    assert dict(layers.kernels.missed) == {}
    wanted = "plain depthwise grouped twice difference product uneven up pool mean head"
    assert set(layers.kernels.integer) == set(wanted.split())
    assert not any(op.startswith("float") for op in layers.kernels.ops if "pad" not in op)


def test_the_count_is_that_of_xnnpacks_own_kernel_names(layers: Compiled) -> None:
    """QC8 in a name means int8 weights per channel, F32 float."""
    pytest.importorskip("pandas")  # ExecuTorch's reader of traces imports it
    artifact = layers.artifact
    assert isinstance(artifact, ExecuTorchArtifact)
    names = [each.name for each in artifact.session.trace(feeds_of((2, 8, 12, 12), 1), 0.0)]
    products = [name for name in names if kind_of(name) == "product"]
    assert len(products) == 6
    assert all("QC8" in name and "F32" not in name for name in products)
    assert Counter(map(kind_of, names))["add"] == 1


def test_integers_are_those_of_the_reference(layers: Compiled) -> None:
    found = layers.verify(feeds_of((3, 8, 12, 12), 1))
    assert found.ok, found.text()
    assert len(found.checked) >= 10, found.text()


@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_sums_are_fixed_point(op: str) -> None:
    """All 65 536 pairs; ONNX Runtime's rule differs by a step in 177 of these sums."""
    ends = {"x": (-1.5089, 2.6795), "z": (-2.8087, 1.1376)}
    rows, columns = (np.linspace(*ends[name], 256, dtype=np.float32) for name in "xz")
    shape = (1, 1, 256, 256)
    feed = {"x": rows.repeat(256).reshape(shape), "z": np.tile(columns, 256).reshape(shape)}
    dims = "float[1,1,256,256]"
    text = f"sums ({dims} x, {dims} z) => ({dims} y) {{ [sum] y = {op}(x, z) }}"
    compiled = build(text, [feed])
    (check,) = compiled.verify([feed]).checked
    assert dict(check.lsb) == {0: 65536}


def test_another_weight_in_the_reference_is_found(layers: Compiled) -> None:
    """Negative control: the comparison sees a program that is not the one that runs."""
    other = layers.program.clone()
    stored = next(v for v in other.graph.initializers.values() if _is_weight(v))
    assert stored.const_value is not None
    stored.const_value = ir.Tensor((stored.const_value.numpy() // 2).astype(np.int8))
    feeds = feeds_of((1, 8, 12, 12), 1)
    found = verify_artifact(other, layers.target, layers.artifact, feeds)
    assert [each.region for each in found.failed] == ["plain"]


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and tensor.dtype == ir.DataType.INT8 and tuple(tensor.shape) == (
        16, 8, 3, 3,
    )  # fmt: skip


def test_products_with_a_bias_behind_them_are_one_layer() -> None:
    compiled = build(PRODUCTS, feeds_of((4, 6, 16)))
    assert set(compiled.kernels.integer) == {"inner", "outer"}
    assert compiled.kernels.ops["int8 linear"] == 2
    assert "float add" not in compiled.kernels.ops
    found = compiled.verify()
    assert found.ok, found.text()


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1, 1, 4)])
def test_an_add_behind_a_product_may_give_it_axes(shape: tuple[int, ...]) -> None:
    """Oracle: numpy's broadcasting."""
    text = """g (float[2,3] x) => (float y) <float[3,4] w, float[4] b> {
      p = MatMul(x, w)  y = Add(p, b) }""".replace("float[4] b", f"float{list(shape)} b")
    program = from_text(text)
    stored = {v.name: v.const_value.numpy() for v in program.graph.initializers.values()
              if v.const_value is not None}  # fmt: skip
    x = feeds_of((2, 3), 1)[0]["x"]
    from qcompiler.backends.executorch.graph import edge_module

    (found,) = edge_module(program.model)(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), x @ stored["w"] + stored["b"], rtol=1e-5)
    assert found.ndim == max(2, len(shape))


def test_what_xnnpack_has_no_integer_kernel_for_is_not_counted() -> None:
    """A sigmoid between two integer layers has Q/DQ on both sides, and runs in float."""
    text = PRODUCTS.replace("[act] c = Relu(b)", "[act] c = Sigmoid(b)")
    compiled = build(text, feeds_of((4, 6, 16)))
    assert compiled.kernels.ops["float sigmoid"] == 1
    assert "int8 sigmoid" not in compiled.kernels.ops


def test_dynamic_products_quantize_every_row_by_itself() -> None:
    """Oracle: numpy, rows of 8 bits over [min, max] with 0 in it, weights as stored."""
    feeds = feeds_of((4, 6, 16))
    compiled = build(PRODUCTS, feeds, scheme="dynamic")
    assert set(compiled.kernels.integer) == {"inner", "outer"}
    assert compiled.kernels.ops["int8-dynamic linear"] == 2
    (found,) = compiled.run(feeds[0])
    stored = {v.name: v.const_value.numpy() for v in compiled.program.graph.initializers.values()
              if v.const_value is not None}  # fmt: skip
    weights = [stored[f"{w}_quantized"] * stored[f"{w}_scale"] for w in ("w0", "w1")]
    hidden = np.maximum(_rows(feeds[0]["x"]) @ weights[0] + stored["b0"], 0)
    wanted = _rows(hidden.astype(np.float32)) @ weights[1]
    noise = np.square(found - wanted).sum() / np.square(wanted).sum()
    exact = np.maximum(feeds[0]["x"] @ weights[0] + stored["b0"], 0) @ weights[1]
    assert noise < 1e-5  # a step here and there where rounding meets a tie
    assert noise < 0.2 * np.square(found - exact).sum() / np.square(exact).sum()


def _rows(x: Any) -> Any:
    low, high = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    scale = (high - low) / 255
    zero = np.rint(-128 - low / scale)
    return (np.clip(np.rint(x / scale) + zero, -128, 127) - zero) * scale
