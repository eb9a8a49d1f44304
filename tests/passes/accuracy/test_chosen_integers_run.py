"""Integers that accuracy passes choose are what engines compute with: verify is exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.ir.text import from_text

TEXT = """g (float[2,4,6,6] x) => (float[2,5] y)
    <float[8,4,3,3] w, float[8] b, float[8,5] m, float[5] c> {
    [first] a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, b)
    [act] r = Relu(a)
    [pool] p = GlobalAveragePool(r)
    [flat] f = Flatten(p)
    [last] y = Gemm(f, m, c) }"""


@pytest.fixture(scope="module", params=["onnxruntime", "fbgemm"])
def plain(request: pytest.FixtureRequest) -> tuple[qc.Compiled, Any]:
    """Compiled in int8 without variants, and how to compile it with some."""
    draw = np.random.default_rng(3)
    shapes = {"w": (8, 4, 3, 3), "b": (8,), "m": (8, 5), "c": (5,)}
    weights: dict[str, npt.NDArray[Any]] = {
        name: draw.standard_t(3, size=shape).astype(np.float32) for name, shape in shapes.items()
    }
    feeds = [{"x": draw.normal(size=(2, 4, 6, 6)).astype(np.float32)} for _ in range(4)]

    def compiled(**options: Any) -> qc.Compiled:
        program = from_text(TEXT, weights)
        return qc.compile(program, request.param, feeds, recipe="fast", **options)

    return compiled(scheme="int8", variants=()), compiled


@pytest.mark.parametrize(
    "variant", ["gptq", "adaround{steps=20,seconds=60.0}", "correct-bias{cascade=true}"]
)
def test_the_engine_computes_with_what_was_chosen(plain: Any, variant: str) -> None:
    before, compiled = plain
    found = compiled(plan=replace(before.plan, variants=(variant,)))
    assert found.plan.variants == (variant,)
    assert found.verify().ok
    x = np.random.default_rng(5).normal(size=(2, 4, 6, 6)).astype(np.float32)
    assert not np.array_equal(found.run({"x": x})[0], before.run({"x": x})[0])
