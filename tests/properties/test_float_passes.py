"""Law: the float passes keep the function of any graph of these ops, within rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.passes.canonicalize import Canonicalize
from qcompiler.passes.dead_code import DeadCode
from qcompiler.passes.fusion.conv_bn import FuseConvBn
from qcompiler.pipeline.contract import PassContext
from tests.oracle import unoptimized

Array = npt.NDArray[Any]

_STEPS = (
    "Conv({0}, w)",
    "Conv<pads=[1,1,1,1]>({0}, k, b)",
    "Conv<group=4, pads=[1,1,1,1]>({0}, d)",
    "BatchNormalization({0}, s, b, m, v)",
    "Mul({0}, c)",
    "Add(c, {0})",
    "Sub({0}, half)",
    "Sub(half, {0})",
    "Div({0}, two)",
    "Relu({0})",
    "Max({0}, zero)",
    "Clip({0}, zero, two)",
    "Identity({0})",
    "Add({0}, {1})",
    "Mul({0}, half)",
    "HardSigmoid<alpha=0.16666667, beta=0.5>({0})",
    "Transpose<perm=[0,1,3,2]>({0})",
)
_HEAD = (
    "g (float[1,4,4,4] x) => (float[1,4,4,4] y, float[1,4,4,4] z) <float[4,4,1,1] w, "
    "float[4,4,3,3] k, float[4,1,3,3] d, float[4] b, float[4] s, float[4] m, float[4] v, "
    "float[1,4,1,1] c, float half = {0.5}, float two = {2.0}, float zero = {0.0}> "
)


@st.composite
def _graphs(draw: st.DrawFn) -> str:
    """A chain with branches: every step reads one or two earlier values."""
    names, lines = ["x"], []
    for index in range(draw(st.integers(1, 12))):
        step = draw(st.sampled_from(_STEPS))
        near = draw(st.sampled_from(names[-2:]))
        lines.append(f"t{index} = {step.format(near, draw(st.sampled_from(names)))}")
        names.append(f"t{index}")
    lines += [f"y = Abs({names[-1]})", f"z = Identity({draw(st.sampled_from(names[1:]))})"]
    return _HEAD + "{ " + " ".join(lines) + " }"


def _weights() -> dict[str, Array]:
    """Of norm about one, so that no chain amplifies rounding by more than a few times."""
    rng = np.random.default_rng(5)
    shapes = {"w": (4, 4, 1, 1), "k": (4, 4, 3, 3), "d": (4, 1, 3, 3), "c": (1, 4, 1, 1)}
    found = {n: rng.uniform(-1, 1, s) / np.prod(s[1:]) ** 0.5 for n, s in shapes.items()}
    found |= {name: rng.uniform(0.5, 1, 4) for name in ("b", "s", "m", "v")}
    return {name: array.astype(np.float32) for name, array in found.items()}


def _run(program: Program, x: Array) -> list[Array]:
    return unoptimized(program, {"x": x})


@settings(max_examples=50, deadline=None)
@given(_graphs())
def test_the_function_is_kept(text: str) -> None:
    program = from_text(text, _weights())
    x = np.random.default_rng(0).uniform(-2, 2, (1, 4, 4, 4)).astype(np.float32)
    wanted = _run(program, x)
    passes = (Canonicalize(), FuseConvBn(), DeadCode())
    for each in passes:
        each.run(program, PassContext())
        assert [str(finding) for finding in verify(program)] == []
    # 12 steps of at most 36 products, each rounded to 2^-24, with the folded weights' own rounding.
    bound = 2 * 12 * 36 * 2.0**-24
    for before, after in zip(wanted, _run(program, x), strict=True):
        scale = max(1.0, float(np.abs(before).max()))
        np.testing.assert_allclose(after, before, rtol=0, atol=bound * scale)
    assert not Canonicalize().run(program, PassContext()).modified
    assert not FuseConvBn().run(program, PassContext()).modified
