"""`bench`: what it changes for its runs is as it was behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qcompiler.bench import bench
from qcompiler.execution.session import OrtSession
from qcompiler.ir.text import from_text

FEED = {"x": np.ones((2, 4), np.float32)}


def _model() -> object:
    text = "g (float[N,4] x) => (float[N,4] y) { [it] y = Relu(x) }"
    return from_text(text).model


def test_models_in_memory_run_with_the_threads_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def opened(model: Any, threads: int | None = None) -> OrtSession:
        asked.append(threads)
        return OrtSession(model, threads=threads)

    monkeypatch.setattr("qcompiler.bench.OrtSession", opened)
    (row,) = bench({"a": _model()}, FEED, seconds=0.0, threads=1)
    assert asked == [1]
    assert row.engine == "onnxruntime"


def test_torch_has_its_threads_again() -> None:
    torch = pytest.importorskip("torch")
    before, seen = torch.get_num_threads(), set()

    class Asking(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: object) -> object:
            seen.add(torch.get_num_threads())
            return torch.relu(x)

    try:
        torch.set_num_threads(2)
        bench({"a": Asking().eval()}, torch.ones(2, 4), seconds=0.0, threads=1)
        assert 1 in seen
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
