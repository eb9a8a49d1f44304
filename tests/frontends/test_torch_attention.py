"""A mask that shuts out every key: the fused layers and the layers as written disagree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qcompiler.execution.session import OrtSession
from qcompiler.execution.torch_source import TorchSource
from qcompiler.frontends.torch_attention import without_fused_attention
from qcompiler.frontends.torch_module import program_from_torch

WIDTH = 8
PADDED = torch.tensor([[True, True, True], [False, False, True]])


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: torch.Tensor, padded: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(x, x, x, key_padding_mask=padded, need_weights=False)[0]
        return found


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1)

    def forward(self, x: torch.Tensor, padded: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(x, src_key_padding_mask=padded)
        return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [_Attention, _Encoder])
def test_source_and_program_are_the_layer_as_written(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = kind().eval(), torch.randn(2, 3, WIDTH)
    with torch.no_grad():
        fused = model(x, PADDED).numpy()
    expected = model(x, PADDED).detach().numpy()  # with gradients torch takes the layer as written
    assert not np.allclose(fused, expected)  # NaN from the one, 0 for padding from the other
    program = program_from_torch(model, (x, PADDED), None)
    names = program.signature.input_names
    feed = dict(zip(names, (x.numpy(), PADDED.numpy()), strict=True))
    for found in (
        TorchSource(model, program.signature).run(feed)[0],
        OrtSession(program.model).run(feed)[0],
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_the_users_setting_comes_back() -> None:
    with without_fused_attention():
        with without_fused_attention():
            assert not torch.backends.mha.get_fastpath_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled()
