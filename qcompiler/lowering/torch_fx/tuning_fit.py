"""Fine-tuning a placed program against the float one, sample by sample.

Values inside count beside the outputs: a few samples have few outputs, and many values inside.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qcompiler.errors import ConfigurationError
from qcompiler.lowering.torch_fx.imitation import distance, floats, slope
from qcompiler.lowering.torch_fx.tuning import TunedBias, TunedWeight

Inputs = tuple[Tensor, ...]
_HELD = 4
"""One of so many samples tells which state is the best, and is not trained on."""
_LEAST_HELD = 8
"""Samples from which on some are held back."""
_LOOKS = 5
"""How many times those are looked at."""
_TINY = 1e-9


@dataclass(frozen=True)
class TuningFit:
    """How a program is tuned.

    Attributes:
        steps: Updates; each sees `batch` samples.
        batch: Samples of one update.
        rate: Step size of Adam for weights, in steps of their grids.
        gain_rate: The same for scales, as a share of them, and for biases.
        seed: Of the order of samples.
        blended: Share of the samples that are blends of two, where inputs allow it.
        bytes: Most that is kept of one sample for its gradient.
        deadline: `time.monotonic()` value to stop at.
    """

    steps: int
    batch: int
    rate: float
    gain_rate: float
    seed: int = 0
    blended: float = 0.0
    bytes: int = 2 << 30
    deadline: float = float("inf")


@dataclass(frozen=True, eq=False)
class Pupil:
    """A placed program beside its float one, as modules that give their outputs and looks.

    Attributes:
        module: Placed; its operands are tuned.
        teacher: In float.
        operands: What is tuned.
        outputs: How many floating-point values are outputs; the others are looks inside.
    """

    module: nn.Module
    teacher: nn.Module
    operands: Sequence[TunedWeight | TunedBias]
    outputs: int

    def losses(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Noise-to-signal ratios for a sample: summed over outputs, and the mean of the looks."""
        with torch.no_grad():
            wanted = floats(self.teacher(*inputs))
        found = floats(self.module(*inputs))
        ratios = [distance(ours, theirs) for ours, theirs in zip(found, wanted, strict=True)]
        ends, inside = ratios[: self.outputs], ratios[self.outputs :]
        return torch.stack(ends).sum(), torch.stack(inside or [torch.zeros(())]).mean()


def tune(pupil: Pupil, samples: Sequence[Inputs], fit: TuningFit) -> tuple[float, float]:
    """Trains the operands in place; the state with the least loss on samples held back is kept.

    Returns:
        The loss of the outputs there before and after. They are equal where nothing helped.

    Raises:
        ConfigurationError: One sample needs more memory than `bytes`.
    """
    held, learned = _divided(samples)
    optimizer = torch.optim.Adam(_groups(pupil.operands, fit))
    trained = [each for group in optimizer.param_groups for each in group["params"]]
    rates = [group["lr"] for group in optimizer.param_groups]
    before, inside = _total(pupil, held)
    least, best = before, [each.detach().clone() for each in trained]
    scales = max(before, _TINY), max(inside, _TINY)
    order = _order(learned, fit)
    looks = {max(1, fit.steps * look // _LOOKS) for look in range(1, _LOOKS + 1)}
    for step in range(fit.steps):
        if time.monotonic() > fit.deadline:
            break
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * slope(step / fit.steps)
        optimizer.zero_grad()
        for _ in range(fit.batch):
            _teach(pupil, next(order), scales, fit)
        optimizer.step()
        if step + 1 in looks:
            found, _ = _total(pupil, held)
            if found < least:
                least, best = found, [each.detach().clone() for each in trained]
    for parameter, state in zip(trained, best, strict=True):
        parameter.data.copy_(state)
    return before, least


def _teach(pupil: Pupil, inputs: Inputs, scales: tuple[float, float], fit: TuningFit) -> None:
    """Adds the gradient of a sample."""
    with _kept_below(fit.bytes):
        ends, inside = pupil.losses(inputs)
    loss = ends / scales[0] + inside / scales[1]
    if bool(torch.isfinite(loss)) and loss.requires_grad:
        torch.autograd.backward(loss / fit.batch)


def _groups(operands: Sequence[TunedWeight | TunedBias], fit: TuningFit) -> list[dict[str, Any]]:
    steps = [each.steps for each in operands if isinstance(each, TunedWeight)]
    others = [
        parameter
        for each in operands
        for parameter in (each.trained()[1:] if isinstance(each, TunedWeight) else each.trained())
    ]
    groups: list[dict[str, Any]] = [{"params": steps, "lr": fit.rate}]
    return [*groups, {"params": others, "lr": fit.gain_rate}] if others else groups


def _divided(samples: Sequence[Inputs]) -> tuple[Sequence[Inputs], Sequence[Inputs]]:
    """Samples to look at and samples to train on; the same ones where there are few."""
    if len(samples) < _LEAST_HELD:
        return samples, samples
    return samples[::_HELD], [each for index, each in enumerate(samples) if index % _HELD]


def _order(samples: Sequence[Inputs], fit: TuningFit) -> Iterator[Inputs]:
    """Samples in random order, some of them blended with another one (mixup, arXiv 1710.09412)."""
    generator = torch.Generator().manual_seed(fit.seed)
    while True:
        for index in torch.randperm(len(samples), generator=generator).tolist():
            share, part, other = torch.rand(3, generator=generator).tolist()
            if share < fit.blended:
                yield blend(samples[index], samples[int(other * len(samples))], part)
            else:
                yield samples[index]


def blend(one: Inputs, other: Inputs, part: float) -> Inputs:
    """A part of one sample and the rest of another; `one` if they are not numbers of one shape."""
    pairs = list(zip(one, other, strict=True))
    if not all(a.is_floating_point() and a.shape == b.shape for a, b in pairs):
        return one
    return tuple(part * a + (1 - part) * b for a, b in pairs)


def _total(pupil: Pupil, samples: Sequence[Inputs]) -> tuple[float, float]:
    with torch.no_grad():
        losses = [pupil.losses(each) for each in samples]
    ends, inside = (sum(float(part) for part in parts) for parts in zip(*losses, strict=True))
    return ends / len(samples), inside / len(samples)


def _kept_below(most: int) -> Any:
    """Inside, what autograd keeps is counted, each storage once."""
    seen: set[int] = set()
    held = 0

    def kept(tensor: Tensor) -> Tensor:
        nonlocal held
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            held += storage.nbytes()
        if held > most:
            raise ConfigurationError(
                f"the gradient of one sample needs more than {most >> 20} MiB",
                fix="give smaller samples, or leave `distill` out of `variants`",
            )
        return tensor

    return torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor)
