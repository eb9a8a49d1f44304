"""Results that torch.export does not know are left out, with a word; tensors beside them stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

import qcompiler as qc  # noqa: E402
from qcompiler.errors import ExportError  # noqa: E402


class Cache:
    """As decoders return them: an object that holds tensors."""

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys


class Decoder(nn.Module):
    def __init__(self, only: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.only = only

    def forward(self, x: Tensor) -> Any:
        y = self.linear(x)
        cache = Cache(y + 1)
        return cache if self.only else {"cache": cache, "logits": [y, None, 3]}


def test_the_tensors_beside_a_cache_are_compiled() -> None:
    module = Decoder().eval()
    feeds = [torch.randn(2, 4) for _ in range(3)]
    made = qc.compile(module, calibration=feeds, scheme="float32", recipe="fast")
    found = made(feeds[0])
    assert found["cache"] is None
    logits, none, three = found["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(logits, module.linear(feeds[0]), rtol=1e-5, atol=1e-6)
    assert none is None
    assert three == 3
    (note,) = made.program.provenance.warnings
    assert "'['cache']' is left out" in note
    assert "Cache" in note


def test_the_module_itself_is_not_changed() -> None:
    module = Decoder().eval()
    qc.load(module, torch.randn(2, 4))
    assert isinstance(module(torch.randn(2, 4))["cache"], Cache)


def test_a_module_that_returns_nothing_else_is_refused() -> None:
    with pytest.raises(ExportError, match="could not capture Decoder") as caught:
        qc.load(Decoder(only=True).eval(), torch.randn(2, 4))
    assert "Cache" in str(caught.value)


class Named(dict[str, Any]):
    """A mapping of one's own, as libraries give theirs."""


class Returning(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return Named(a=x + 1, b=(Named(c=x),))


def test_mappings_of_other_classes_are_dicts() -> None:
    x = torch.randn(2, 4)
    made = qc.compile(Returning(), calibration=[x, x], scheme="float32", recipe="fast")
    found = made(x)
    assert type(found) is dict
    np.testing.assert_allclose(found["a"], x + 1)
    np.testing.assert_allclose(found["b"][0]["c"], x)
    assert "no Named" in made.program.provenance.warnings[0]
