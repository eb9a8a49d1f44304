"""Bounds beyond which the readers of a value see no difference; numpy tells what they see."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.live import live_bounds
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import values_by_name
from tests.oracle import unoptimized

Array = npt.NDArray[np.float32]
FRAME = """g (float[1,2,401] x) => ({outputs}) <float[2,1] factors> {{
    v = Neg(x)
    {body} }}"""
Y, YZ = "float[1,2,401] y", "float[1,2,401] y, float[1,2,401] z"

CUT = {
    "HardSwish": (Y, "y = HardSwish(v)"),
    "HardSigmoid": (Y, "y = HardSigmoid<alpha=0.25, beta=0.4>(v)"),
    "two readers": (YZ, "y = HardSigmoid<alpha=0.1>(v) z = HardSwish(v)"),
    "gated by channels": (Y, "i = Mul(v, factors) g = HardSigmoid(i) y = Mul(v, g)"),
    "gated": (Y, "g = HardSigmoid(v) y = Mul(g, v)"),
}


@pytest.mark.parametrize("case", CUT)
def test_nothing_is_seen_beyond_the_bounds(case: str) -> None:
    outputs, body = CUT[case]
    stored = {"factors": np.array([[0.5], [2.0]], np.float32)}
    program = from_text(FRAME.format(body=body, outputs=outputs), stored)
    infer_types(program.model)
    live = live_bounds(values_by_name(program.model)["v"])
    assert live is not None
    x = np.broadcast_to(np.linspace(-20, 20, 401, dtype=np.float32), (1, 2, 401))
    cut = -np.clip(-x, live.low, live.high)
    whole, part = unoptimized(program, {"x": x}), unoptimized(program, {"x": cut})
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.any(cut != x)
    narrower = -np.clip(-x, live.low + 0.5, live.high - 0.5)
    assert any(
        np.max(np.abs(one - other)) > 1e-3
        for one, other in zip(whole, unoptimized(program, {"x": narrower}), strict=True)
    )


@pytest.mark.parametrize(
    ("outputs", "body"),
    [
        (Y, "y = Abs(v)"),
        (YZ, "y = HardSwish(v) z = Abs(v)"),
        ("float[1,2,401] y, float[1,2,401] v", "y = HardSwish(v)"),
        (Y, "i = Mul(v, factors) g = Sigmoid(i) y = Mul(v, g)"),
        (YZ, "i = Mul(v, factors) g = HardSigmoid(i) y = Mul(v, g) z = Neg(i)"),
    ],
)
def test_a_reader_that_sees_all_leaves_no_bounds(outputs: str, body: str) -> None:
    stored = {"factors": np.array([[0.5], [2.0]], np.float32)}
    program = from_text(FRAME.format(body=body, outputs=outputs), stored)
    infer_types(program.model)
    assert live_bounds(values_by_name(program.model)["v"]) is None
