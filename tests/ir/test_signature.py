"""Bytes of arrays: what digests look at is what keys are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.ir.signature import buffer, content


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 3), np.float32),
        np.array(3.0),
        np.array(["a", "long"], object),
        np.arange(4)[::2],
    ],
    ids=["turned", "empty", "scalar", "texts", "every other"],
)
def test_the_bytes_that_are_looked_at_are_those_of_the_content(array: npt.NDArray[Any]) -> None:
    assert bytes(buffer(array)) == content(array)
