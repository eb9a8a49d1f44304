"""Sums along leading axes become products, and stay the same sums.

The bound: n float32 terms added in any order differ from their exact sum by at most (n-1)·2⁻²⁴
times the sum of their magnitudes, to first order (Higham, Accuracy and Stability of Numerical
Algorithms, 4.2). The share and every term's product with it are rounded once more, and what is left
covers the second order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from qcompiler.backends.onnxruntime.passes.middle_reductions import ReduceByProduct
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.pipeline.contract import PassContext
from tests.oracle import HALF_PERCENT, compile_int8, noise, normal_feed, ops_of, unoptimized

Array = npt.NDArray[Any]
ULP = 2.0**-24


def rewritten(text: str) -> tuple[Any, int]:
    """The program after the pass, and how many sums it took."""
    program = from_text(text)
    report = ReduceByProduct().run(program, PassContext())
    assert [str(each) for each in verify(program)] == []
    return program, report.details["products"]


def case(
    op: str, dims: str, axes: str, out: str, attributes: str = "", dtype: str = "float"
) -> str:
    body = f"<{attributes}>" if attributes else ""
    stored = f"<int64[{axes.count(',') + 1}] a = {{{axes}}}>"
    return f"g ({dtype}[{dims}] x) => ({dtype}[{out}] y) {stored} {{ y = {op}{body}(x, a) }}"


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize(
    ("dims", "axes", "out", "attributes"),
    [
        ("1,256,32", "1", "1,1,32", ""),
        ("1,256,32", "-2", "1,1,32", "keepdims = 1"),
        ("1,256,32", "-2", "1,32", "keepdims = 0"),
        ("256,32", "0", "1,32", ""),
        ("256,32", "-2", "32", "keepdims = 0, noop_with_empty_axes = 1"),
        ("1,1,256,32", "2", "1,1,1,32", ""),
        ("1,256,4,8", "1", "1,4,8", "keepdims = 0"),
        ("1,16,16,32", "1,2", "1,32", "keepdims = 0"),
        ("1,16,16,32", "-2,-3", "1,1,1,32", ""),
        ("1,16,16,32", "0,1,2", "1,1,1,32", ""),
        ("16,16,32", "1,0", "32", "keepdims = 0"),
        ("n,16,256", "1", "n,1,256", ""),
        ("n,4,4,256", "1,2", "n,256", "keepdims = 0"),
        ("n,4,4,256", "1,2", "n,1,1,256", ""),
    ],
)
def test_what_is_added_up_stays_the_same(
    op: str, dims: str, axes: str, out: str, attributes: str
) -> None:
    text = case(op, dims, axes, out, attributes)
    program, products = rewritten(text)
    assert products == 1
    assert not any(node.op_type == op for node in program.graph)
    for batch in (1, 3) if "n" in dims else (1,):
        shape = [batch if each == "n" else int(each) for each in dims.split(",")]
        x = np.random.default_rng(0).normal(1.0, 1.0, shape).astype(np.float32)
        (found,) = unoptimized(program, {"x": x})
        (shaped,) = ReferenceEvaluator(_proto(text)).run(None, {"x": x})
        assert found.shape == np.shape(shaped)
        over = tuple(int(each) for each in axes.split(","))
        exact, sizes = (v.sum(over, np.float64).ravel() for v in (x, np.abs(x)))
        length = x.size // exact.size
        share = 1 / length if op == "ReduceMean" else 1.0
        bound = (length + 3) * ULP * share * sizes
        assert np.all(np.abs(found.ravel() - share * exact) <= bound)
        assert np.any(np.abs(found.ravel() - 1.001 * share * exact) > bound)  # it can fail


@pytest.mark.parametrize(
    ("dims", "axes", "out", "attributes", "dtype"),
    [
        ("2,256,32", "1", "2,1,32", "", "float"),  # a batch is added up well
        ("n,256,32", "1", "n,1,32", "", "float"),  # and this one may be one
        ("n,m,256", "1", "n,1,256", "", "float"),  # of unknown length
        ("1,m,256", "1", "1,1,256", "", "float"),
        ("1,256,c", "1", "1,1,c", "", "float"),
        ("n,k,16,256", "2", "n,k,1,256", "", "float"),  # no shape to write
        ("1,256,32", "2", "1,256,1", "", "float"),  # the last axis
        ("1,256,32", "1,2", "1,1,1", "", "float"),
        ("1,8,32,64", "1,3", "1,1,32,1", "", "float"),  # not neighbours
        ("1,64,32", "1", "1,1,32", "", "float"),  # small
        ("1,4096,4", "1", "1,1,4", "", "float"),  # narrow
        ("1,0,256", "1", "1,1,256", "", "float"),
        ("1,256,0", "1", "1,1,0", "", "float"),
        ("1,256,32", "1", "1,1,32", "", "int32"),
        ("1,256,32", "1", "1,1,32", "", "double"),
    ],
)
def test_what_is_left(dims: str, axes: str, out: str, attributes: str, dtype: str) -> None:
    assert rewritten(case("ReduceSum", dims, axes, out, attributes, dtype))[1] == 0


@pytest.mark.parametrize(
    "text",
    [
        "g (float[1,256,32] x) => (float[a,b,c] y) { y = ReduceSum(x) }",
        "g (float[1,256,32] x) => (float[p,q,r] y) { y = ReduceSum<noop_with_empty_axes = 1>(x) }",
        "g (float[1,256,32] x, int64[1] a) => (float[p,q,r] y) { y = ReduceSum(x, a) }",
        "g (float[1,256,32] x) => (float[1,1,32] y) <int64[1] a = {1}> { y = ReduceMax(x, a) }",
        "g (float x) => (float y) { y = ReduceSum(x) }",
    ],
)
def test_other_axes_and_ops_are_left(text: str) -> None:
    assert rewritten(text)[1] == 0


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_so(special: float) -> None:
    program, _ = rewritten(case("ReduceMean", "1,256,32", "1", "1,1,32"))
    x = np.ones((1, 256, 32), np.float32)
    x[0, 3, 5] = special
    (found,) = unoptimized(program, {"x": x})
    np.testing.assert_array_equal(found[0, 0, 5], special)
    np.testing.assert_allclose(np.delete(found, 5, axis=2), 1.0, rtol=259 * ULP)


def test_a_compiled_model_has_the_product() -> None:
    """Between quantized products, too, where keep-float and the engine's optimizer look."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(0, 0.1, (64, 64)).astype(np.float32) for _ in range(2))
    text = """g (float[1,128,64] x) => (float[1,1,64] y)
    <float[64,64] v, float[64,64] w, int64[1] a = {1}>
    { t = MatMul(x, v) u = ReduceMean(t, a) y = MatMul(u, w) }"""
    source = ir.to_proto(from_text(text, {"v": first, "w": second}).model)
    feeds = [normal_feed(seed, x=(1, 128, 64)) for seed in range(4)]
    compiled = compile_int8(source, feeds)
    compiled.verify().require()
    assert "ReduceMean" not in ops_of(compiled)
    assert ops_of(compiled).count("MatMul") == 3
    wanted = (feeds[0]["x"] @ first).mean(1, keepdims=True) @ second
    assert noise(wanted, np.asarray(compiled.run(feeds[0])[0])) < HALF_PERCENT


def _proto(text: str) -> onnx.ModelProto:
    return ir.to_proto(from_text(text).model)
