"""What is added to a product belongs to its region only if it is one row of no more axes."""

from __future__ import annotations

import pytest

from qcompiler.ir.products import is_row
from qcompiler.ir.regions import Epilogue, RegionPattern, Stage, find_regions
from qcompiler.ir.text import from_text

PRODUCT = RegionPattern("MatMul", (Epilogue(Stage.BIAS_ADD, frozenset({"Add"})),))


@pytest.mark.parametrize(
    ("dims", "axes", "wanted"),
    [
        ((), None, True), ((5,), None, True), ((1, 5), None, False), ((1, 5), 2, True),
        ((1, 1, 5), 2, False), ((2, 5), 2, False), ((1, 5), 1, False),
    ],
)  # fmt: skip
def test_a_row_has_one_line_and_no_axis_of_its_own(
    dims: tuple[int, ...], axes: int | None, wanted: bool
) -> None:
    assert is_row(dims, axes) is wanted


@pytest.mark.parametrize(
    ("shape", "ops"),
    [("5", "MatMul+Add"), ("1,5", "MatMul+Add"), ("1,1,5", "MatMul"), ("1,1,1,5", "MatMul")],
)
def test_an_add_that_gives_the_product_axes_stays_outside(shape: str, ops: str) -> None:
    text = f"""g (float[2,4] x) => (float[2,5] y) <float[4,5] w, float[{shape}] b> {{
      [m] p = MatMul(x, w)  [a] y = Add(p, b) }}"""
    (region,) = find_regions(from_text(text), [PRODUCT])
    assert region.ops == ops
