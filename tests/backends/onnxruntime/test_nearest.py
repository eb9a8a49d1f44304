"""A nearest Resize that repeats elements is written as Expand, element for element the same."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

import qcompiler as qc
from qcompiler.backends.onnxruntime.passes.nearest import RepeatByExpand
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.pipeline.contract import PassContext
from tests.oracle import compile_int8, normal_feed, ops_of, unoptimized

MODES = {
    (form, rounding)
    for form in ("asymmetric", "half_pixel", "half_pixel_symmetric", "align_corners")
    for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
}
REPEATING = {
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("half_pixel_symmetric", "round_prefer_floor"),
}


def resize(
    scales: tuple[float, ...],
    dims: str = "2,48,12,10",
    modes: tuple[str, str] = ("asymmetric", "floor"),
    dtype: str = "uint8",
    attributes: str = 'mode = "nearest"',
) -> str:
    form, rounding = modes
    stored = f"<float[{len(scales)}] s = {{{', '.join(map(str, map(float, scales)))}}}>"
    body = f'{attributes}, coordinate_transformation_mode = "{form}", nearest_mode = "{rounding}"'
    ends = f"g ({dtype}[{dims}] x) => ({dtype}[a,b,c,d] y)"
    return f"{ends} {stored} {{ [r] y = Resize<{body}>(x, , s) }}"


def rewritten(text: str) -> tuple[Program, int]:
    program = from_text(text)
    report = RepeatByExpand().run(program, PassContext())
    assert [str(each) for each in verify(program)] == []
    return program, report.details["repeated"]


@pytest.mark.parametrize("modes", sorted(MODES))
@pytest.mark.parametrize("factors", [(2, 1), (1, 2), (3, 3), (4, 2), (5, 4)])
def test_every_element_is_the_same(modes: tuple[str, str], factors: tuple[int, int]) -> None:
    """By onnx.reference and by the engine's own Resize."""
    text = resize((1, 1, *factors), modes=modes)
    program, count = rewritten(text)
    assert count or modes not in REPEATING
    x = np.random.default_rng(0).integers(0, 256, (2, 48, 12, 10), np.uint8)
    (wanted,) = ReferenceEvaluator(ir.to_proto(from_text(text).model)).run(None, {"x": x})
    if modes in (("asymmetric", "ceil"), ("half_pixel", "floor")):
        assert count == 0
        assert not np.array_equal(wanted, x.repeat(factors[0], 2).repeat(factors[1], 3))
    if count:
        assert "Resize" not in [node.op_type for node in program.graph]
        np.testing.assert_array_equal(unoptimized(program, {"x": x})[0], wanted)
        np.testing.assert_array_equal(unoptimized(from_text(text), {"x": x})[0], wanted)


@pytest.mark.parametrize("dims", ["n,16,h,w", "2,16,h,10", "n,16,12,10"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_extents_may_be_free(dims: str, dtype: str) -> None:
    program, count = rewritten(resize((1, 1, 3, 4), dims, dtype=dtype))
    assert count == 1
    for batch, rows in itertools.product((1, 2), (12, 7) if "h" in dims else (12,)):
        x = np.random.default_rng(0).integers(0, 127, (batch, 16, rows, 10), np.uint8)
        x = x.astype(dtype)
        if dims.startswith("2") and batch != 2:
            continue
        (found,) = unoptimized(program, {"x": x})
        np.testing.assert_array_equal(found, x.repeat(3, 2).repeat(4, 3))


def test_sizes_are_factors_of_known_extents() -> None:
    text = """g (uint8[1,16,12,10] x) => (uint8[1,16,36,20] y) <int64[4] s = {1, 16, 36, 20}>
    { y = Resize<mode = "nearest", coordinate_transformation_mode = "half_pixel">(x, , , s) }"""
    program, count = rewritten(text)
    assert count == 1
    x = np.random.default_rng(0).integers(0, 256, (1, 16, 12, 10), np.uint8)
    np.testing.assert_array_equal(unoptimized(program, {"x": x})[0], x.repeat(3, 2).repeat(2, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"scales": (1, 1, 2, 2)},  # no convolution beside it
        {"scales": (1, 1, 1, 1)},
        {"scales": (1, 1, 2.5, 3)},
        {"scales": (1, 1, 0.5, 4)},
        {"scales": (2, 1, 3, 3)},
        {"scales": (1, 2, 3, 3)},
        {"scales": (1, 1, 3, 3), "dims": "2,4,12,10"},  # few channels
        {"scales": (1, 1, 3, 3), "dims": "1,c,12,10"},
        {"scales": (1, 1, 3, 3), "dims": "1,16,4,4"},  # small
        {"scales": (1, 3, 3), "dims": "16,12,10"},
        {"scales": (1, 1, 3, 3), "dtype": "float"},
        {"scales": (1, 1, 3, 3), "dtype": "float", "attributes": 'mode = "linear"'},
    ],
)
def test_what_is_left(options: dict[str, Any]) -> None:
    assert rewritten(resize(**options))[1] == 0


def compiled(first: str, second: str, factor: int, channels: int = 16) -> qc.Compiled:
    """Two convolutions with a Resize between."""
    dims = f"{channels},{channels},1,1"
    text = f"""g (float[1,{channels},20,20] x) => (float[1,{channels},a,b] y)
    <float[{dims}] v, float[{dims}] w, float[4] s = {{1.0, 1.0, {factor}.0, {factor}.0}}>
    {{ [c] a = Conv(x, v)
      [r] r = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric",
                     nearest_mode = "floor">(a, , s)
      [d] y = Conv(r, w) }}"""
    rng = np.random.default_rng(0)
    shape = tuple(map(int, dims.split(",")))
    weights = {k: rng.normal(0, 0.2, shape).astype(np.float32) for k in "vw"}
    feeds = [normal_feed(seed, x=(1, channels, 20, 20)) for seed in range(3)]
    source = from_text(text, weights)
    return compile_int8(source, feeds, overrides={"c": first, "r": "int8", "d": second})


@pytest.mark.parametrize(
    ("first", "second", "factor", "expanded"),
    [
        ("int8", "int8", 2, True),
        ("int8", "float32", 2, False),  # NCHW behind it, where 2x is fast
        ("float32", "int8", 2, False),
        ("float32", "float32", 2, False),
        ("float32", "float32", 4, True),
    ],
)
def test_doubling_between_convolutions(
    first: str, second: str, factor: int, expanded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compiled(first, second, factor)
    assert ("Expand" in ops_of(found)) == expanded
    found.verify().require()
    assert found.kernels.missed == {}
    assert "r" in found.kernels.integer
    monkeypatch.setattr(OnnxRuntime, "placement", _without(OnnxRuntime.placement))
    plain = compiled(first, second, factor)
    assert "Resize" in ops_of(plain)
    feed = normal_feed(9, x=(1, 16, 20, 20))
    np.testing.assert_array_equal(found.run(feed)[0], plain.run(feed)[0])


def test_convolutions_may_be_far_away() -> None:
    """Further than Python's stack is deep."""
    before, behind = (
        "".join(f" {stem}{i + 1} = Relu({stem}{i})" for i in range(1200)) for stem in "ab"
    )
    program = from_text(f"""g (float[1,8,20,20] x) => (float[1,8,40,40] y)
    <int8[8,8,1,1] v, float[4] f = {{1, 1, 2, 2}}, float s = {{0.1}}, uint8 z = {{128}},
     int8 m = {{0}}> {{
      w = DequantizeLinear(v, s, m)
      p = QuantizeLinear(x, s, z) d = DequantizeLinear(p, s, z) a0 = Conv(d, w) {before}
      q = QuantizeLinear(a1200, s, z)
      r = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric",
                 nearest_mode = "floor">(q, , f)
      b0 = DequantizeLinear(r, s, z) {behind} o = QuantizeLinear(b1200, s, z)
      e = DequantizeLinear(o, s, z) y = Conv(e, w) }}""")
    infer_types(program.model)
    assert RepeatByExpand().run(program, PassContext()).details["repeated"] == 1


def test_its_time_is_the_regions() -> None:
    """Else a search would take it for free."""
    found = compiled("int8", "int8", 4)
    sample = found.artifact.profile([normal_feed(0, x=(1, 16, 20, 20))])
    assert sample is not None
    assert sample.regions["r"] > 0


def _without(placement: str) -> str:
    return ",".join(each for each in placement.split(",") if each != "repeat-by-expand")
