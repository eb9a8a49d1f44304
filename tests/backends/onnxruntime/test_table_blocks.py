"""Tables that are looked up in blocks of a few bits, against the same blocks rounded by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.text import from_text

Array = npt.NDArray[Any]
ROWS = 50


def compiled_with(width: int, scheme: str, ids: str = "N,3") -> tuple[qc.Compiled, Array]:
    table = np.random.default_rng(width).standard_normal((ROWS, width)).astype(np.float32)
    text = (
        f"g (int64[{ids}] i) => (float[] y) <float[{ROWS},{width}] w> {{ [it] y = Gather(w, i) }}"
    )
    program = from_text(text, {"w": table})
    feeds = [{"i": np.asarray([[0, -1, 7]])}]
    return qc.compile(program, OnnxRuntime(1), feeds, scheme=scheme), table


def rounded(table: Array, size: int, top: int) -> Array:
    """Each block of a row rounded to `top` positive and `top + 1` negative steps."""
    found = np.empty_like(table)
    for start in range(0, table.shape[1], size):
        block = table[:, start : start + size]
        step = np.maximum(block.max(1) / top, -block.min(1) / (top + 1)).astype(np.float32)[:, None]
        found[:, start : start + size] = np.clip(np.rint(block / step), -top - 1, top) * step
    return found


@pytest.mark.parametrize("width", [2, 7, 64, 67, 300])
@pytest.mark.parametrize(
    ("scheme", "size", "top"),
    [("int4-weights", 32, 7), ("int4-weights-b256", 256, 7), ("int3-weights-b64", 64, 3)],
)
def test_rows_are_the_rounded_ones(scheme: str, size: int, top: int, width: int) -> None:
    compiled, table = compiled_with(width, scheme)
    assert compiled.plan.precisions == {"it": scheme}
    ids = np.asarray([[0, -1, 7], [49, 3, -50]])
    (found,) = compiled.run({"i": ids})
    # One float32 product on each side.
    np.testing.assert_allclose(found, rounded(table, size, top)[ids], rtol=2.0**-22, atol=0)
    assert np.abs(found - table[ids]).max() > 0.01  # the control: it is no longer the table
    assert compiled.run({"i": np.zeros((0, 3), np.int64)})[0].shape == (0, 3, width)


def test_blocks_larger_than_a_row_are_not_filled_up() -> None:
    # Half a byte for 64 elements and a scale, 50 times; the rest is the graph.
    compiled, _ = compiled_with(64, "int4-weights-b256")
    assert compiled.artifact.nbytes < ROWS * (32 + 4) + 2600
    wide, _ = compiled_with(384, "int4-weights-b256")
    assert wide.artifact.nbytes < ROWS * (192 + 3 * 4) + 2600


@pytest.mark.parametrize("shape", [(), (4,), (2, 1, 2), (0,), (0, 3)])
def test_the_rank_of_indices_need_not_be_known(shape: tuple[int, ...]) -> None:
    compiled, table = compiled_with(67, "int4-weights", ids="")
    ids = np.random.default_rng(0).integers(-ROWS, ROWS, shape)
    (found,) = compiled.run({"i": ids})
    np.testing.assert_allclose(found, rounded(table, 32, 7)[ids], rtol=2.0**-22, atol=0)
