"""Rewrites of the float program are kept where they are faster; the clock is told what to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import qcompiler as qc
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.text import from_text

UP = "convolve-transposed"
NET = """net (float[N,3,8,8] x) => (float[N,4,16,16] y)
<float[8,3,3,3] w, float[8] b, float[8,4,2,2] u, float[4] c> {
    [conv] h = Conv<pads = [1,1,1,1]>(x, w, b)
    r = Relu(h)
    [up] y = ConvTranspose<strides = [2,2]>(r, u, c)
}"""


@pytest.fixture(scope="module")
def net() -> Program:
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "b": (8,), "u": (8, 4, 2, 2), "c": (4,)}
    weights = {name: rng.standard_normal(dims, np.float32) for name, dims in shapes.items()}
    return from_text(NET, weights)


@pytest.fixture(scope="module")
def feeds() -> list[Feed]:
    return [
        {"x": np.random.default_rng(i).standard_normal((1, 3, 8, 8), np.float32)} for i in range(12)
    ]


@pytest.fixture
def after(clock: Callable[..., None]) -> Callable[[float], None]:
    """What a rewrite takes of the time before it; integers take half of float's."""
    return lambda ratio: clock(0.5, after=ratio)


def compiled_with(net: Program, feeds: list[Feed], **options: Any) -> qc.Compiled:
    return qc.compile(net, "onnxruntime", feeds, **({"recipe": "fast", "variants": [UP]} | options))


def ops(compiled: qc.Compiled) -> set[str]:
    return {node.op_type for node in compiled.program.graph}


@pytest.mark.parametrize(("ratio", "kept"), [(0.8, True), (1.2, False), (1.0, False)])
def test_it_is_kept_only_where_it_is_faster(
    net: Program, feeds: list[Feed], after: Callable[[float], None], ratio: float, kept: bool
) -> None:
    after(ratio)
    compiled = compiled_with(net, feeds)
    (row,) = compiled.report.variants
    assert (row.name, row.kept, row.unit) == (UP, kept, "s")
    assert ("DepthToSpace" in ops(compiled)) == kept
    assert (UP in (compiled.plan.variants or ())) == kept


def test_the_result_computes_what_the_source_does(
    net: Program, feeds: list[Feed], after: Callable[[float], None]
) -> None:
    after(0.8)
    compiled = compiled_with(net, feeds, scheme="int8")
    assert "ConvTranspose" not in ops(compiled)
    proto = ir.to_proto(net.model).SerializeToString()
    session = onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"])
    for feed in feeds[:3]:
        (wanted,) = session.run(None, dict(feed))
        noise = np.square(compiled.run(feed)[0] - wanted).sum() / np.square(wanted).sum()
        assert noise < 1e-3
    # Both products and the interleaving between them are integers now.
    assert set(compiled.plan.precisions.values()) == {"int8"}
    assert compiled.verify().ok


def test_values_that_keep_their_name_keep_their_range(
    net: Program, feeds: list[Feed], after: Callable[[float], None]
) -> None:
    """The kept feeds are a part of the data; all of it was seen before the rewrite."""
    after(0.8)
    wide = [*feeds, *({"x": 30 * feed["x"]} for feed in feeds), *feeds, *feeds]
    scales = {}
    for variants in ([], [UP]):
        compiled = compiled_with(net, wide, scheme="int8", variants=variants)
        placement = compiled.program.placement
        assert placement is not None
        scales[len(variants)] = {
            name: float(params.scale.max()) for (name, _), params in placement.values.items()
        }
    assert scales[1]["x"] == scales[0]["x"]


def test_a_plan_is_built_with_the_rewrites_that_it_names(
    net: Program, feeds: list[Feed], after: Callable[[float], None]
) -> None:
    after(0.8)
    first = compiled_with(net, feeds)
    after(1.5)  # no longer asked
    again = compiled_with(net, feeds, plan=qc.Plan.from_json(first.plan.to_json()), variants=None)
    assert "DepthToSpace" in ops(again)
    assert again.plan.precisions == first.plan.precisions


def test_nothing_is_told_of_rewrites_that_do_not_apply(
    net: Program, feeds: list[Feed], after: Callable[[float], None]
) -> None:
    after(0.8)
    compiled = compiled_with(net, feeds, variants=["merge-products", "spell-hard-swish"])
    assert compiled.report.variants == ()


def test_overrides_of_what_it_replaces_keep_it_away(
    net: Program, feeds: list[Feed], after: Callable[[float], None]
) -> None:
    after(0.8)
    hard = from_text(
        """net (float[2,8] x) => (float[2,4] u, float[2,3] v) <float[8,4] p, float[8,3] q> {
        [one] u = MatMul(x, p)
        [two] v = MatMul(x, q)
    }""",
        {"p": np.ones((8, 4), np.float32), "q": np.ones((8, 3), np.float32)},
    )
    data = [{"x": np.random.default_rng(i).random((2, 8), np.float32)} for i in range(4)]
    compiled = compiled_with(hard, data, variants=["merge-products"], overrides={"one": "float32"})
    (row,) = compiled.report.variants
    assert not row.kept
    assert "override" in row.note
    assert compiled.plan.precisions["one"] == FLOAT
