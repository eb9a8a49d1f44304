"""Losses as ONNX defines them: class scores on axis 1, labels without that axis."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def negative_log_likelihood(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """NegativeLogLikelihoodLoss: the mean is over weights of the labels that count."""
    labels = target.to(torch.int64)
    counted = torch.ones_like(labels, dtype=torch.bool)
    if ignore_index is not None:
        counted = labels != ignore_index
        labels = torch.where(counted, labels, torch.zeros_like(labels))
    chosen = -x.gather(1, labels.unsqueeze(1)).squeeze(1)
    weights = torch.ones_like(chosen) if weight is None else weight[labels]
    weights = torch.where(counted, weights, torch.zeros_like(weights))
    loss = torch.where(counted, chosen * weights, torch.zeros_like(chosen))
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / weights.sum()


def softmax_cross_entropy(
    scores: Tensor, labels: Tensor, weights: Tensor | None = None, **options: object
) -> tuple[Tensor, Tensor]:
    """SoftmaxCrossEntropyLoss: the loss and the logarithms of the probabilities."""
    logarithms = functional.log_softmax(scores, dim=1)
    loss = negative_log_likelihood(logarithms, labels, weights, **options)  # type: ignore[arg-type]
    return loss, logarithms
