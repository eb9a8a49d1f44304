"""TensorRT keeps what every target has to keep, as far as a stand-in can show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.testing.target_contract import TargetContract

Array = npt.NDArray[Any]


class TestTensorRT(TargetContract):
    target = TensorRT(stand_in="onnxruntime")
    uncounted = frozenset({"pool", "mean", "flat"})
    rows_apart = 1e-5  # float sums between the products

    def load(self, path: Path) -> Callable[[dict[str, Array]], Sequence[Array]]:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        return lambda feed: [np.asarray(output) for output in session.run(None, feed)]
