"""Roundings: once per compilation, and the same elements however a matrix lies."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.decisions import roundings
from qcompiler.decisions.roundings import GUARDED, NEAREST, Rounding, nearest, remembered, rounded
from qcompiler.errors import ConfigurationError
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_nodes
from qcompiler.quantization.numerics import dequantize
from qcompiler.quantization.qspace import (
    S8_SYMMETRIC,
    S8_SYMMETRIC_PER_CHANNEL,
    Granularity,
    QSpace,
)

TEXT = """g (float[2,6] x) => (float[2,4] y, float[2,6] z) <float[6,4] w>
{ [a] y = MatMul(x, w) [b] z = Gemm<transB = 1>(y, w) }"""
GROUPS = QSpace(ir.DataType.INT4, True, Granularity.GROUP, group_size=2)


def nodes() -> dict[str, ir.Node]:
    return {node.name or "": node for node in all_nodes(from_text(TEXT).model)}


def test_channels_and_blocks_lie_where_the_op_sums() -> None:
    found = nodes()
    weight = found["a"].inputs[1]
    assert weight is not None
    wanted: dict[tuple[str, str], tuple[int, tuple[int, ...]]]
    wanted = {("a", "channel"): (1, (4,)), ("b", "channel"): (0, (6,))}
    wanted |= {("a", "group"): (0, (3, 4)), ("b", "group"): (1, (6, 2))}
    for (name, kind), (axis, shape) in wanted.items():
        space = S8_SYMMETRIC_PER_CHANNEL if kind == "channel" else GROUPS
        rounding = nearest(found[name], weight, space)
        assert rounding is not None
        assert (rounding.params.axis, rounding.params.scale.shape) == (axis, shape)


def test_each_weight_is_rounded_once_in_a_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counting(array: roundings.Array, space: QSpace, axis: int | None) -> Rounding:
        calls.append(space.name)
        return rounded(array, space, axis)

    monkeypatch.setattr(roundings, "rounded", counting)
    node = nodes()["a"]
    assert node.inputs[1] is not None
    with remembered():
        first = nearest(node, node.inputs[1], S8_SYMMETRIC)
        with remembered():
            assert nearest(node, node.inputs[1], S8_SYMMETRIC) is first
        nearest(node, node.inputs[1], S8_SYMMETRIC_PER_CHANNEL)
    assert len(calls) == 2
    nearest(node, node.inputs[1], S8_SYMMETRIC)
    assert len(calls) == 3  # nothing is kept outside


def test_a_computed_weight_has_no_rounding() -> None:
    node = nodes()["b"]
    assert node.inputs[0] is not None
    assert nearest(node, node.inputs[0], S8_SYMMETRIC) is None


def test_turning_a_rounding_over_moves_no_element(rng: np.random.Generator) -> None:
    array = rng.standard_normal((6, 4)).astype(np.float32)
    for space, axis in ((S8_SYMMETRIC_PER_CHANNEL, 1), (GROUPS, 0)):
        found = rounded(array, space, axis)
        turned = found.transposed()
        np.testing.assert_array_equal(
            dequantize(turned.integers, turned.params), dequantize(found.integers, found.params).T
        )
        np.testing.assert_array_equal(turned.integers, rounded(array.T, space, 1 - axis).integers)


def test_learned_integers_are_no_copy_of_nearest_ones(rng: np.random.Generator) -> None:
    found = rounded(rng.standard_normal((3, 2)).astype(np.float32), S8_SYMMETRIC, None)
    assert Rounding(found.params, found.integers.copy(), GUARDED).key == found.key
    learned = Rounding(found.params, found.integers.copy(), "adaround")
    assert learned.key not in (found.key, Rounding(found.params, found.integers, "adaround").key)
    assert found.how == NEAREST


def test_integers_are_of_the_space() -> None:
    found = rounded(np.ones((2, 2), np.float32), S8_SYMMETRIC, None)
    with pytest.raises(ConfigurationError, match="int16"):
        Rounding(found.params, found.integers.astype(np.int16))
