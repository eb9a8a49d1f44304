"""Origins are found once for feeds that cannot have others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.indices import follow_from_shapes
from qcompiler.ir.signature import Feed
from qcompiler.measurement import shadow
from qcompiler.measurement.parts import Slicer

JOINED = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[n, 4] a, float[n, 4] b) => (float[n, 8] y)
    {
        s = Sigmoid(a)
        y = Concat<axis = 1>(s, b)
    }
"""
CHOSEN = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[n, 4] a, float[n, 4] b, bool[n, 4] c) => (float[n, 4] y)
    {
        s = Exp(a)
        t = Tanh(b)
        y = Where(c, s, t)
    }
"""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many feeds each session of a shadow was run on."""
    found: list[int] = []

    class Counted(OrtSession):
        def run_checked(self, feed: Feed, names: Sequence[str] | None = None) -> list[Any]:
            found.append(1)
            return super().run_checked(feed)

    monkeypatch.setattr(shadow, "OrtSession", Counted)
    return found


def feeds_of(sizes: list[int], names: str) -> list[dict[str, npt.NDArray[Any]]]:
    generator = np.random.default_rng(0)
    made: list[dict[str, npt.NDArray[Any]]] = []
    for size in sizes:
        feed: dict[str, npt.NDArray[Any]] = {}
        for name in names:
            drawn = generator.standard_normal((size, 4), np.float32)
            feed[name] = drawn > 0 if name == "c" else drawn
        made.append(feed)
    return made


def test_origins_of_one_shape_are_run_once(runs: list[int]) -> None:
    slicer, feeds = Slicer(load(onnx.parser.parse_model(JOINED))), feeds_of([2, 2, 3, 2, 3], "ab")
    outputs = [[np.concatenate([1 / (1 + np.exp(-f["a"])), f["b"] * 100], 1)] for f in feeds]
    found = slicer(feeds, outputs)[0]
    assert len(runs) == 2
    again = slicer(feeds[:3], outputs[:3])[0]
    assert len(runs) == 2
    for sample, groups in enumerate(again.groups):
        assert groups is not None
        np.testing.assert_array_equal(groups, found.groups[sample])
        assert groups.shape == outputs[sample][0].shape


def test_origins_that_data_decides_are_run_for_each_feed(runs: list[int]) -> None:
    slicer, feeds = Slicer(load(onnx.parser.parse_model(CHOSEN))), feeds_of([2, 2, 2], "abc")
    outputs = [[np.where(f["c"], 1000 * np.exp(f["a"]), np.tanh(f["b"]))] for f in feeds]
    found = slicer(feeds, outputs)[0]
    assert len(runs) == 3
    for feed, groups in zip(feeds, found.groups, strict=True):
        np.testing.assert_array_equal(groups == 1, feed["c"])
    slicer(feeds, outputs)
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ("s = Shape(x) y = Reshape(x, s)", {"s"}),
        ("k = Cast<to = 7>(x) y = Expand(x, k)", None),
        ("k = NonZero(x) y = Cast<to = 1>(k)", None),
        ("i = Cast<to = 7>(x) y = Gather(x, i)", set()),
        ("s = Shape(x) y = RandomNormalLike(s)", {"s"}),
        ("s = Shape(x) t = Cast<to = 1>(s) y = Dropout(t)", {"s", "t"}),
        ("s = SequenceConstruct(x) y = ConcatFromSequence<axis = 0>(s)", None),
    ],
)
def test_what_follows_from_shapes(body: str, known: set[str] | None) -> None:
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[m] y)'
    model = ir.from_proto(onnx.parser.parse_model(f"{head} {{ {body} }}"))
    found = follow_from_shapes(model)
    assert known == (None if found is None else {each.name for each in found})
