"""`OpenVinoSession`: runs of several threads, each of which gets its own result."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qcompiler.execution.openvino.session import OpenVinoSession, available
from qcompiler.ir.text import from_text

pytestmark = pytest.mark.skipif(not available(), reason="openvino is not installed")


class SlowRequest:
    """Stands for OpenVINO's: one run at a time, whose outputs lie in it until the next."""

    def __init__(self) -> None:
        self._busy = False
        self._held = np.zeros(1, np.float32)

    def infer(self, feed: dict[int, Any]) -> None:
        if self._busy:
            raise RuntimeError("Infer Request is busy")
        self._busy = True
        time.sleep(0.01)
        self._held, self._busy = feed[0], False

    def get_output_tensor(self, place: int) -> Any:
        time.sleep(0.005)
        return SimpleNamespace(data=self._held)


def test_threads_get_their_own_results() -> None:
    program = from_text("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    session = OpenVinoSession(program.model, program.signature)
    session._request = SlowRequest()
    together = threading.Barrier(4)

    def run(number: int) -> float:
        together.wait()
        return float(session.run({"x": np.full(1, number, np.float32)})[0][0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [0.0, 1.0, 2.0, 3.0]
