"""TensorRT keeps what every target has to keep, as far as a stand-in can show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.testing.target_contract import TargetContract
from tests.oracle import unoptimized_session

Array = npt.NDArray[Any]


class TestTensorRT(TargetContract):
    target = TensorRT(stand_in="onnxruntime")
    uncounted = frozenset({"pool", "mean", "flat"})
    rows_apart = 1e-5  # float sums between the products

    def load(self, path: Path) -> Callable[[dict[str, Array]], Sequence[Array]]:
        session = unoptimized_session(path)
        return lambda feed: [np.asarray(output) for output in session.run(None, feed)]
