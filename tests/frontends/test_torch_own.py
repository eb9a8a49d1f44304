"""Own decompositions: what PyTorch's translation gets wrong. Oracle: the eager operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is
from torch.nn import functional as F  # noqa: E402, N812 - its usual name

from qcompiler.frontends import load  # noqa: E402


class Op(nn.Module):
    def __init__(self, op: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


BLIND = torch.ones(6, 6, dtype=torch.bool).tril(-1)
"""Its first row sees nothing."""
FAR = torch.zeros(6, 6).masked_fill(~BLIND, -float("inf"))


def heads(x: Tensor) -> Tensor:
    return x.view(*x.shape[:2], 2, 4).transpose(1, 2)


def attend(x: Tensor, mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x, mask)


def mean(x: Tensor, keep: bool) -> Tensor:
    index = torch.zeros(x.shape, dtype=torch.long)
    return x.scatter_reduce(1, index, x.flip(1), "mean", include_self=keep)


def aligned(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    return F.interpolate(x, size, mode=mode, antialias=True, align_corners=True)


def normed(x: Tensor) -> Tensor:
    """With running statistics, which training does not use."""
    return F.batch_norm(x, torch.ones(3), torch.ones(3), STEPS[:3], STEPS[1:4], training=True)


IMAGE, ROWS = (2, 3, 11, 9), (2, 6, 8)
STEPS = torch.arange(1.0, 9.0)
KERNEL = torch.linspace(-1, 1, 3 * 2 * 3 * 2).reshape(3, 2, 3, 2)
CASES: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), IMAGE),
    "divisor, ceil": (
        lambda x: F.avg_pool2d(x, 3, 4, 1, ceil_mode=True, divisor_override=5),
        IMAGE,
    ),
    "divisor, no batch": (lambda x: F.avg_pool2d(x[:, 0], (3, 2), divisor_override=1), IMAGE),
    "divisor, 3-D": (lambda x: F.avg_pool3d(x[:, None], 2, divisor_override=7), IMAGE),
    "blind row": (lambda x: attend(heads(x), BLIND), ROWS),
    "infinite row": (lambda x: attend(heads(x), FAR), ROWS),
    "3-D attention": (lambda x: F.scaled_dot_product_attention(x, x, x, scale=0.4), ROWS),
    "3-D causal": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), ROWS),
    "5-D attention": (lambda x: attend(heads(x)[:, None]), ROWS),
    "mean with itself": (lambda x: mean(x, True), ROWS),
    "mean without": (lambda x: mean(x, False), ROWS),
    "bilinear": (lambda x: aligned(x, (5, 14), "bilinear"), IMAGE),
    "bicubic": (lambda x: aligned(x, (14, 4), "bicubic"), IMAGE),
    "statistics of the batch": (normed, IMAGE),
    "batch norm without statistics": (lambda x: F.batch_norm(x, None, None, training=True), ROWS),
    "native batch norm": (
        lambda x: torch.native_batch_norm(
            x, None, None, torch.ones(6), torch.ones(6), True, 0.1, 0.5
        )[0],
        ROWS,
    ),
    "probabilities": (lambda x: F.cross_entropy(x, x.softmax(1)), ROWS),
    "smoothed": (
        lambda x: F.cross_entropy(
            x, x.flip(1).softmax(1), STEPS[:6], reduction="none", label_smoothing=0.2
        ),
        ROWS,
    ),
    "log_ndtr": (lambda x: torch.special.log_ndtr(3 * x), ROWS),
    "erfcx": (lambda x: torch.special.erfcx(x.clamp(min=-1)), ROWS),
    "one step": (lambda x: torch.linspace(x.sum(), x.max(), 1), ROWS),
    "output padding": (
        lambda x: F.conv_transpose2d(x, KERNEL, STEPS[:2], 2, (1, 2), (1, 2), dilation=3),
        IMAGE,
    ),
    "output padding, 1-D": (
        lambda x: F.conv_transpose1d(x, KERNEL[..., 0].tile(2, 1, 1), None, 1, 0, 1, dilation=2),
        ROWS,
    ),
    "replicate, cropped": (lambda x: F.pad(x, (-3, 5, 2, -1), mode="replicate"), IMAGE),
    "reflect, cropped": (lambda x: F.pad(x, (-3, 5, 2, -1), mode="reflect"), IMAGE),
    "amax of a number": (lambda x: x.sum().amax(0) * x, ROWS),
    "any of a number": (lambda x: (x.sum() > 0).any(0, keepdim=True) * x, ROWS),
    "norm of a number": (lambda x: torch.linalg.vector_norm(x.sum(), dim=0) * x, ROWS),
    "topk of a number": (lambda x: x.sum().topk(1, 0)[0] * x, ROWS),
    "prod of a number": (lambda x: x.sum().prod(-1) + x, ROWS),
    "scatter into a number": (
        lambda x: x.sum().scatter(0, torch.tensor(0), x.max()) + x,
        ROWS,
    ),
    "divide by integers": (lambda x: torch.divide(x, STEPS.long()), ROWS),
    "multiply by truths": (lambda x: torch.multiply(x > 0, x), ROWS),
    "subtract integers": (lambda x: x.subtract(STEPS.int()), ROWS),
    "greater than integers": (lambda x: torch.greater(x, STEPS.int()).float() + x, ROWS),
}


@pytest.mark.parametrize("name", CASES)
def test_own_forms_give_what_the_operator_gives(name: str, run: Any) -> None:
    """1e-5: float32 sums of at most 27 terms, in another order. At another batch size too."""
    op, shape = CASES[name]
    torch.manual_seed(0)
    example = torch.randn(shape)
    program = load(Op(op), example)
    for x in (example, torch.randn(2 * shape[0] + 1, *shape[1:])):
        (found,) = run(program, {"x": x.numpy()})
        np.testing.assert_allclose(found, op(x).numpy(), rtol=0, atol=1e-5)
