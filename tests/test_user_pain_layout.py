"""Named cases of public threads, T9 to T18, through the whole compiler on ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.capabilities import TABLE
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import LegalityError
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_nodes, constant
from qcompiler.quantization.qspace import S8_SYMMETRIC
from qcompiler.target.capability import CapabilityTable
from tests.oracle import HALF_PERCENT, compile_int8, in_float, noise, normal_feed, ops_of

Array = npt.NDArray[Any]

# T9 ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Symmetric(OnnxRuntime):
    """Signed symmetric activations, as TensorRT wants them."""

    name: ClassVar[str] = "symmetric"

    @property
    def capabilities(self) -> CapabilityTable:
        rows = []
        for row in TABLE.rows:
            forms = tuple(
                replace(
                    form,
                    activation=S8_SYMMETRIC if form.activation else None,
                    output=S8_SYMMETRIC if form.output else None,
                )
                for form in row.implementations
            )
            rows.append(replace(row, implementations=forms))
        return CapabilityTable(tuple(rows))


def test_t09_symmetric_int8_keeps_the_relu_and_zero_points_survive_permutes() -> None:
    text = """g (float[N,8,8,4] x) => (float[N,8,8,4] y)
    <float[4,4,3,3] w, float[4] b>
    {
       [to] p = Transpose<perm = [0,3,1,2]>(x)
       [conv] c = Conv<pads = [1,1,1,1]>(p, w, b)
       r = Relu(c)
       [back] q = Transpose<perm = [0,2,3,1]>(r)
       [sum] y = Add(q, x)
    }"""
    feeds = [normal_feed(seed, x=(2, 8, 8, 4)) for seed in range(2)]
    source = from_text(text)
    symmetric = qc.compile(from_text(text), Symmetric(1), feeds, scheme="int8", recipe="fast")
    assert "Relu" in ops_of(symmetric)  # zero point 0 in the middle: saturation is no ReLU
    affine = compile_int8(from_text(text), feeds)
    assert "Relu" not in ops_of(affine)  # zero point 0 at the bottom: it is
    for compiled in (symmetric, affine):
        assert noise(in_float(source, feeds[0])[0], compiled.run(feeds[0])[0]) < HALF_PERCENT
        quantized = {n.op_type for n in all_nodes(compiled.program.model)}
        assert "Transpose" in quantized
        for node in all_nodes(compiled.program.model):
            if node.op_type == "Transpose":
                value = node.outputs[0]
                assert value.dtype in (ir.DataType.INT8, ir.DataType.UINT8)
                _same_zero_points(node)


def _same_zero_points(mover: ir.Node) -> None:
    """Every parameter set in front of a mover of integers is the one behind it."""
    source = mover.inputs[0]
    assert source is not None
    writer = source.producer()
    assert writer is not None
    around = [
        constant(node.inputs[2]) for node in [writer, *(u.node for u in mover.outputs[0].uses())]
    ]
    assert len({None if point is None else point.tobytes() for point in around}) == 1


# T12 --------------------------------------------------------------------------------------------

TIED = """g (int64[N,S] ids) => (float[N,S,{rows}] y)
<float[{rows},16] E, float[16,16] w>
{{
   [look] h = Gather(E, ids)
   [mid] k = MatMul(h, w)
   [turn] t = Transpose<perm = [1,0]>(E)
   [head] y = MatMul(k, t)
}}"""


@pytest.mark.parametrize("scheme", ["int8", "dynamic"])
@pytest.mark.parametrize("rows", [50, 2000])  # a transposed copy is folded in one, not in the other
def test_t12_a_tied_embedding_is_one_int8_table(scheme: str, rows: int, tmp_path: Path) -> None:
    text = TIED.format(rows=rows)
    rng = np.random.default_rng(0)
    feeds = [{"ids": rng.integers(0, rows, (2, 7))} for _ in range(3)]
    compiled = compile_int8(from_text(text), feeds, scheme=scheme)
    assert set(compiled.kernels.integer) == {"mid", "head"}
    saved = onnx.load(compiled.save(tmp_path / "tied.onnx"))
    tables = [t for t in saved.graph.initializer if sorted(t.dims) == sorted((rows, 16))]
    assert [table.data_type for table in tables] == [onnx.TensorProto.INT8]
    wanted = in_float(from_text(text), feeds[0])[0]
    assert noise(wanted, compiled.run(feeds[0])[0]) < HALF_PERCENT


def test_t12_another_table_is_left_alone() -> None:
    """Negative control: the look-up's table differs in one element."""
    text = TIED.format(rows=50).replace("Gather(E", "Gather(F")
    text = text.replace("E, float", "E, float[50,16] F, float")
    table = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    other = table.copy()
    other[3, 4] += 0.5
    feeds = [{"ids": np.arange(14).reshape(2, 7)}]
    compiled = compile_int8(from_text(text, {"E": table, "F": other}), feeds)
    tables = [
        value.const_value
        for value in compiled.program.graph.initializers.values()
        if value.const_value is not None and value.const_value.size == 800
    ]
    assert [table.dtype.name for table in tables] == ["INT8", "INT8"]  # each in integers
    one, two = (np.sort(table.numpy().astype(np.int64), axis=None) for table in tables)
    assert not np.array_equal(one, two)


# T14 --------------------------------------------------------------------------------------------


def test_t14_a_three_dimensional_weight_is_refused_with_a_reason_and_runs_in_float() -> None:
    text = """g (float[N,3,5,8] x) => (float[N,3,5,6] y) <float[3,8,6] w>
    { [product] y = MatMul(x, w) }"""
    feed = normal_feed(0, x=(2, 3, 5, 8))
    with pytest.raises(LegalityError, match="rank other than 2"):
        compile_int8(from_text(text), [feed])
    compiled = compile_int8(from_text(text), [feed], scheme="auto")
    np.testing.assert_allclose(
        compiled.run(feed)[0], in_float(from_text(text), feed)[0], rtol=1e-5, atol=1e-5
    )
    (row,) = compiled.report.regions
    assert row.is_float
    assert any("rank other than 2" in str(found) for found in compiled.report.diagnostics)


# T18 --------------------------------------------------------------------------------------------


def test_t18_regions_of_a_chain_of_residual_sums_are_found_in_linear_work() -> None:
    """Counted in looks at uses, not in seconds: doubling the chain doubles them."""
    counts = [_looks(length) for length in (12, 24, 48)]
    assert counts[1] - counts[0] == pytest.approx((counts[2] - counts[1]) / 2, rel=0.2)
    assert counts[0] < 12 * 60


def _looks(length: int) -> int:
    """Calls of `Value.uses` while the regions of a chain are searched."""
    lines = ["[c0] v0 = Conv<pads = [1,1,1,1]>(x, w)"]
    for i in range(length):
        lines.append(f"[c{i + 1}] t{i} = Conv<pads = [1,1,1,1]>(v{i}, w)")
        lines.append(f"[s{i}] u{i} = Add(t{i}, v{i})")
        lines.append(f"[r{i}] v{i + 1} = Relu(u{i})")
    head = f"g (float[N,4,8,8] x) => (float[N,4,8,8] v{length}) <float[4,4,3,3] w>"
    program = from_text(f"{head} {{ {' '.join(lines)} }}")
    calls = 0
    original = ir.Value.uses

    def counted(value: ir.Value) -> Any:
        nonlocal calls
        calls += 1
        return original(value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ir.Value, "uses", counted)
        regions = OnnxRuntime().regions(program)
    assert len(regions) == 1 + 2 * length
    return calls


def test_t18_the_chain_compiles_to_integer_kernels() -> None:
    body = ["[c0] v0 = Conv<pads = [1,1,1,1]>(x, w)"]
    for i in range(12):
        body.append(f"[c{i + 1}] t{i} = Conv<pads = [1,1,1,1]>(v{i}, w)")
        body.append(f"[s{i}] v{i + 1} = Add(t{i}, v{i})")
    head = "g (float[N,4,6,6] x) => (float[N,4,6,6] v12) <float[4,4,3,3] w>"
    compiled = compile_int8(
        from_text(f"{head} {{ {' '.join(body)} }}"), [normal_feed(0, x=(2, 4, 6, 6))]
    )
    assert compiled.kernels.ops["QLinearConv"] == 13
    assert compiled.kernels.ops["QLinearAdd"] == 12
    compiled.verify().require()
