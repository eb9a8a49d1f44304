"""Adaptive pooling to sizes that do not divide: torch's own operator is the oracle."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import onnx_ir as ir
import onnxruntime as ort
import torch
from torch import nn

from qcompiler.frontends import torch_adaptive
from qcompiler.frontends.load import load
from qcompiler.ir.program import Program

SHAPES = [((2, 3, 7), (3,)), ((2, 3, 17, 23), (2, 3)), ((2, 1, 5, 4), (7, 7)),
          ((1, 2, 9, 11, 10), (2, 3, 4))]  # fmt: skip


@pytest.mark.parametrize(("shape", "wanted"), SHAPES)
def test_forms(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    average = getattr(nn.functional, f"adaptive_avg_pool{len(wanted)}d")
    largest = getattr(nn.functional, f"adaptive_max_pool{len(wanted)}d")
    torch.testing.assert_close(torch_adaptive.average(x, wanted), average(x, wanted))
    values, places = torch_adaptive.maximum(x, wanted)
    expected = largest(x, wanted, return_indices=True)
    assert torch.equal(values, expected[0])
    assert torch.equal(places, expected[1])


LAYERS = [
    (nn.AdaptiveAvgPool1d(3), (2, 3, 7)),
    (nn.AdaptiveAvgPool2d((2, 3)), (2, 3, 17, 23)),
    (nn.AdaptiveAvgPool2d((None, 3)), (2, 3, 4, 7)),
    (nn.AdaptiveAvgPool3d((2, 3, 2)), (2, 3, 9, 5, 4)),
    (nn.AdaptiveMaxPool1d(3), (2, 3, 7)),
    (nn.AdaptiveMaxPool2d((2, 3), return_indices=True), (2, 3, 17, 23)),
    (nn.AdaptiveMaxPool3d((2, 3, 2)), (2, 3, 9, 5, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=[str(each[0]) for each in LAYERS])
def test_captured_with_an_open_batch(layer: nn.Module, shape: tuple[int, ...]) -> None:
    module = nn.Sequential(nn.ReLU(), layer)
    program = load(module, torch.randn(shape))
    x = torch.randn(shape[0] + 1, *shape[1:])
    wanted = module(x)
    session = ort.InferenceSession(_bytes(program))
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    for one, two in zip(found, wanted if isinstance(wanted, tuple) else [wanted], strict=True):
        torch.testing.assert_close(torch.from_numpy(one), two)


def test_a_window_is_few_nodes() -> None:
    """PyTorch's own decomposition of this one has 73 gathers."""
    program = load(nn.Sequential(nn.AdaptiveAvgPool2d((2, 3))), torch.randn(2, 3, 17, 23))
    assert len(program.graph) < 20


def _bytes(program: Program) -> bytes:
    return bytes(ir.to_proto(program.model).SerializeToString())
