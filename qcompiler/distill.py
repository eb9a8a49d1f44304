"""`distill`: fine-tunes a prepared module against a float teacher, without labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from qcompiler.calibration.first_feeds import given_feeds
from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.frontends.torch_arguments import example_call
from qcompiler.ir.signature import spellings
from qcompiler.ir.surplus import Surplus
from qcompiler.lowering.qat.module import QatModule
from qcompiler.lowering.torch_fx.imitation import Imitation, Loss, floats, slope


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

    Adam, a warm-up and a cosine decay over the time that there is. BatchNormalization computes with
    its running statistics, as the teacher's does. The best state of those that were looked at is
    kept, so the module is never left worse on these feeds than it came.

    Args:
        module: Trained in place, and left in evaluation mode.
        teacher: The float model: a module, or any function of what `module` takes.
        feeds: As for calibration (labels are left out), held in memory; the more, the better it
            generalizes.
        seconds: Wall time to spend; one pass over the feeds at least.
        steps: Of the optimizer at most; with it the result does not depend on the machine's speed.
        rate: Largest learning rate.
        loss: `decisions` compares outputs [N, classes] as distributions (Kullback-Leibler
            divergence), `values` by their squared distance relative to the teacher's power; `auto`
            takes decisions for float outputs of two axes and 2 to 10 000 columns (`Imitation`).

    Raises:
        CalibrationError: There are no feeds.
        ConfigurationError: A time, rate or loss that makes no sense.
    """
    _check(seconds, steps, rate, loss)
    started = time.perf_counter()
    samples = _Samples.of(teacher, feeds, loss, module.record.program.signature.surplus)
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
            module.train().freeze_batch_norm()
            _step(module, optimizer, call, wanted, samples.imitation, rate * slope(part))
            done += 1
        found = samples.loss(module)
        if found < best:
            best, kept = found, _copied(module)
    module.load_state_dict(kept)
    module.eval()
    return Distilled(done, before, best, time.perf_counter() - started)


def _check(seconds: float, steps: int | None, rate: float, loss: str) -> None:
    if steps is not None and steps < 1:
        raise ConfigurationError(
            f"steps={steps!r} has to be positive", fix="give a number of steps such as 200"
        )
    if not (math.isfinite(seconds) and seconds > 0 and math.isfinite(rate) and rate > 0):
        raise ConfigurationError(
            f"seconds={seconds!r} and rate={rate!r} have to be positive",
            fix="leave them out, or give such as seconds=60, rate=1e-4",
        )
    if loss not in Loss.__args__:  # type: ignore[attr-defined]
        raise ConfigurationError(f"loss is {loss!r}", fix="give 'auto', 'decisions' or 'values'")


def _step(
    module: QatModule,
    optimizer: torch.optim.Optimizer,
    call: _Call,
    wanted: Sequence[Tensor],
    imitation: Imitation,
    rate: float,
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss = imitation.loss(floats(call(module)), wanted)
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
    imitation: Imitation

    @classmethod
    def of(
        cls,
        teacher: Callable[..., Any],
        feeds: Iterable[Any],
        loss: Loss,
        surplus: Surplus | None,
    ) -> _Samples:
        """Asks the teacher; labels are left out, as those that the module was prepared with."""
        if isinstance(teacher, nn.Module):
            teacher = teacher.eval()
        pairs: list[tuple[_Call, list[Tensor]]] = []
        with torch.no_grad():
            for feed in given_feeds(feeds):
                if isinstance(teacher, nn.Module) and surplus is None and not pairs:
                    surplus = example_call(teacher, feed, surplus=True).surplus
                call = _call(feed if surplus is None else surplus.without(feed))
                pairs.append((call, [each.detach().clone() for each in floats(call(teacher))]))
        if not pairs:
            raise CalibrationError("there are no feeds to fine-tune on", fix="give some")
        return cls(pairs, Imitation.of(pairs[0][1], loss))

    def shuffled(self, seed: int) -> Iterator[tuple[_Call, list[Tensor]]]:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.pairs), generator=generator).tolist()
        return (self.pairs[index] for index in order)

    def loss(self, module: QatModule) -> float:
        """Mean over all feeds, in evaluation mode."""
        module.eval()
        with torch.no_grad():
            losses = [
                self.imitation.loss(floats(call(module)), wanted) for call, wanted in self.pairs
            ]
        return float(torch.stack(losses).mean())


def _call(feed: Any) -> _Call:
    args, kwargs = next(iter(spellings(feed)))
    return _Call(
        tuple(pytree.tree_map(_tensor, args)),
        {name: pytree.tree_map(_tensor, value) for name, value in kwargs.items()},
    )


def _tensor(leaf: Any) -> Any:
    return torch.as_tensor(leaf) if hasattr(leaf, "shape") else leaf


def _copied(module: QatModule) -> dict[str, Any]:
    return {
        name: each.detach().clone() if isinstance(each, Tensor) else each
        for name, each in module.state_dict().items()
    }
