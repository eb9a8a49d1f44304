"""Modules that another tool has quantized are refused by name."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - only where torch is

from qcompiler.errors import ExportError  # noqa: E402
from qcompiler.frontends import load  # noqa: E402


class Stored(nn.Module):
    """Holds an integer weight with its scale."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.quantize_per_tensor(torch.randn(4, 4), 0.1, 0, torch.qint8)
        self.register_buffer("weight", weight)


def _of_package(name: str) -> nn.Module:
    """A layer whose class says that it comes from there."""
    layer = type("Linear", (nn.Linear,), {"__module__": name})
    made = layer(4, 4)
    assert isinstance(made, nn.Module)
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "package", ["torchao.quantization.qat", "torch.ao.nn.quantized.modules", None]
)
def test_a_quantized_layer_is_named(package: str | None) -> None:
    layer = Stored() if package is None else _of_package(package)
    with pytest.raises(ExportError, match="quantized already") as caught:
        load(nn.Sequential(nn.ReLU(), nn.Sequential(layer)), torch.randn(2, 4))
    assert caught.value.where == "1.0"
