"""The first node whose result differs between two runs."""

from __future__ import annotations

import numpy as np

from qcompiler.ir.text import from_text
from qcompiler.measurement.first_difference import first_difference, run_on_onnxruntime


def test_sequences_between_are_passed_over() -> None:
    """They are lists, which have no type to compare by."""
    program = from_text(
        """g (float[2] x) => (float[2] y) <int64 at = {0}> {
            s = SequenceConstruct(x, x)
            z = SequenceAt(s, at)
            [last] y = Neg(z) }"""
    )
    feed = {"x": np.array([1, 2], np.float32)}
    found = run_on_onnxruntime(program, feed, ["s", "z", "y"])
    assert isinstance(found["s"], list)
    assert first_difference(program, found, found) == (None, False)
    node, undefined = first_difference(program, found, {**found, "y": -found["y"]})
    assert node is not None
    assert (node.name, undefined) == ("last", False)
