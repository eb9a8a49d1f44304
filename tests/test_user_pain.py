"""Named cases of public threads, T3 to T8, through the whole compiler on ONNX Runtime.

T1, T2, T6 (numerics), T10, T13, T15, T16 and T17 also stand beside the code they are about.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_graphs, all_nodes
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from tests.oracle import HALF_PERCENT, compile_int8, in_float, noise, normal_feed, ops_of

# T3 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["b0", "b_quantized", "w1", "plain", "b_scale"])
def test_t03_names_of_tensors_do_not_matter(inner: str) -> None:
    """One bias in two convolutions, and an activation with a name that a tool might generate."""
    others = {"w1": "w_other"}
    second = others.get(inner, "w1")
    text = f"""g (float[N,4,8,8] x) => (float[N,4,6,6] y)
    <float[4,4,3,3] w0, float[4] b, float[4,4,3,3] {second}>
    {{
       [one] {inner} = Conv<pads = [1,1,1,1]>(x, w0, b)
       [two] y = Conv({inner}, {second}, b)
    }}"""
    rng = np.random.default_rng(1)
    weights = {
        name: (rng.standard_normal(shape) / 3).astype(np.float32)
        for name, shape in [("w0", (4, 4, 3, 3)), ("b", (4,)), (second, (4, 4, 3, 3))]
    }
    feeds = [normal_feed(seed, x=(2, 4, 8, 8)) for seed in range(2)]
    compiled = compile_int8(from_text(text, weights), feeds)
    assert set(compiled.kernels.integer) == {"one", "two"}
    compiled.verify().require()
    found = compiled.run(feeds[0])[0]
    plain = compile_int8(from_text(text.replace(inner, "zzz"), weights), feeds).run(feeds[0])[0]
    np.testing.assert_array_equal(found, plain)


# T4 ---------------------------------------------------------------------------------------------


def test_t04_one_weight_in_two_conv_bn_chains_is_folded_twice_from_the_original() -> None:
    source = from_text("""g (float[N,3,6,6] x, float[N,3,6,6] u)
    => (float[N,3,6,6] y, float[N,3,6,6] z)
    <float[3,3,3,3] w, float[3] s0, float[3] t0, float[3] m0, float[3] v0 = {1.5, 0.5, 2.0},
     float[3] s1, float[3] t1, float[3] m1, float[3] v1 = {0.25, 3.0, 1.0}>
    {
       [c0] a = Conv<pads = [1,1,1,1]>(x, w)
       y = BatchNormalization(a, s0, t0, m0, v0)
       [c1] b = Conv<pads = [1,1,1,1]>(u, w)
       z = BatchNormalization(b, s1, t1, m1, v1)
    }""")
    feed = normal_feed(0, x=(2, 3, 6, 6), u=(2, 3, 6, 6))
    compiled = compile_int8(source, [feed], scheme="float32")
    assert "BatchNormalization" not in ops_of(compiled)
    for wanted, found in zip(in_float(source, feed), compiled.run(feed), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * float(np.abs(wanted).max()))


# T5 ---------------------------------------------------------------------------------------------

BRANCHES = """g (bool c, float[N,8] x) => (float[N,8] y)
<float[8,8] w>
{
   y = If (c) <
      then_branch = yes () => (float[N,8] a) { [in_then] a = MatMul(x, w) },
      else_branch = no () => (float[N,8] b) { [in_else] m = MatMul(x, w) b = Relu(m) }
   >
}"""


def test_t05_both_branches_are_quantized_and_share_one_weight() -> None:
    source = from_text(BRANCHES)
    feeds = [{"c": np.asarray(i % 2 == 0), **normal_feed(i, x=(16, 8))} for i in range(4)]
    compiled = compile_int8(source, feeds)
    assert set(compiled.kernels.integer) == {"in_then", "in_else"}
    integers = [
        value
        for graph in all_graphs(compiled.program.model)
        for value in graph.initializers.values()
        if value.dtype == ir.DataType.INT8 and value.shape is not None and len(value.shape) == 2
    ]
    assert [value.shape.numpy() for value in integers if value.shape] == [(8, 8)]
    for feed in feeds:
        wanted = in_float(source, feed)[0]
        assert 0 < noise(wanted, compiled.run(feed)[0]) < HALF_PERCENT


def test_t05_a_branch_never_taken_stays_float_and_is_named() -> None:
    source = from_text(BRANCHES)
    feeds = [{"c": np.asarray(True), **normal_feed(i, x=(16, 8))} for i in range(2)]
    compiled = compile_int8(source, feeds)
    assert compiled.plan.precision("in_then") == "int8"
    assert compiled.plan.precision("in_else") != "int8"
    said = [*compiled.report.warnings, *map(str, compiled.report.diagnostics)]
    said += [row.reason for row in compiled.report.regions]
    assert any("not observed" in line or "never" in line for line in said)
    feed = {"c": np.asarray(False), **normal_feed(7, x=(4, 8))}
    assert noise(in_float(source, feed)[0], compiled.run(feed)[0]) < HALF_PERCENT


LOOP = """g (float[N,8] x) => (float[N,8] y)
<float[8,8] w, int64 n = {3}, bool go = {1}>
{
   y = Loop (n, go, x) <body = step (int64 i, bool c, float[N,8] s) => (bool d, float[N,8] t)
      { d = Identity(c) [inside] m = MatMul(s, w) t = Tanh(m) }>
}"""
SCAN = """g (float[N,8] x, float[T,N,8] u) => (float[N,8] z, float[T,N,8] y)
<float[8,8] w>
{
   z, y = Scan <num_scan_inputs = 1,
      body = step (float[N,8] s, float[N,8] v) => (float[N,8] t, float[N,8] o)
      { [inside] m = MatMul(v, w) a = Add(m, s) t = Tanh(a) o = Relu(a) }> (x, u)
}"""


@pytest.mark.parametrize(
    ("text", "shapes"),
    [(LOOP, {"x": (16, 8)}), (SCAN, {"x": (16, 8), "u": (4, 16, 8)})],
    ids=["Loop", "Scan"],
)
@pytest.mark.parametrize("scheme", ["int8", "dynamic", "int8-weights"])
def test_t05_bodies_of_loops_are_quantized(
    text: str, shapes: dict[str, tuple[int, ...]], scheme: str
) -> None:
    """The weight lies outside, and its float copy is gone."""
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32) / 3
    source = from_text(text, {"w": weight})
    feeds = [normal_feed(seed, **shapes) for seed in range(2)]
    compiled = compile_int8(source, feeds, scheme=scheme)
    assert compiled.plan.precision("inside") != "float32"
    if scheme != "int8-weights":
        assert "inside" in compiled.kernels.integer
    stored = [g.initializers for g in all_graphs(compiled.program.model)]
    assert not any("w" in names for names in stored)
    for wanted, found in zip(in_float(source, feeds[0]), compiled.run(feeds[0]), strict=True):
        assert 0 < noise(wanted, found) < HALF_PERCENT


# T6 ---------------------------------------------------------------------------------------------


def test_t06_near_dead_channels_of_a_depthwise_convolution_keep_their_bias() -> None:
    weight = np.random.default_rng(0).standard_normal((4, 1, 3, 3)).astype(np.float32)
    weight[1] = 1e-12
    weight[2] = 0.0
    bias = np.asarray([0.5, -4.5, -4.5, 1.0], np.float32)
    source = from_text(
        """g (float[N,4,8,8] x) => (float[N,4,8,8] y) <float[4,1,3,3] w, float[4] b>
        { [dw] y = Conv<group = 4, pads = [1,1,1,1]>(x, w, b) }""",
        {"w": weight, "b": bias},
    )
    feed = normal_feed(0, x=(2, 4, 8, 8))
    compiled = compile_int8(source, [feed])
    assert compiled.kernels.integer == ("dw",)
    (wanted,), (found,) = in_float(source, feed), compiled.run(feed)
    assert np.all(np.isfinite(found))
    for channel in range(4):
        error = np.abs(found[:, channel] - wanted[:, channel]).max()
        assert error <= 0.02 * np.abs(wanted).max()


# T7 ---------------------------------------------------------------------------------------------

IDENTITY = """g (float[N,8,8,8] x) => (float[N,8,8,8] y)
<float[8,8,3,3] w0, float[8] b0, float[8,8,3,3] w1, float[8] b1>
{
   [entry] e = Relu(x)
   [one] c0 = Conv<pads = [1,1,1,1]>(e, w0, b0) r0 = Relu(c0)
   [two] c1 = Conv<pads = [1,1,1,1]>(r0, w1, b1)
   [sum] s = Add(c1, e) y = Relu(s)
}"""
DOWNSAMPLE = """g (float[N,8,8,8] x) => (float[N,8,4,4] y)
<float[8,8,3,3] w0, float[8] b0, float[8,8,3,3] w1, float[8] b1, float[8,8,1,1] w2, float[8] b2>
{
   [one] c0 = Conv<pads = [1,1,1,1], strides = [2,2]>(x, w0, b0) r0 = Relu(c0)
   [two] c1 = Conv<pads = [1,1,1,1]>(r0, w1, b1)
   [skip] c2 = Conv<strides = [2,2]>(x, w2, b2)
   [sum] s = Add(c1, c2) y = Relu(s)
}"""


@pytest.mark.parametrize(
    ("text", "integer"),
    [(IDENTITY, {"one", "two", "sum"}), (DOWNSAMPLE, {"one", "two", "skip", "sum"})],
    ids=["identity", "downsample"],
)
def test_t07_residual_blocks_run_in_integers_without_a_stray_requantization(
    text: str, integer: set[str]
) -> None:
    """The rule of ONNX Runtime: Q behind every convolution and behind the sum's ReLU."""
    feeds = [normal_feed(seed, x=(2, 8, 8, 8)) for seed in range(2)]
    compiled = compile_int8(from_text(text), feeds)
    assert set(compiled.kernels.integer) == integer
    ops = compiled.kernels.ops
    assert ops["QLinearConv"] == len(integer) - 1
    assert ops["QLinearAdd"] == 1
    assert ops["QuantizeLinear"] == 1  # the input
    assert ops["DequantizeLinear"] == 1  # the output
    compiled.verify().require()
    for node in all_nodes(compiled.program.model):
        if node.op_type == "QuantizeLinear":
            before = node.inputs[0].producer() if node.inputs[0] else None
            assert before is None or before.op_type != "DequantizeLinear"


# T8 ---------------------------------------------------------------------------------------------

CONCAT = """g (float[N,4,8,8] x) => (float[N,6,8,8] y)
<float[4,4,3,3] wa, float[4,4,3,3] wb, float[6,8,1,1] wc>
{
   [small] a = Conv<pads = [1,1,1,1]>(x, wa)
   [large] b = Conv<pads = [1,1,1,1]>(x, wb)
   [join] c = Concat<axis = 1>(a, b)
   [last] y = Conv(c, wc)
}"""


def _concat() -> Program:
    rng = np.random.default_rng(0)
    small = (rng.standard_normal((4, 4, 3, 3)) / 6).astype(np.float32)
    return from_text(CONCAT, {"wa": small, "wb": 50 * small[::-1]})


@pytest.mark.parametrize(("precision", "scales"), [("int8", 3), ("int8-shared", 1)])
def test_t08_concat_with_shared_and_with_separate_scales(precision: str, scales: int) -> None:
    feeds = [normal_feed(seed, x=(2, 4, 8, 8)) for seed in range(1)]
    names = ["small", "large", "last"]
    plan = Plan(
        "onnxruntime", {**{name: Choice("int8") for name in names}, "join": Choice(precision)}
    )
    compiled = compile_int8(_concat(), feeds, plan=plan)
    assert set(compiled.kernels.integer) == {*names, "join"}
    compiled.verify().require()
    found = compiled.program.placement
    assert found is not None
    assert len({float(found.params(name).scale) for name in ("a", "b", "c")}) == (
        1 if scales == 1 else 2  # the result takes the large operand's range
    )


def test_t08_the_loss_of_both_forms_is_reported_and_right() -> None:
    """Predicted from the observers; measured here on uniform data, which the formula assumes."""
    source = from_text("""g (float[N,1000] a, float[N,1000] b) => (float[N,2000] c)
    { [join] c = Concat<axis = 1>(a, b) }""")
    rng = np.random.default_rng(0)
    small = rng.uniform(-1, 1, (20, 1000)).astype(np.float32)
    large = rng.uniform(-50, 50, (20, 1000)).astype(np.float32)
    feeds = [{"a": small, "b": large}]
    plan = Plan("onnxruntime", {"join": Choice("int8")})
    context = PassContext(OnnxRuntime(1), feeds, options={"plan": plan})
    Pipeline.parse(
        "insert-observers{method=minmax},calibrate,assign-precision,resolve-placement"
    ).run(source, context)
    assert source.placement is not None
    details = asdict(source.placement.concat_losses["join"])
    for precision in ("int8", "int8-shared"):
        plan = Plan("onnxruntime", {"join": Choice(precision)})
        program = from_text("""g (float[N,1000] a, float[N,1000] b) => (float[N,2000] c)
        { [join] c = Concat<axis = 1>(a, b) }""")
        (found,) = compile_int8(program, feeds, plan=plan).run(feeds[0])
        measured = noise(small, found[:, :1000])
        predicted = details["shared" if precision == "int8-shared" else "separate"]
        assert predicted == pytest.approx(measured, rel=0.1)
    assert details["operand_separate"] < 1e-3 * details["operand_shared"]
