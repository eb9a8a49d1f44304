"""LSTM layers with projections. Oracle: the eager module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

from qcompiler.errors import ExportError  # noqa: E402
from qcompiler.frontends import load  # noqa: E402


class Projected(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, 7, proj_size=3, **options)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.rnn(x)
        return y, h, c


@pytest.mark.parametrize(
    "options",
    [
        {"batch_first": True},
        {"num_layers": 2, "bidirectional": True},
        {"bias": False, "bidirectional": True, "batch_first": True},
    ],
)
def test_projections_become_products(options: dict[str, Any], run: Any) -> None:
    torch.manual_seed(0)
    module = Projected(**options).eval()
    x = torch.randn(4, 6, 5)
    program = load(module, x)
    found = run(program, {"x": x.numpy()})
    for have, want in zip(found, module(x), strict=True):
        np.testing.assert_allclose(have, want.detach().numpy(), rtol=0, atol=1e-5)


def test_a_given_state_is_refused_with_the_module() -> None:
    class Given(Projected):
        def forward(self, x: Tensor) -> Any:
            return self.rnn(x, (torch.ones(1, 6, 3), torch.ones(1, 6, 7)))[0]

    with pytest.raises(ExportError, match="proj_size") as caught:
        load(Given().eval(), torch.randn(4, 6, 5))
    assert "'rnn'" in (caught.value.where or "")
