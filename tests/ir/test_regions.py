"""Which operand of a region is which."""

from __future__ import annotations

from qcompiler.ir.regions import RegionPattern, find_regions
from qcompiler.ir.text import from_text


def test_one_constant_may_be_weight_and_bias() -> None:
    text = "g (float[4,4] x) => (float[4,4] y) <float[4,4] w> { y = Gemm(x, w, w) }"
    (region,) = find_regions(from_text(text), [RegionPattern("Gemm")])
    assert region.weight is not None
    assert region.bias is not None
    assert (region.weight.index, region.bias.index) == (1, 2)
