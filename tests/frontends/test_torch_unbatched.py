"""Layers without a batch or a bias. Oracle: the layer itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - only where torch is

from qcompiler.frontends import load  # noqa: E402


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Unfold(3, 2, 1, 2), (4, 8, 9)),
        (nn.Fold((4, 5), (2, 2)), (12, 12)),
        (nn.Conv3d(2, 3, 2, stride=2, bias=False), (2, 2, 4, 5, 6)),
        (nn.Conv3d(2, 4, 2, groups=2, padding=1, bias=False), (2, 2, 4, 5, 6)),
        (nn.Conv3d(2, 3, 2, bias=False), (2, 4, 5, 6)),
    ],
)
def test_layers(layer: Any, shape: tuple[int, ...], run: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    program = load(layer.eval(), x, dynamic=False)
    (found,) = run(program, {program.signature.input_names[0]: x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, layer(x).numpy(), rtol=1e-5, atol=1e-5)
