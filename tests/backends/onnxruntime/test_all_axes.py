"""Pad and Resize of some axes between convolutions on integers: they run, and say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from qcompiler.backends.onnxruntime.passes.all_axes import WriteAllAxes
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import LoweringError
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.pipeline.contract import PassContext
from tests.oracle import compile_int8, noise, normal_feed, ops_of

NEAREST = 'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"'
CROP = 'mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"'
STEPS = {
    "pad": ("<int64[4] p = {20, 3, 2, 0}, int64[2] k = {2, 3}>", "Pad(a, p, , k)"),
    "pad of one axis": ("<int64[2] p = {3, 20}, int64[1] k = {-1}>", "Pad(a, p, , k)"),
    "pad with ones": (
        "<int64[2] p = {3, 20}, float v = {1}, int64[1] k = {-1}>",
        "Pad(a, p, v, k)",
    ),
    "pad that reflects": (
        "<int64[2] p = {3, 5}, int64[1] k = {-2}>",
        'Pad<mode = "reflect">(a, p, , k)',
    ),
    "scales": ("<float[2] s = {2, 3}>", f"Resize<axes = [3, 2], {NEAREST}>(a, , s)"),
    "scale of one axis": ("<float[1] s = {2}>", f"Resize<axes = [3], {NEAREST}>(a, , s)"),
    "sizes": ("<int64[2] s = {17, 30}>", 'Resize<axes = [3, 2], mode = "linear">(a, , , s)'),
    "region of interest": (
        "<float[4] r = {0, 0.25, 1, 0.75}, float[2] s = {2, 1.5}>",
        f"Resize<axes = [2, 3], {CROP}>(a, r, s)",
    ),
}


def alone(step: str, dims: str = "1,8,12,10") -> str:
    stored, body = STEPS[step]
    return f"g (float[{dims}] a) => (float[n,c,h,w] y) {stored} {{ [step] y = {body} }}"


def reference(text: str, feed: dict[str, Any]) -> Any:
    return computed(from_text(text), feed)


def computed(program: Program, feed: dict[str, Any]) -> Any:
    (found,) = list(ReferenceEvaluator(ir.to_proto(program.model)).run(None, feed))
    return found


@pytest.mark.parametrize("dims", ["1,8,12,10", "n,8,h,w"])
@pytest.mark.parametrize("step", STEPS)
def test_the_function_is_the_same(step: str, dims: str) -> None:
    """By onnx.reference: bit for bit, since no arithmetic changes."""
    text = alone(step, dims)
    program = from_text(text)
    report = WriteAllAxes().run(program, PassContext())
    assert report.details["written"] == 1
    assert [str(each) for each in verify(program)] == []
    (node,) = (each for each in program.graph if each.name == "step")
    assert "axes" not in node.attributes
    assert len(node.inputs) < 4 or node.op_type == "Resize" or node.inputs[3] is None
    feed = {"a": np.random.default_rng(0).standard_normal((1, 8, 12, 10)).astype(np.float32)}
    found = computed(program, feed)
    np.testing.assert_array_equal(found, reference(text, feed))


@pytest.mark.parametrize("step", STEPS)
def test_between_integer_convolutions_it_runs(step: str) -> None:
    """Without the pass ONNX Runtime fails: see the negative control below."""
    stored, body = STEPS[step]
    stored = stored[:-1] + ", float[8,8,1,1] w1, float[8,8,1,1] w2>"
    text = f"""g (float[1,8,12,10] x) => (float[n,c,h,w] y) {stored} {{
        b = Conv(x, w1)
        a = Relu(b)
        [step] d = {body}
        [last] y = Conv(d, w2)
    }}"""
    feeds = [normal_feed(seed, x=(1, 8, 12, 10)) for seed in range(3)]
    program = from_text(text)
    compiled = compile_int8(program, feeds)
    assert ops_of(compiled).count("Conv") == 2
    (found,), (wanted,) = compiled.run(feeds[0]), OnnxRuntime().lower(program).run(feeds[0])
    assert found.shape == wanted.shape
    assert noise(wanted, found) < 1e-2  # 8 bits; another element in the place of one is 1


def test_without_the_pass_the_engine_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: else the pass could go."""
    passes = OnnxRuntime.placement.split(",")
    left = ",".join(each for each in passes if each != "write-all-axes")
    monkeypatch.setattr(OnnxRuntime, "placement", left)
    with pytest.raises(LoweringError, match="out of data bounds"):
        test_between_integer_convolutions_it_runs("pad")


def test_a_pad_that_a_float_convolution_reads_keeps_its_axes() -> None:
    text = """g (float[1,8,12,10] a) => (float[n,c,h,w] y)
    <int64[4] p = {20, 3, 2, 0}, int64[2] k = {2, 3}, float[8,8,1,1] u> {
        d = Pad(a, p, , k)
        y = Conv(d, u)
    }"""
    assert WriteAllAxes().run(from_text(text), PassContext()).details["written"] == 0


def test_amounts_that_are_computed_are_spread_too() -> None:
    text = """g (float[1,8,12,10] a, int64[2] p) => (float[n,c,h,w] y) <int64[1] k = {-2}> {
        [step] y = Pad(a, p, , k)
    }"""
    program = from_text(text)
    assert WriteAllAxes().run(program, PassContext()).details["written"] == 1
    assert [str(each) for each in verify(program)] == []
    feed = {
        "a": np.random.default_rng(0).standard_normal((1, 8, 12, 10)).astype(np.float32),
        "p": np.array([4, 1], np.int64),
    }
    found = computed(program, feed)
    np.testing.assert_array_equal(found, reference(text, feed))


def test_a_policy_on_the_ratio_of_the_sides_keeps_its_axes() -> None:
    text = """g (float[1,8,12,10] a) => (float[n,c,h,w] y) <int64[2] s = {17, 30}> {
        y = Resize<axes = [2, 3], mode = "linear", keep_aspect_ratio_policy = "not_larger">(a,,,s)
    }"""
    assert WriteAllAxes().run(from_text(text), PassContext()).details["written"] == 0
