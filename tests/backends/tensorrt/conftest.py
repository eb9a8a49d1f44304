from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.tensorrt_net import KERNEL, Net, Recipe, image


@pytest.fixture
def conv_net() -> Callable[..., Any]:
    """Builds Q/DQ -> Conv with keyword changes to the activation's and the weight's Q/DQ."""

    def build(
        activation: dict[str, Any] | None = None, weight: dict[str, Any] | None = None
    ) -> Any:
        def recipe(net: Net) -> str:
            x = net.quantize("x", **(activation or {}))
            return net.conv(x, net.weight(KERNEL, **(weight or {})), 16)

        chosen: Recipe = recipe
        return image(chosen)

    return build
