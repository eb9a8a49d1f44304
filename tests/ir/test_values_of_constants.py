"""What follows from constants alone is no region: engines fold it when they load a model."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.ir.regions import RegionPattern, find_regions
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import values_of_constants
from tests.oracle import compile_int8

CHAIN = """g (float[2,4] x) => (float[2,4] y, float[2,4] z) <float[2,4] k, float[4,4] w> {
  [one] l = LeakyRelu(k)  [two] s = Sigmoid(l)  [three] y = Add(s, s)
  [four] z = MatMul(x, w)
}"""


def test_results_of_constants_are_found() -> None:
    found = {value.name for value in values_of_constants(from_text(CHAIN).model)}
    assert found == {"l", "s", "y"}


def test_random_numbers_and_bodies_are_none() -> None:
    text = """g (float[2] x) => (float[2] y, float[2] z) <float[2] k, bool c = {1}> {
      r = RandomNormalLike(k)  y = Add(r, x)
      z = If(c) <then_branch = t () => (float[2] a) { a = Neg(k) },
                 else_branch = e () => (float[2] b) { b = Abs(x) }>
    }"""
    found = {value.name for value in values_of_constants(from_text(text).model)}
    assert found == {"a"}


def test_a_region_tells_them_from_what_depends_on_an_input() -> None:
    text = """g (float[2] x) => (float[2] y, float[2] z, float[2] u) <float[2] k> {
      [a] n = Neg(k)  [b] r = RandomNormalLike(k)
      [one] y = Add(x, n)  [two] z = Add(x, r)  [three] u = Add(x, x) }"""
    regions = find_regions(from_text(text), [RegionPattern("Add")])
    found = {each.key: [operand.value.name for operand in each.computed] for each in regions}
    assert found == {"one": ["x"], "two": ["x", "r"], "three": ["x", "x"]}


@pytest.mark.parametrize("scheme", ["int8", "dynamic"])
def test_they_are_not_planned(scheme: str) -> None:
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((2, 4)).astype(np.float32)} for _ in range(3)]
    compiled = compile_int8(from_text(CHAIN), feeds, scheme=scheme)
    assert set(compiled.plan.choices) == {"four"}
    assert compiled.verify().ok
