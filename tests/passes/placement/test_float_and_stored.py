"""Constants that are data become integers; what the plan leaves in float stays float."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.passes.keep_float import KeepFloat
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.regions import find_regions
from qcompiler.ir.text import from_text
from qcompiler.pipeline.contract import Outcome
from tests.oracle import HALF_PERCENT, compile_int8, in_float, noise

Array = npt.NDArray[Any]
SHAPE = (2, 4, 8, 8)
BODY = "[cv] c = Conv(x, w) [it] p = {call} [cw] y = Conv(p, w)"


def _feeds(shape: tuple[int, ...] = SHAPE) -> list[dict[str, Array]]:
    rng = np.random.default_rng(3)
    return [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(3)]


def _planned(call: str, precision: str) -> qc.Compiled:
    text = f"g (float[2,4,8,8] x) => (float[] y) <float[4,4,1,1] w> {{ {BODY.format(call=call)} }}"
    plan = Plan(
        "onnxruntime", {"cv": Choice("int8"), "it": Choice(precision), "cw": Choice("int8")}
    )
    return qc.compile(from_text(text), OnnxRuntime(1), _feeds(), plan=plan, recipe="fast")


CALLS = {
    "AveragePool<kernel_shape = [2,2]>(c)": "QLinearAveragePool",
    "GlobalAveragePool(c)": "QLinearGlobalAveragePool",
    "Sigmoid(c)": "QLinearSigmoid",
    "LeakyRelu(c)": "QLinearLeakyRelu",
    "Softmax(c)": "QLinearSoftmax",
    "Add(c, c)": "QLinearAdd",
    "Mul(c, c)": "QLinearMul",
    "MatMul(c, c)": "QLinearMatMul",
}


@pytest.mark.parametrize(("call", "kernel"), CALLS.items(), ids=lambda text: text.split("<")[0])
def test_a_region_that_is_planned_in_float_runs_in_float(
    call: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime would replace it: the negative control leaves the guard out."""
    assert _planned(call, "float32").kernels.ops.get(kernel, 0) == 0
    monkeypatch.setattr(KeepFloat, "apply", lambda *_: Outcome())
    assert _planned(call, "float32").kernels.ops.get(kernel, 0) == 1


@pytest.mark.parametrize(
    ("call", "weights"),
    [
        ("Concat<axis = 1>(c, k)", "float[2,3,8,8] k"),
        ("Concat<axis = -1>(k, c)", "float[2,4,8,3] k"),
        ("MatMul(k, c)", "float[5,8] k"),
        ("MatMul(k, c)", "float[2,4,5,8] k"),
        ("Add(c, k)", "float[2,4,8,8] k"),
        ("Add(k, c)", "float[8] k"),
        ("Mul(c, k)", "float[1,4,1,8] k"),
        ("Mul(k, c)", "float[3,2,4,8,8] k"),
        ("Where(b, c, k)", "float k"),
        ("Where(b, k, c)", "float[4,1,1] k"),
    ],
)
@pytest.mark.parametrize("precision", ["int8", "int8-shared"])
def test_stored_data_is_quantized_with_the_computed(
    call: str, weights: str, precision: str
) -> None:
    if precision == "int8-shared" and "Concat" not in call:
        return
    text = (
        f"g (float[2,4,8,8] x) => (float[] y) <float[4,4,1,1] w, {weights}, float zero = {{0}}> "
        f"{{ [cv] c = Conv(x, w) b = Greater(x, zero) [it] y = {call} }}"
    )
    program, feeds = from_text(text), _feeds()
    plan = Plan("onnxruntime", {"cv": Choice("int8"), "it": Choice(precision)})
    compiled = qc.compile(program, OnnxRuntime(1), feeds, plan=plan, recipe="fast")
    assert set(compiled.kernels.integer) == {"cv", "it"}
    assert compiled.verify().require().checked
    (wanted,) = in_float(program, feeds[0])
    assert 0 < noise(wanted, compiled.run(feeds[0])[0]) < HALF_PERCENT


@pytest.mark.parametrize(
    ("call", "constant", "reason"),
    [
        ("Add(c, k)", np.float32(-np.inf), "holds infinity or NaN"),
        ("Where(b, c, k)", np.float32(np.nan), "holds infinity or NaN"),
        ("Add(x, k)", np.float32(1), "ends the process"),
        ("Mul(c, k)", np.float32(2), None),
    ],
)
def test_which_constants_are_no_data(call: str, constant: Array, reason: str | None) -> None:
    """The last kernel fails where its result has no rows, which a free batch allows."""
    shape = "N" if reason == "ends the process" else "N,8"
    text = (
        f"g (float[{shape}] x, bool[8] b) => (float[] y) <float k> "
        f"{{ c = Sigmoid(x) [it] y = {call} }}"
    )
    target, program = OnnxRuntime(1), from_text(text, {"k": constant})
    (region,) = [r for r in find_regions(program, target.capabilities.patterns) if r.key == "it"]
    found = [each.message for each in target.objections(region)]
    assert len(found) == (reason is not None)
    assert reason is None or reason in found[0]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.5, 0.5), (-3.0, 2.0), (0.0, 6.0)])
@pytest.mark.parametrize("op", ["Conv", "Gemm"])
def test_a_clip_is_done_by_saturation_whatever_its_bounds(op: str, low: float, high: float) -> None:
    """The lowest level may lie half a step below the bound: the integers are the same.

    Of what lies just below the bound, some is rounded to above it with the input.
    """
    shape = SHAPE if op == "Conv" else (8, 16)
    dims = ",".join(map(str, shape))
    kept = "float[4,4,1,1] w" if op == "Conv" else "float[16,8] w"
    text = (
        f"g (float[{dims}] x) => (float[] y) <{kept}, float lo = {{{low}}}, float hi = {{{high}}}> "
        f"{{ [it] c = {op}(x, w) y = Clip(c, lo, hi) }}"
    )
    feeds = [{"x": 9 * feed["x"]} for feed in _feeds(shape)]
    program = from_text(text)
    compiled = compile_int8(program, feeds)
    assert compiled.kernels.missed == {}
    assert compiled.kernels.ops.get("Clip", 0) == 0
    compiled.verify().require()
    (wanted,) = in_float(program, feeds[0])
    found = compiled.run(feeds[0])[0]
    step = float(np.float32(high - low)) / 255
    assert np.quantile(np.abs(found[wanted <= low] - low), 0.95) <= step / 2 + 1e-6
    assert noise(wanted, found) < HALF_PERCENT


@pytest.mark.parametrize("pixels", [2, 3, 7])
def test_the_mean_of_a_map_is_never_finer_than_its_kernel_can(pixels: int) -> None:
    """Means next to nothing of a wide map: the ratio of scales would leave the kernel's range."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, pixels, pixels)).astype(np.float32)
    x -= x.mean((2, 3), keepdims=True)
    x += np.float32(1e-4) * rng.standard_normal((2, 4, 1, 1)).astype(np.float32)
    text = (
        f"g (float[2,4,{pixels},{pixels}] x) => (float[] y) <float[4,4,1,1] w> "
        "{ [cv] c = Conv(x, w) [it] m = GlobalAveragePool(c) y = Flatten(m) }"
    )
    weights = {"w": np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)}
    compiled = compile_int8(from_text(text, weights), [{"x": x}])
    assert "it" in compiled.kernels.integer
    placement = compiled.program.placement
    assert placement is not None
    scale, data = (float(placement.params(name).scale) for name in ("m", "c"))
    assert data / (scale * pixels**2) < 256
    assert scale == float(placement.params("y").scale)  # movers behind take the same


def test_a_turned_activation_is_turned_before_it_is_quantized() -> None:
    text = (
        "g (float[17,17] x) => (float[] y) <float[17,9] w, float[9] b> "
        "{ [it] y = Gemm<transA = 1>(x, w, b) }"
    )
    feeds = _feeds((17, 17))
    program = from_text(text)
    compiled = compile_int8(program, feeds, scheme="dynamic")
    assert compiled.kernels.integer == ("it",)
    (wanted,) = in_float(program, feeds[0])
    assert 0 < noise(wanted, compiled.run(feeds[0])[0]) < HALF_PERCENT


def test_products_over_nothing_are_zeros_whatever_the_scheme() -> None:
    text = "g (float[2,0] x) => (float[2,4] y) <float[0,4] w> { [it] y = MatMul(x, w) }"
    feed = {"x": np.zeros((2, 0), np.float32)}
    for scheme in ("dynamic", "int8"):
        compiled = compile_int8(from_text(text), [feed], scheme=scheme)
        np.testing.assert_array_equal(compiled.run(feed)[0], np.zeros((2, 4), np.float32))


@pytest.mark.parametrize(
    ("attributes", "integer"),
    [
        ('mode = "nearest"', True),
        ('coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', True),
        ('mode = "nearest", coordinate_transformation_mode = "align_corners"', True),
        ('mode = "linear"', False),
        ('mode = "cubic"', False),
        ('mode = "nearest", coordinate_transformation_mode = "tf_crop_and_resize"', False),
    ],
)
def test_a_resize_that_copies_runs_on_integers(attributes: str, integer: bool) -> None:
    """Between integers it is data movement; what interpolates or writes a constant is not."""
    text = (
        "g (float[2,4,8,8] x) => (float[] y) <float[4,4,1,1] w, float[4] s = {1, 1, 2, 1.5}, "
        "float[8] roi = {0, 0, 0.25, 0.25, 1, 1, 1.5, 0.75}> "
        f"{{ [cv] c = Conv(x, w) [it] r = Resize<{attributes}>(c, roi, s) [cw] y = Conv(r, w) }}"
    )
    program, feeds = from_text(text), _feeds()
    compiled = compile_int8(program, feeds)
    assert compiled.kernels.missed == {}
    assert set(compiled.kernels.integer) == {"cv", "cw"} | ({"it"} if integer else set())
    assert compiled.verify().ok
    (wanted,) = in_float(program, feeds[0])
    assert 0 < noise(wanted, compiled.run(feeds[0])[0]) < HALF_PERCENT
