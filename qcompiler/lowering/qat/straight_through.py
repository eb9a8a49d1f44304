"""Rounding that passes gradients on, and learned steps: autograd functions.

The step's gradient is that of LSQ (Esser et al. 2020, arXiv 1902.08153, equation 3), the offset's
that of LSQ+ (Bhalgat et al. 2020, arXiv 2004.09576, equations 4-6).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class OnLearnedGrid(torch.autograd.Function):
    """(x, step, offset, lowest, highest, gradient factor) -> x on the grid.

    step and offset (in steps, any real number; None for 0) broadcast over x. No masks of bools:
    torch's kernels for those take ten times as long as its arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        x, step, zero, low, high, factor = given
        steps: Tensor = (x / step).round_()
        if zero is not None:
            steps.add_(zero)
        found = steps.clamp(low, high)
        if zero is not None:
            found.sub_(zero)
        found.mul_(step)
        ctx.save_for_backward(x, steps, found, step, zero)
        ctx.grid = low, high, factor
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Straight through inside the grid; what saturates moves its end."""
        x, steps, found, step, zero = ctx.saved_tensors
        low, high, factor = ctx.grid
        (grad,) = grads
        passed = torch.ops.aten.hardtanh_backward(grad, steps, low - 0.5, high + 0.5)
        of_step = of_zero = None
        if ctx.needs_input_grad[1]:
            whole = _summed(grad, found, step) - _summed(passed, x, step)
            of_step = whole / step * factor
        if zero is not None and ctx.needs_input_grad[2]:
            one = torch.ones((), dtype=grad.dtype, device=grad.device)
            outside = _summed(grad, one, zero) - _summed(passed, one, zero)
            of_zero = -step * outside * factor
        return passed, of_step, of_zero, None, None, None


def _summed(left: Tensor, right: Tensor, like: Tensor) -> Tensor:
    """The sum of a product over what `like` broadcasts along."""
    if like.numel() == 1 and right.numel() == left.numel():
        return torch.dot(left.reshape(-1), right.reshape(-1)).reshape(like.shape)
    return (left * right).sum_to_size(like.shape) if like.dim() else (left * right).sum()


class Rounded(torch.autograd.Function):
    """Rounds, and passes the gradient on as it is."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        return torch.round(given[0])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0]


class Relative(torch.autograd.Function):
    """(relative, unit, gradient factor) -> relative * unit, with gradient * factor.

    Plain gradient descent then moves the product as if it were the parameter, where the factor is
    1/unit.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        relative, unit, factor = given
        ctx.save_for_backward(factor)
        return relative * unit  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (factor,) = ctx.saved_tensors
        return grads[0] * factor, None, None
