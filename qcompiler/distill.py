"""`distill`: fine-tunes a prepared module against a float teacher, without labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.ir.signature import spellings
from qcompiler.lowering.qat.module import QatModule

Loss = Literal["auto", "decisions", "values"]

_FROZEN_SHARE = 2 / 3
"""Share of the time after which BatchNormalization keeps its statistics."""
_WARM = 0.05


@dataclass(frozen=True)
class Distilled:
    """What fine-tuning came to.

    Attributes:
        steps: Of the optimizer.
        before: Loss of the first pass over the feeds, in evaluation mode.
        after: Loss of the module as it is left.
        seconds: Wall time.
    """

    steps: int
    before: float
    after: float
    seconds: float


def distill(
    module: QatModule,
    teacher: Callable[..., Any],
    feeds: Iterable[Any],
    *,
    seconds: float = 60.0,
    steps: int | None = None,
    rate: float = 1e-4,
    loss: Loss = "auto",
) -> Distilled:
    """Trains a module of `prepare_qat` to give what the float model gives.

    Adam, a warm-up and a cosine decay over the time that there is; BatchNormalization is frozen
    for the last third. The best state of those that were looked at is kept, so the module is never
    left worse on these feeds than it came.

    Args:
        module: Trained in place, and left in evaluation mode.
        teacher: The float model: a module, or any function of what `module` takes.
        feeds: As for calibration, held in memory; the more, the better it generalizes.
        seconds: Wall time to spend; one pass over the feeds at least.
        steps: Of the optimizer at most; with it the result does not depend on the machine's speed.
        rate: Largest learning rate.
        loss: `decisions` compares outputs [N, classes] as distributions (Kullback-Leibler
            divergence, Hinton et al. 2015, arXiv 1503.02531), `values` by their squared distance
            relative to the teacher's power; `auto` takes decisions for float outputs of two axes
            and 2 to 10 000 columns.

    Raises:
        CalibrationError: There are no feeds.
        ConfigurationError: A time, rate or loss that makes no sense.
    """
    _check(seconds, steps, rate, loss)
    started = time.perf_counter()
    samples = _Samples.of(teacher, feeds, loss)
    before = best = samples.loss(module)
    kept = _copied(module)
    optimizer = torch.optim.Adam((p for p in module.parameters() if p.requires_grad), lr=rate)
    done, least = 0, len(samples.pairs) if steps is None else 0

    def share() -> float:
        spent = (time.perf_counter() - started) / seconds
        return max(spent, 0.0 if steps is None else done / steps)

    while share() < 1.0 or done < least:
        for call, wanted in samples.shuffled(done):
            part = share()
            if part >= 1.0 and done >= least:
                break
            module.train().freeze_batch_norm(part > _FROZEN_SHARE)
            _step(module, optimizer, call, wanted, samples.compare, rate * _slope(part))
            done += 1
        found = samples.loss(module)
        if found < best:
            best, kept = found, _copied(module)
    module.load_state_dict(kept)
    module.eval()
    return Distilled(done, before, best, time.perf_counter() - started)


def _check(seconds: float, steps: int | None, rate: float, loss: str) -> None:
    if steps is not None and steps < 1:
        raise ConfigurationError(f"steps={steps!r} has to be positive")
    if not (math.isfinite(seconds) and seconds > 0 and math.isfinite(rate) and rate > 0):
        raise ConfigurationError(f"seconds={seconds!r} and rate={rate!r} have to be positive")
    if loss not in Loss.__args__:  # type: ignore[attr-defined]
        raise ConfigurationError(f"loss is {loss!r}", fix="give 'auto', 'decisions' or 'values'")


def _slope(share: float) -> float:
    """Warm-up, then half a cosine."""
    share = min(share, 1.0)
    if share < _WARM:
        return max(share / _WARM, 0.1)
    return max(0.02, 0.5 * (1 + math.cos(math.pi * (share - _WARM) / (1 - _WARM))))


def _step(
    module: QatModule,
    optimizer: torch.optim.Optimizer,
    call: _Call,
    wanted: Sequence[Tensor],
    compare: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor],
    rate: float,
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss = compare(_tensors(call(module)), wanted)
    if torch.isfinite(loss):
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@dataclass(frozen=True)
class _Call:
    """Arguments of one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __call__(self, function: Callable[..., Any]) -> Any:
        return function(*self.args, **self.kwargs)


@dataclass(frozen=True, eq=False)
class _Samples:
    """Calls, what the teacher gives for them, and how that is compared."""

    pairs: Sequence[tuple[_Call, list[Tensor]]]
    by_decision: Sequence[bool]

    @classmethod
    def of(cls, teacher: Callable[..., Any], feeds: Iterable[Any], loss: Loss) -> _Samples:
        if isinstance(teacher, nn.Module):
            teacher = teacher.eval()
        pairs = []
        with torch.no_grad():
            for feed in feeds:
                call = _call(feed)
                pairs.append((call, [each.detach().clone() for each in _tensors(call(teacher))]))
        if not pairs:
            raise CalibrationError("there are no feeds to fine-tune on", fix="give some")
        first = pairs[0][1]
        decides = [loss == "decisions" or (loss == "auto" and _decides(each)) for each in first]
        return cls(pairs, decides)

    def shuffled(self, seed: int) -> Iterator[tuple[_Call, list[Tensor]]]:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.pairs), generator=generator).tolist()
        return (self.pairs[index] for index in order)

    def compare(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """The sum of the losses of the outputs."""
        losses = [
            _divergence(ours, theirs) if decides else _distance(ours, theirs)
            for ours, theirs, decides in zip(found, wanted, self.by_decision, strict=True)
        ]
        return torch.stack(losses).sum()

    def loss(self, module: QatModule) -> float:
        """Mean over all feeds, in evaluation mode."""
        module.eval()
        with torch.no_grad():
            losses = [self.compare(_tensors(call(module)), wanted) for call, wanted in self.pairs]
        return float(torch.stack(losses).mean())


def _call(feed: Any) -> _Call:
    args, kwargs = next(iter(spellings(feed)))
    return _Call(
        tuple(pytree.tree_map(_tensor, args)),
        {name: pytree.tree_map(_tensor, value) for name, value in kwargs.items()},
    )


def _tensor(leaf: Any) -> Any:
    return torch.as_tensor(leaf) if hasattr(leaf, "shape") else leaf


def _tensors(outputs: Any) -> list[Tensor]:
    """The float outputs of a call, in order."""
    leaves = pytree.tree_leaves(outputs)
    tensors = [torch.as_tensor(leaf) for leaf in leaves if hasattr(leaf, "shape")]
    return [each.float() for each in tensors if each.is_floating_point()]


def _decides(output: Tensor) -> bool:
    return output.dim() == 2 and 2 <= output.shape[1] <= 10_000


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """KL(teacher || module) of rows, in nats."""
    wanted = functional.log_softmax(theirs, -1)
    return functional.kl_div(
        functional.log_softmax(ours, -1), wanted, log_target=True, reduction="batchmean"
    )


def _distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Noise-to-signal ratio."""
    return (ours - theirs).square().mean() / theirs.square().mean().clamp(min=1e-12)


def _copied(module: QatModule) -> dict[str, Any]:
    return {
        name: each.detach().clone() if isinstance(each, Tensor) else each
        for name, each in module.state_dict().items()
    }
