"""ONNX Runtime keeps what every target has to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.testing.target_contract import TargetContract

Array = npt.NDArray[Any]


class TestOnnxRuntime(TargetContract):
    target = OnnxRuntime(threads=1)

    def load(self, path: Path) -> Callable[[dict[str, Array]], Sequence[Array]]:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda feed: [np.asarray(output) for output in session.run(None, feed)]
