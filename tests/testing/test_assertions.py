"""The test kit tells equal programs from others, and says in what they differ."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from qcompiler.ir.text import from_text, to_text
from qcompiler.testing import assert_ir, assert_same_function, random_net

RELU = "g (float[N,4] x) => (float[N,4] y) { [last] y = Relu (x) }"


def test_equal_programs_pass() -> None:
    twice = "g (float[N,4] x) => (float[N,4] y) { r = Relu(x) y = Relu(r) }"
    assert_same_function(from_text(RELU), from_text(twice))


RESHAPED = """
g (float[N,4] x) => (float[N,2,2] y) <int64[3] s = {-1,2,2}> { r = Relu(x) y = Reshape(r, s) }
"""
NAN = """
g (float[N,4] x) => (float[N,4] y) <float[1] z = {0.0}> { a = Div(z, z) r = Relu(x) y = Add(r, a) }
"""
MORE = "g (float[N,4] x) => (float[N,4] y, float[N,4] z) { y = Relu(x) z = Neg(x) }"


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (RELU.replace("Relu", "Neg"), "noise-to-signal"),
        (RESHAPED, r"float32\[2, 2, 2\]"),
        (MORE, "1 and 2"),
        (NAN, "inf"),
    ],
)
def test_different_ones_fail(other: str, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        assert_same_function(from_text(RELU), from_text(other))


def test_a_difference_that_one_feed_does_not_show_is_seen_on_given_ones() -> None:
    other = from_text(RELU.replace("Relu (x)", "LeakyRelu <alpha: float = 0.5> (x)"))
    positive = [{"x": np.ones((1, 4), np.float32)}]
    assert_same_function(from_text(RELU), other, positive)
    with pytest.raises(AssertionError):
        assert_same_function(from_text(RELU), other, [{"x": -np.ones((1, 4), np.float32)}])
    with pytest.raises(AssertionError, match="no feeds"):
        assert_same_function(from_text(RELU), other, [])


def test_text_is_compared_with_or_without_its_header() -> None:
    program = from_text(RELU)
    assert_ir(program, to_text(program))
    assert_ir(program, "g (float[N,4] x) => (float[N,4] y)\n{\n[last] y = Relu (x)\n}")
    with pytest.raises(AssertionError, match=r"-\[last\] y = Neg"):
        assert_ir(program, "g (float[N,4] x) => (float[N,4] y)\n{\n[last] y = Neg (x)\n}")


def test_random_networks_are_those_of_their_seed() -> None:
    one, again, other = random_net(1), random_net(1), random_net(2)
    assert one.model.SerializeToString() == again.model.SerializeToString()
    assert one.model.SerializeToString() != other.model.SerializeToString()


def test_only_the_contract_needs_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "import qcompiler.testing as kit\n"
        "kit.random_net(0)\n"
        "try: kit.TargetContract\n"
        "except ImportError: print('needs it')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "needs it"
