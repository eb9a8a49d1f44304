"""Feeds that are made up: of the asked shape, and refused by name where that cannot be."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.errors import FeedError
from qcompiler.execution.made_up import made_up, sizes_in_a_run
from qcompiler.ir.signature import Signature, TensorSpec
from qcompiler.ir.text import from_text

IMAGE = TensorSpec("image", ir.DataType.FLOAT, ("n", 3, "h"))
IDS = TensorSpec("ids", ir.DataType.INT64, ("n",))


def test_open_sizes_are_one_unless_a_shape_is_given() -> None:
    both = Signature((IMAGE, IDS), ())
    found = made_up(both, 2, {"image": (5, 3, 7)})
    assert {name: value.shape for name, value in found.items()} == {"image": (5, 3, 7), "ids": (2,)}
    assert not found["ids"].any()


def test_the_only_input_needs_no_name() -> None:
    assert made_up(Signature((IMAGE,), ()), 1, {"": (4, 3, 2)})["image"].shape == (4, 3, 2)


@pytest.mark.parametrize(("name", "message"), [("ids", "no input 'ids'"), ("", "several inputs")])
def test_a_shape_of_no_input_is_refused(name: str, message: str) -> None:
    inputs = (IMAGE,) if name else (IMAGE, IDS)
    with pytest.raises(FeedError, match=message):
        made_up(Signature(inputs, ()), 1, {name: (1,)})


def test_sizes_of_inner_values_and_outputs() -> None:
    program = from_text("g (float[n,2] x) => (float[n,2] y) { a = Relu (x)  y = Neg (a) }")
    feed = {"x": np.zeros((3, 2), np.float32)}
    assert sizes_in_a_run(program, feed, ["a", "y", "a"]) == {"a": 6, "y": 6}
