"""How far the outputs of one model are from another's, and how a fine-tuning's rate goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

Loss = Literal["auto", "decisions", "values"]

_WARM = 0.05
_LEAST_RATE = 0.02
_MOST_CLASSES = 10_000


@dataclass(frozen=True)
class Imitation:
    """How outputs are compared with a teacher's, in order.

    Attributes:
        by_decision: Whether an output is compared as distributions, by their Kullback-Leibler
            divergence (Hinton et al. 2015, arXiv 1503.02531); others are compared by their squared
            distance relative to the teacher's power.
        distributed: Whether an output's rows are distributions already: a Softmax was the last
            thing.
    """

    by_decision: tuple[bool, ...]
    distributed: tuple[bool, ...]

    @classmethod
    def of(cls, outputs: Sequence[Tensor], loss: Loss = "auto") -> Imitation:
        """By example. `auto` takes outputs of two axes and 2 to 10 000 columns for decisions."""
        return cls(
            tuple(loss == "decisions" or (loss == "auto" and _decides(each)) for each in outputs),
            tuple(map(_are_probabilities, outputs)),
        )

    def loss(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """The sum of the losses of the outputs."""
        kinds = zip(found, wanted, self.by_decision, self.distributed, strict=True)
        losses = [
            _divergence(ours, theirs, distributed) if decides else distance(ours, theirs)
            for ours, theirs, decides, distributed in kinds
        ]
        return torch.stack(losses).sum()


def floats(outputs: Any) -> list[Tensor]:
    """The float outputs of a call, in order, as float32."""
    leaves = pytree.tree_leaves(outputs)
    tensors = [torch.as_tensor(leaf) for leaf in leaves if hasattr(leaf, "shape")]
    return [each.float() for each in tensors if each.is_floating_point()]


def distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Noise-to-signal ratio."""
    return (ours - theirs).square().mean() / theirs.square().mean().clamp(min=1e-12)


def slope(share: float) -> float:
    """The learning rate at a share of the time: a warm-up, then half a cosine."""
    share = min(share, 1.0)
    if share < _WARM:
        return max(share / _WARM, 0.1)
    return max(_LEAST_RATE, 0.5 * (1 + math.cos(math.pi * (share - _WARM) / (1 - _WARM))))


def _decides(output: Tensor) -> bool:
    return output.dim() == 2 and 2 <= output.shape[1] <= _MOST_CLASSES


def _divergence(ours: Tensor, theirs: Tensor, distributed: bool) -> Tensor:
    """KL(teacher || module) of rows, in nats."""
    if distributed:
        theirs, ours = theirs.clamp(min=1e-12).log(), ours.clamp(min=1e-12).log()
    wanted = functional.log_softmax(theirs, -1)
    return functional.kl_div(
        functional.log_softmax(ours, -1), wanted, log_target=True, reduction="batchmean"
    )


def _are_probabilities(rows: Tensor) -> bool:
    """Whether rows already are distributions."""
    if not rows.numel() or not rows.dim():
        return False
    sums = rows.sum(-1)
    return bool(rows.min() >= 0) and bool((sums - 1).abs().max() < 1e-3)
