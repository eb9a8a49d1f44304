"""OpenVINO keeps what every target has to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.backends.openvino.target import OpenVino
from qcompiler.execution.openvino.session import available
from qcompiler.testing.target_contract import TargetContract

Array = npt.NDArray[Any]
pytestmark = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)


class TestOpenVino(TargetContract):
    target = OpenVino(threads=1)
    uncounted = frozenset({"pool", "mean", "flat"})

    def load(self, path: Path) -> Callable[[dict[str, Array]], Sequence[Array]]:
        import openvino

        named = path.with_suffix(".onnx")  # OpenVINO tells formats by suffix
        path.rename(named)
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = openvino.Core().compile_model(str(named), "CPU", options)
        return lambda feed: [np.asarray(output) for output in compiled(feed).values()]
