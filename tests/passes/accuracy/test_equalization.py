"""What equalization does to the float function (nothing) and to the noise of int8 (it falls)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.decisions.forms import region_options
from qcompiler.decisions.planning import uniform_plan
from qcompiler.decisions.schemes import SCHEMES
from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.ir.walk import constant
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.variants import Variant, ask, with_base
from qcompiler.passes.accuracy.equalize_layers import EqualizeLayers
from qcompiler.passes.accuracy.split_channels import SplitChannels
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.registry import find_target
from tests.oracle import unoptimized

Array = npt.NDArray[Any]
Feed = dict[str, Array]

_ROUNDING = 256 * 2.0**-24
"""Three layers of sums of up to 72 terms, relative to the largest result."""


def _outputs(program: Program, feeds: Sequence[Feed]) -> Array:
    """Of ONNX Runtime without its optimizations, all feeds in one vector."""
    found = [each for feed in feeds for each in unoptimized(program, feed)]
    return np.concatenate([each.reshape(-1).astype(np.float64) for each in found])


@dataclass(frozen=True)
class Tried:
    """A network with and without a variant, on feeds that it was not calibrated on."""

    changed: Program
    error: float
    plain_db: float
    changed_db: float


def _db(wanted: Array, found: Array) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - found).sum()))


def tried(text: str, weights: dict[str, Array], feeds: Sequence[Feed], variant: str) -> Tried:
    """Calibrates on every other feed, applies the variant, and compares in float and in int8."""
    target = find_target("onnxruntime")()
    program = from_text(text, weights)
    infer_types(program.model)
    known, new = feeds[0::2], feeds[1::2]
    observe = Pipeline.parse("canonicalize,insert-observers{method=minmax}")
    observe.run(program, PassContext(target))
    ask(program, target, [Variant(variant)])
    Pipeline.parse("calibrate").run(program, PassContext(target, known))
    changed = with_base(program, target, Variant(variant), known)
    assert [str(finding) for finding in verify(changed)] == []
    wanted = _outputs(program, new)
    difference = np.abs(_outputs(changed, new) - wanted).max() / np.abs(wanted).max()
    found = []
    for each in (program, changed):
        options = region_options(each, target, target.regions(each))
        workshop = Workshop(each, target, options)
        built = workshop.build(uniform_plan(SCHEMES["int8"], options, target.name))
        outputs = [np.asarray(out).reshape(-1) for feed in new for out in built.artifact.run(feed)]
        found.append(_db(wanted, np.concatenate(outputs).astype(np.float64)))
    return Tried(changed, float(difference), *found)


_UNEVEN = np.asarray([1, 0.02, 3, 0.1, 0.5, 0.01, 2, 0.05], np.float32)
"""What the channels of a layer differ by."""


def _uneven_weights(rng: np.random.Generator) -> dict[str, Array]:
    """Two layers whose channels in between differ by two orders of magnitude, and matter alike."""
    drawn = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)) * _UNEVEN.reshape(-1, 1, 1, 1),
        "b": rng.normal(0, 0.3, 8) * _UNEVEN,
        "d": rng.normal(0, 0.3, (8, 1, 3, 3)),
        "e": rng.normal(0, 0.3, 8) * _UNEVEN,
        "v": rng.normal(0, 0.3, (5, 8, 1, 1)) / _UNEVEN.reshape(1, -1, 1, 1),
    }
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def _images(rng: np.random.Generator, count: int = 32) -> list[Feed]:
    return [{"x": rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)} for _ in range(count)]


def _chain(act: str) -> str:
    return f"""g (float[1,3,8,8] x) => (float[1,5,8,8] y)
        <float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[8] e, float[5,8,1,1] v,
         float zero = {{0}}, float six = {{6}}> {{
        [first] a = Conv<pads=[1,1,1,1]>(x, w, b)
        [one] r = {act.format("a")}
        [second] c = Conv<pads=[1,1,1,1], group=8>(r, d, e)
        [two] s = {act.format("c")}
        [third] y = Conv(s, v) }}"""


@pytest.mark.parametrize("act", ["Relu({0})", "LeakyRelu<alpha=0.1>({0})", "Clip({0}, zero, six)"])
@pytest.mark.parametrize("variant", ["equalize-layers", "smooth-activations"])
def test_uneven_channels_lose_less(act: str, variant: str) -> None:
    rng = np.random.default_rng(2)
    found = tried(_chain(act), _uneven_weights(rng), _images(rng), variant)
    assert found.error <= _ROUNDING
    assert found.changed_db > found.plain_db + 3  # half a bit and more


@pytest.mark.parametrize("gates", [False, True])
def test_scales_pass_a_hard_swish(gates: bool) -> None:
    """Also where a gate is squeezed out of the channels and multiplies them."""
    rng = np.random.default_rng(2)
    weights = _uneven_weights(rng)
    # Most of what is behind the first layer is in the lobe of the function, some far above it.
    weights["b"] = np.asarray(-2.0 * _UNEVEN, np.float32)
    text = _chain("HardSwish({0})")
    if gates:
        text = text.replace(
            "[third] y = Conv(s, v)",
            "p = GlobalAveragePool(s) k = Conv(p, g) q = Sigmoid(k) t = Mul(s, q) "
            "[third] y = Conv(t, v)",
        ).replace("<float[8,3,3,3] w,", "<float[8,8,1,1] g, float[8,3,3,3] w,")
        weights["g"] = rng.normal(0, 0.3, (8, 8, 1, 1)).astype(np.float32)
    found = tried(text, weights, _images(rng), "smooth-swishes")
    assert found.error <= _ROUNDING
    assert found.changed_db > found.plain_db + 3
    inner = [node for node in found.changed.graph if node.op_type == "HardSigmoid"]
    assert len(inner) == 2


def _even_weights(rng: np.random.Generator) -> dict[str, Array]:
    """Those of `_uneven_weights` with channels of one size."""
    weights = _uneven_weights(rng)
    for name in ("w", "b", "e"):
        weights[name] = weights[name] / _UNEVEN.reshape(-1, *(1,) * (weights[name].ndim - 1))
    weights["v"] = weights["v"] * _UNEVEN.reshape(1, -1, 1, 1)
    return weights


def test_a_hard_swish_is_left_whole_between_even_channels() -> None:
    rng = np.random.default_rng(2)
    weights = _even_weights(rng)
    found = tried(_chain("HardSwish({0})"), weights, _images(rng), "smooth-swishes")
    assert [node.op_type for node in found.changed.graph].count("HardSwish") == 2


def test_even_channels_are_left_alone_by_smoothing() -> None:
    rng = np.random.default_rng(2)
    weights = _even_weights(rng)
    found = tried(_chain("Relu({0})"), weights, _images(rng), "smooth-activations")
    assert found.changed_db > found.plain_db - 2  # the loop of variants would not keep it


def test_ranges_of_weights_become_equal() -> None:
    """Section 4.1 of arXiv 1906.04721: what writes a channel and what reads it, to convergence."""
    weights = _uneven_weights(np.random.default_rng(2))
    program = from_text(_chain("Relu({0})"), weights)
    infer_types(program.model)
    EqualizeLayers().run(program, PassContext())
    nodes = {node.name: node for node in program.graph}
    first, second, third = (
        constant(nodes[name].inputs[1]) for name in ("first", "second", "third")
    )
    assert first is not None
    assert second is not None
    assert third is not None
    chain = [
        np.abs(first).max(axis=(1, 2, 3)),
        np.abs(second).max(axis=(1, 2, 3)),
        np.abs(third).max(axis=(0, 2, 3)),
    ]
    np.testing.assert_allclose(chain[0], chain[1], rtol=0.01)
    np.testing.assert_allclose(chain[1], chain[2], rtol=0.01)


def test_a_channel_that_reaches_the_bound_of_a_clip_keeps_its_scale() -> None:
    """relu6 of the first channel saturates: were it scaled, outputs would differ."""
    rng = np.random.default_rng(2)
    weights = _uneven_weights(rng)
    weights["w"][0] *= 40
    found = tried(_chain("Clip({0}, zero, six)"), weights, _images(rng), "equalize-layers")
    assert found.error <= _ROUNDING
    old, new = weights["w"], None
    for node in found.changed.graph:
        if node.name == "first":
            new = constant(node.inputs[1])
    assert new is not None
    np.testing.assert_array_equal(new[0], old[0])
    assert not np.allclose(new[1], old[1])


def test_without_statistics_nothing_passes_a_clip() -> None:
    program = from_text(_chain("Clip({0}, zero, six)"), _uneven_weights(np.random.default_rng(2)))
    infer_types(program.model)
    report = EqualizeLayers().run(program, PassContext())
    assert not report.modified


_NORM = """g (float[1,6,8] x) => (float[1,6,4] y, float[1,6,4] z)
    <float[8] g, float[8] b, float[8,4] v, float[8,4] u> {
    [norm] a = LayerNormalization<axis=-1>(x, g, b)
    [one] y = MatMul(a, v)
    [two] z = MatMul(a, u) }"""


def test_outlier_channels_behind_a_norm_go_into_all_weights_that_read_them() -> None:
    """The case of arXiv 2211.10438: a gain a hundred times the others."""
    rng = np.random.default_rng(4)
    gain = np.ones(8)
    gain[3] = 100.0
    weights: dict[str, Array] = {
        "g": gain,
        "b": np.zeros(8),
        "v": rng.normal(0, 1, (8, 4)) / gain[:, None],
        "u": rng.normal(0, 1, (8, 4)) / gain[:, None],
    }
    weights = {name: each.astype(np.float32) for name, each in weights.items()}
    feeds = [{"x": rng.normal(0, 1, (1, 6, 8)).astype(np.float32)} for _ in range(32)]
    found = tried(_NORM, weights, feeds, "smooth-activations")
    assert found.error <= _ROUNDING
    assert found.changed_db > found.plain_db + 12


def _ops(program: Program) -> list[str]:
    return [node.op_type for node in program.graph]


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_features_over_decades_in_front_of_a_recurrent_layer(op: str, gates: int) -> None:
    """Powers of a spectrum: one scale leaves the small ones nothing, one for each in W does not."""
    rng = np.random.default_rng(6)
    more = ", linear_before_reset=1" if op == "GRU" else ""
    decades = np.asarray([1e4, 1e3, 1e2, 10, 1, 0.1])
    text = f"""g (float[7,1,6] x) => (float[7,1,1,5] y)
        <float[1,{5 * gates},6] w, float[1,{5 * gates},5] r, float[1,{10 * gates}] b> {{
        [layer] y = {op}<hidden_size=5{more}>(x, w, r, b) }}"""
    weights = {
        "w": rng.normal(0, 0.5, (1, 5 * gates, 6)) / decades,
        "r": rng.normal(0, 0.2, (1, 5 * gates, 5)),
        "b": rng.normal(0, 0.2, (1, 10 * gates)),
    }
    weights = {name: each.astype(np.float32) for name, each in weights.items()}
    feeds = [
        {"x": np.abs(rng.normal(0, 1, (7, 1, 6)) * decades).astype(np.float32)} for _ in range(24)
    ]
    found = tried(text, weights, feeds, "smooth-activations")
    assert _ops(found.changed) == ["Mul", op]
    assert found.error <= _ROUNDING
    assert found.changed_db > found.plain_db + 3
    without = tried(text, weights, feeds, "smooth-activations{wide=0}")
    assert _ops(without.changed) == [op]


_POST_NORM = """g (float[1,6,16] x) => (float[1,6,16] y)
    <float[16] g, float[16] b, float[16,{n}] v, float[{n},16] u, float[16] h> {{
    [norm] a = LayerNormalization<axis=-1>(x, g, b)
    [up] c = MatMul(a, v)
    [act] d = Gelu(c)
    [down] e = MatMul(d, u)
    [sum] f = Add(a, e)
    [out] y = LayerNormalization<axis=-1>(f, h) }}"""


@pytest.mark.parametrize(("columns", "inserted"), [(512, 1), (256, 0)])
def test_a_residual_keeps_its_values_and_wide_products_get_their_own(
    columns: int, inserted: int
) -> None:
    """The norm's result is added further on, so its gain cannot take the scale up."""
    rng = np.random.default_rng(4)
    gain = np.ones(16)
    gain[3] = 50.0
    weights = {
        "g": gain,
        "b": np.zeros(16),
        "v": rng.normal(0, 0.3, (16, columns)) / gain[:, None],
        "u": rng.normal(0, 0.05, (columns, 16)),
        "h": np.ones(16),
    }
    weights = {name: each.astype(np.float32) for name, each in weights.items()}
    feeds = [{"x": rng.normal(0, 1, (1, 6, 16)).astype(np.float32)} for _ in range(16)]
    found = tried(_POST_NORM.format(n=columns), weights, feeds, "smooth-activations")
    assert _ops(found.changed).count("Mul") == inserted
    assert found.error <= _ROUNDING
    regions = find_target("onnxruntime")().regions(found.changed)
    assert "Mul" not in {node.op_type for region in regions for node in region.nodes}


_PINNED = {
    "matmul": (("[hard] v = HardSwish(x)"
               " [last] y = MatMul(v, w)"), [1, 6, 64], [64, 8]),
    "gemm": (("[hard] v = HardSwish(x)"
             " [last] y = Gemm<transB=1, alpha=0.5>(v, w)"), [6, 64], [8, 64]),
    "conv": (("[hard] v = HardSwish(x)"
             " [last] y = Conv<pads=[1,1,1,1]>(v, w)"), [1, 64, 5, 5], [8, 64, 3, 3]),
}  # fmt: skip


@pytest.mark.parametrize("name", _PINNED)
def test_a_channel_of_extreme_range_is_multiplied_by_itself(name: str) -> None:
    nodes, shape, weight = _PINNED[name]
    rng = np.random.default_rng(4)
    axis = 1 if name == "conv" else len(shape) - 1
    vector = [1] * (len(shape) - axis)
    vector[0] = 64
    ranges = np.ones(64)
    ranges[17] = 100.0
    columns = np.expand_dims(ranges.reshape(vector), 0) if name == "conv" else ranges
    columns = columns.reshape(-1, 1) if name == "matmul" else columns
    weights = {"w": (rng.normal(0, 0.2, weight) / columns).astype(np.float32)}
    text = f"""g (float{shape} x) => (float y) <float{weight} w> {{ {nodes} }}"""
    drawn = [rng.uniform(-3, 3, shape) for _ in range(24)]
    feeds = [{"x": (each * ranges.reshape(vector)).astype(np.float32)} for each in drawn]
    found = tried(text, weights, feeds, "split-channels")
    assert _ops(found.changed).count("Gather") == 1
    assert found.error <= _ROUNDING
    assert found.changed_db > found.plain_db + 6
    even = [{"x": each.astype(np.float32)} for each in drawn]
    assert "Gather" not in _ops(tried(text, weights, even, "split-channels").changed)


def test_channels_are_taken_out_only_if_few_make_the_range() -> None:
    high = np.asarray([1.0, 8.0, 1.5, 9.0, 1.0, 0.5])
    low = -high / 2
    assert SplitChannels(share=0.2).chosen(low, high) is None
    chosen = SplitChannels(share=0.4).chosen(low, high)
    assert chosen is not None
    assert chosen.tolist() == [1, 3]
