"""Fitting the rounding of a block's weights to what the block gives in float.

AdaRound over blocks, as BRECQ does (Li et al. 2021, arXiv 2102.05426): the block reads what
the quantized network before it gives, and is to give what the float network gives there. Half of
the elements of activations, the block's inputs among them, are left in float while it is fitted
(QDrop).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.reconstruction import QuantizedBlock

Values = tuple[Tensor, ...]
"""Inputs or outputs of a block for one sample."""


@dataclass(frozen=True)
class Fit:
    """How a block is fitted.

    Attributes:
        steps: Updates; each sees `batch` samples.
        batch: Samples of one update.
        rate: Step size of Adam.
        weight: Of the regulariser, in units of the block's first loss.
        warm_up: Share of the steps before it begins.
        drop: Probability that an element of an activation stays float.
        seed: Of the order of samples and of what stays float.
        deadline: `time.monotonic()` value to stop at.
    """

    steps: int = 150
    batch: int = 4
    rate: float = 0.1
    weight: float = 20.0
    warm_up: float = 0.2
    drop: float = 0.5
    seed: int = 0
    deadline: float = float("inf")


SHARPEST, BLUNTEST = 2.0, 20.0
"""The regulariser's exponent goes from the second to the first (AdaRound, section 5)."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What a block reads and is to give, by sample.

    Attributes:
        plain: Inputs as the float network gives them.
        quantized: The same as the quantized one does.
        wanted: Outputs of the float network.
    """

    plain: Sequence[Values]
    quantized: Sequence[Values]
    wanted: Sequence[Values]

    def powers(self) -> list[float]:
        """Summed squares of every floating-point output, at least tiny; 0 for what is none."""
        found = [0.0] * len(self.wanted[0])
        for outputs in self.wanted:
            for index, each in enumerate(outputs):
                if each.is_floating_point():
                    found[index] += float(each.double().square().sum()) / len(self.wanted)
        return [each if each > 0 else 0.0 for each in found]


def block_loss(block: QuantizedBlock, samples: Samples) -> float:
    """Noise-to-signal ratio of the block's outputs as it would be deployed, summed over outputs."""
    powers, total = samples.powers(), 0.0
    block.dropping.share = 0.0
    with torch.no_grad(), _rounded(block):
        for inputs, wanted in zip(samples.quantized, samples.wanted, strict=True):
            total += float(_loss(block.module(*inputs), wanted, powers))
    return total / len(samples.wanted)


def fit_rounding(block: QuantizedBlock, samples: Samples, fit: Fit) -> bool:
    """Trains the weights' logits in place; False where the deadline came first.

    Of the integers that it comes by in the second half, those with the least loss are kept, as they
    are deployed.
    """
    first = block_loss(block, samples)
    if first <= 0:
        return True
    powers = samples.powers()
    best, least = _logits(block), first
    checks = {fit.steps * share // 10 for share in range(5, 11)}
    optimizer = torch.optim.Adam([w.logits for w in block.weights.values()], lr=fit.rate)
    for step, chosen in enumerate(_batches(len(samples.wanted), fit)):
        block.dropping.share = fit.drop
        if time.monotonic() > fit.deadline:
            return False
        optimizer.zero_grad()
        for index in chosen:
            inputs = _mixed(block, samples.plain[index], samples.quantized[index])
            loss = _loss(block.module(*inputs), samples.wanted[index], powers)
            torch.autograd.backward(loss / (len(chosen) * first))
        sharpness = _sharpness(step, fit)
        if sharpness is not None:
            undecided = [each.undecided(sharpness) for each in block.weights.values()]
            torch.autograd.backward(fit.weight * torch.stack(undecided).mean())
        optimizer.step()
        if step + 1 in checks:
            loss_now = block_loss(block, samples)
            if loss_now < least:
                best, least = _logits(block), loss_now
    for weight, logits in zip(block.weights.values(), best, strict=True):
        weight.logits.data.copy_(logits)
    return True


def _logits(block: QuantizedBlock) -> list[Tensor]:
    return [each.logits.detach().clone() for each in block.weights.values()]


def _batches(samples: int, fit: Fit) -> Iterator[list[int]]:
    generator = torch.Generator().manual_seed(fit.seed)
    size = min(fit.batch, samples)
    order: list[int] = []
    for _ in range(fit.steps):
        while len(order) < size:
            order += torch.randperm(samples, generator=generator).tolist()
        yield order[:size]
        del order[:size]


def _mixed(block: QuantizedBlock, plain: Values, quantized: Values) -> Values:
    both = zip(plain, quantized, strict=True)
    return tuple(
        block.dropping.mixed(one, other) if one.is_floating_point() else other
        for one, other in both
    )


def _sharpness(step: int, fit: Fit) -> float | None:
    """The regulariser's exponent; None while it has not begun."""
    begin = fit.warm_up * fit.steps
    if step < begin:
        return None
    share = (step - begin) / max(fit.steps - begin, 1)
    return BLUNTEST + (SHARPEST - BLUNTEST) * share


def _loss(found: Values, wanted: Values, powers: Sequence[float]) -> Tensor:
    total = torch.zeros(())
    for one, other, power in zip(found, wanted, powers, strict=True):
        if power > 0:
            total = total + (one - other).square().sum() / power
    return total


class _rounded:  # noqa: N801 - a context manager, used as a function
    """Inside, every weight is integers alone."""

    def __init__(self, block: QuantizedBlock) -> None:
        self._block = block

    def __enter__(self) -> None:
        for each in self._block.weights.values():
            each.hard = True

    def __exit__(self, *given: object) -> None:
        for each in self._block.weights.values():
            each.hard = False
