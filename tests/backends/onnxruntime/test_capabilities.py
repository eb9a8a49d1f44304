"""Every row of the capability table, on the engine: the named kernel runs, on integers.

One small model for each row is compiled with that form wherever it is legal, and the graph that
ONNX Runtime really runs is read back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import qcompiler as qc
from qcompiler.backends.onnxruntime.capabilities import _BLOCKS, TABLE
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.schemes import LEVEL_SPACES
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.text import from_text

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Row:
    """A model whose node `it` is the row's region, and the kernel that has to be found.

    Attributes:
        body: Nodes; the input is `x`, the output `y`.
        kernel: Op of the optimized graph.
        shape: Of `x`.
        weights: Further initializers, as text.
        precision: Of the region `it`; everything else stays float.
    """

    body: str
    kernel: str
    shape: tuple[int, ...] = (2, 8, 8, 8)
    weights: str = "float[8,8,3,3] w"
    precision: str = "int8"


MATRIX = "float[16,16] w, float[16] b"
COMPUTED: dict[str, Row] = {
    "Conv": Row("[it] y = Conv(x, w)", "QLinearConv"),
    "Conv+Relu": Row("[it] c = Conv(x, w) y = Relu(c)", "QLinearConv"),
    "Conv+Clip": Row("[it] c = Conv(x, w) y = Clip(c, lo, hi)", "QLinearConv", (2, 8, 8, 8),
                     "float[8,8,3,3] w, float lo = {0.0}, float hi = {6.0}"),
    "Conv depthwise": Row("[it] y = Conv<group = 8>(x, w)", "QLinearConv", (2, 8, 8, 8),
                          "float[8,1,3,3] w"),
    "Conv 1-d": Row("[it] y = Conv(x, w)", "QLinearConv", (2, 8, 8), "float[8,8,3] w"),
    "Conv 3-d": Row("[it] y = Conv(x, w)", "QLinearConv", (2, 8, 4, 4, 4), "float[8,8,3,3,3] w"),
    "Gemm": Row("[it] y = Gemm(x, w, b)", "QGemm", (4, 16), MATRIX),
    "Gemm+Relu": Row("[it] c = Gemm<transB = 1>(x, w, b) y = Relu(c)", "QGemm", (4, 16), MATRIX),
    "Gemm, float out": Row("[it] y = Gemm(x, w, b)", "QGemm", (4, 16), MATRIX, "int8-float-out"),
    "Gemm, dynamic": Row("[it] y = Gemm(x, w, b)", "DynamicQuantizeMatMul", (4, 16), MATRIX,
                         "int8-dynamic"),
    "MatMul": Row("[it] y = MatMul(x, w)", "QLinearMatMul", (2, 4, 16), MATRIX),
    "MatMul, float out": Row("[it] y = MatMul(x, w)", "MatMulIntegerToFloat", (2, 4, 16), MATRIX,
                             "int8-float-out"),
    "MatMul, dynamic": Row("[it] y = MatMul(x, w)", "DynamicQuantizeMatMul", (2, 4, 16), MATRIX,
                           "int8-dynamic"),
    **{
        f"{op}, {form.precision}": Row(f"[it] y = {call}", "MatMulNBits", (4, 64), constants,
                                       form.precision)
        for op, call, constants in (
            ("MatMul", "MatMul(x, w)", "float[64,64] w"),
            ("Gemm", "Gemm<transB = 1>(x, w, b)", "float[64,64] w, float[64] b"),
        )
        for form in _BLOCKS
    },
    **{
        f"{op}, {precision}": Row(f"[it] y = {op}(x, w)", op, shape, weights, precision)
        for op, shape, weights in (
            ("Conv", (2, 8, 8, 8), "float[8,8,3,3] w"),
            ("Gemm", (4, 16), MATRIX),
            ("MatMul", (2, 4, 16), MATRIX),
        )
        for precision in ("fp8-weights", "fp8-e5m2-weights")
    },
    **{
        f"{op}, one scale": Row(f"[it] y = {op}(x, w)", kernel, shape, weights, "int8-per-tensor")
        for op, kernel, shape, weights in (
            ("Conv", "QLinearConv", (2, 8, 8, 8), "float[8,8,3,3] w"),
            ("Gemm", "QGemm", (4, 16), MATRIX),
            ("MatMul", "QLinearMatMul", (2, 4, 16), MATRIX),
        )
    },
    "MatMul of two": Row("n = Neg(x) [it] y = MatMul(x, n)", "QLinearMatMul", (2, 8, 8), ""),
    "GRU": Row("[it] y = GRU<hidden_size = 8, linear_before_reset = 1>(x, w, r)", "Scan", (5, 2, 4),
               "float[1,24,4] w, float[1,24,8] r", "int8-dynamic"),
    "LSTM": Row("[it] y = LSTM<hidden_size = 8>(x, w, r)", "DynamicQuantizeLSTM", (5, 2, 4),
                "float[1,32,4] w, float[1,32,8] r", "int8-dynamic"),
    "Add": Row("n = Abs(x) [it] y = Add(x, n)", "QLinearAdd", weights=""),
    "Add+Relu": Row("n = Abs(x) [it] s = Add(x, n) y = Relu(s)", "QLinearAdd", weights=""),
    "Mul": Row("n = Abs(x) [it] y = Mul(x, n)", "QLinearMul", weights=""),
    "Where": Row("n = Abs(x) [it] y = Where(c, x, n)", "QLinearWhere",
                 weights="bool[1,1,1,8] c = {1, 0, 1, 1, 0, 0, 1, 0}"),
    "Sigmoid": Row("[it] y = Sigmoid(x)", "QLinearSigmoid", weights=""),
    "LeakyRelu": Row("[it] y = LeakyRelu<alpha = 0.1>(x)", "QLinearLeakyRelu", weights=""),
    "Softmax": Row("[it] y = Softmax<axis = -1>(x)", "QLinearSoftmax", weights=""),
    "AveragePool": Row("[it] y = AveragePool<kernel_shape = [2,2]>(x)", "QLinearAveragePool",
                       weights=""),
    "GlobalAveragePool": Row("[it] y = GlobalAveragePool(x)", "QLinearGlobalAveragePool",
                             weights=""),
    "Concat": Row("n = Abs(x) [it] y = Concat<axis = 1>(x, n)", "QLinearConcat", weights=""),
    "Concat, shared": Row("n = Abs(x) [it] y = Concat<axis = 1>(x, n)", "Concat", weights="",
                          precision="int8-shared"),
}  # fmt: skip
MOVED: dict[str, tuple[str, str]] = {
    "MaxPool": ("MaxPool<kernel_shape = [2,2]>(r)", ""),
    "Reshape": ("Reshape(r, s)", "int64[2] s = {2, -1}"),
    "Flatten": ("Flatten(r)", ""),
    "Squeeze": ("Squeeze(r, s)", "int64[1] s = {4}"),
    "Unsqueeze": ("Unsqueeze(r, s)", "int64[1] s = {1}"),
    "Transpose": ("Transpose<perm = [0,2,3,1]>(r)", ""),
    "Slice": ("Slice(r, a, z, d)", "int64[1] a = {1}, int64[1] z = {5}, int64[1] d = {2}"),
    "Expand": ("Expand(r, s)", "int64[5] s = {3, 1, 1, 1, 1}"),
    "Tile": ("Tile(r, s)", "int64[4] s = {1, 2, 1, 1}"),
    "Gather": ("Gather<axis = 1>(r, s)", "int64[2] s = {3, 0}"),
    "GatherElements": (
        "GatherElements<axis = 1>(r, s)",
        "int64[2,2,2,1] s = {0, 1, 2, 3, 4, 5, 6, 7}",
    ),
    "GatherND": ("GatherND(r, s)", "int64[1,2] s = {1, 3}"),
    "DepthToSpace": ("DepthToSpace<blocksize = 2>(r)", ""),
    "SpaceToDepth": ("SpaceToDepth<blocksize = 2>(r)", ""),
    "Resize": ("Resize(r, , s)", "float[4] s = {1, 1, 2, 1.5}"),
}


def _compiled(
    body: str, weights: str, shape: tuple[int, ...], plan: dict[str, str]
) -> tuple[qc.Compiled, list[Array], list[Array]]:
    dims = ",".join(map(str, shape))
    constants = f"<{weights}>" if weights else ""
    text = f"g (float[{dims}] x) => (float[] y) {constants} {{ {body} }}"
    program = from_text(text)
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(2)]
    given = Plan("onnxruntime", {key: Choice(value) for key, value in plan.items()})
    compiled = qc.compile(program, OnnxRuntime(1), feeds, plan=given, recipe="fast")
    plain = qc.compile(program, OnnxRuntime(1), feeds, scheme="float32", recipe="fast")
    return compiled, plain.run(feeds[0]), compiled.run(feeds[0])


@pytest.mark.parametrize("name", COMPUTED)
def test_the_engine_runs_the_row_with_its_integer_kernel(name: str) -> None:
    row = COMPUTED[name]
    compiled, wanted, found = _compiled(row.body, row.weights, row.shape, {"it": row.precision})
    assert compiled.kernels.ops.get(row.kernel) == 1
    assert compiled.kernels.missed == {}
    if "weights" not in row.precision:
        assert compiled.kernels.integer == ("it",)
    error, signal = np.square(wanted[0] - found[0]).sum(), np.square(wanted[0]).sum()
    # 20 dB with 8 bits; in blocks, 4 bits have steps of a seventh of the largest weight, 3 bits
    # twice these and four times their error, and 2 bits steps of a third of the range, some 5
    # standard deviations: (5/3)^2 / 12 of the signal.
    share = {"int4": 0.03, "int3": 0.12, "int2": 0.3}.get(row.precision[:4], 0.01)
    assert 0 < error < share * signal
    compiled.verify().require()


@pytest.mark.parametrize("name", [n for n, row in COMPUTED.items() if row.precision == "int8"])
def test_16_bits_are_simulated_as_the_graph_says(name: str) -> None:
    """No integer kernel is claimed or run; the integers are those of ONNX's reference."""
    row = COMPUTED[name]
    compiled, wanted, found = _compiled(row.body, row.weights, row.shape, {"it": "int16"})
    count = compiled.kernels
    assert (count.integer, count.simulated, count.missed) == ((), ("it",), {})
    assert not [op for op in count.ops if "QLinear" in op or "Integer" in op or op == "QGemm"]
    assert 0 < np.square(wanted[0] - found[0]).sum() < 1e-4 * np.square(wanted[0]).sum()
    model = ir.to_proto(compiled.program.model)
    feed = {"x": np.random.default_rng(1).standard_normal(row.shape).astype(np.float32)}
    again = ReferenceEvaluator(model).run(None, feed)
    assert isinstance(again, list)
    last = [node for node in model.graph.node if node.op_type == "DequantizeLinear"][-1]
    held = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    step = float(held[last.input[1]])  # where float32 sums differ, so may the nearest integer
    assert np.abs(again[0] - found[0]).max() <= 1.01 * step


@pytest.mark.parametrize("op", MOVED)
def test_data_movers_run_on_integers(op: str) -> None:
    """Between a convolution and the output: one DequantizeLinear, and it comes last."""
    call, constants = MOVED[op]
    head = "[cv] c = Conv<pads = [1,1,1,1]>(x, w) r = Relu(c)"
    if op == "Squeeze":
        head, call = f"{head} [up] u = Unsqueeze(r, s)", "Squeeze(u, s)"
    weights = "float[8,8,3,3] w" + (f", {constants}" if constants else "")
    plan = {"cv": "int8", "it": "int8", **({"up": "int8"} if op == "Squeeze" else {})}
    compiled, wanted, found = _compiled(f"{head} [it] y = {call}", weights, (2, 8, 8, 8), plan)
    assert set(compiled.kernels.integer) == set(plan)
    ops = compiled.kernels.ops
    assert (ops["QLinearConv"], ops["QuantizeLinear"], ops["DequantizeLinear"]) == (1, 1, 1)
    assert wanted[0].shape == found[0].shape
    assert np.square(wanted[0] - found[0]).sum() < 0.01 * np.square(wanted[0]).sum()


@pytest.mark.parametrize("op", MOVED)
def test_data_movers_between_16_bits_are_simulated(op: str) -> None:
    """ONNX and ONNX Runtime have no MaxPool, Pad, ... on uint16: movers stay in float there."""
    call, constants = MOVED[op]
    head = "[cv] c = Conv<pads = [1,1,1,1]>(x, w) r = Relu(c)"
    if op == "Squeeze":
        head, call = f"{head} u = Unsqueeze(r, s)", "Squeeze(u, s)"
    weights = "float[8,8,3,3] w" + (f", {constants}" if constants else "")
    plan = {"cv": "int16", "it": "int16"}
    compiled, wanted, found = _compiled(f"{head} [it] y = {call}", weights, (2, 8, 8, 8), plan)
    assert set(compiled.kernels.simulated) == set(plan)
    assert wanted[0].shape == found[0].shape
    assert np.square(wanted[0] - found[0]).sum() < 1e-3 * np.square(wanted[0]).sum()


def test_every_row_of_the_table_has_a_model_here() -> None:
    tried = {name.split(",")[0].split(" ")[0].split("+")[0] for name in COMPUTED} | set(MOVED)
    assert tried == {row.pattern.anchor for row in TABLE.rows}
    forms = {
        (row.pattern.anchor, form.precision)
        for row in TABLE.rows
        if row.pattern.anchor not in MOVED
        for form in row.implementations
        if not form.simulated and form.precision not in LEVEL_SPACES  # test_level_tables.py
    }
    simulated = {
        row.pattern.anchor for row in TABLE.rows for f in row.implementations if f.simulated
    }
    int8 = {row.pattern.anchor for row in TABLE.rows for f in row.implementations
            if f.precision == "int8"}  # fmt: skip
    assert simulated == int8
    names = {(name.split(",")[0].split(" ")[0].split("+")[0], r.precision)
             for name, r in COMPUTED.items()}  # fmt: skip
    assert forms == names
