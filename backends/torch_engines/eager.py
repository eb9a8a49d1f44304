"""The source module itself as the float baseline, where it is faster than the lowered one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from qcompiler.backends.torch_engines.artifact import TorchArtifact
from qcompiler.execution.timing import compare_latency
from qcompiler.frontends.torch_calls import Convention
from qcompiler.ir.signature import Array, Feed
from qcompiler.target.artifact import Artifact, CostSample, KernelCount

_SECONDS = 0.4


class EagerArtifact(Artifact):
    """Runs a copy of the user's module, as given; saves and counts as the lowered program does."""

    def __init__(
        self, module: torch.nn.Module, convention: Convention, lowered: TorchArtifact
    ) -> None:
        self._module = copy.deepcopy(module).eval()
        self._convention = convention
        self._lowered = lowered
        self._changes_inputs = False

    @property
    def lowered(self) -> Artifact:
        return self._lowered

    @property
    def module(self) -> torch.fx.GraphModule:
        return self._lowered.module

    @property
    def nbytes(self) -> int:
        return self._lowered.nbytes

    def run(self, feed: Feed) -> list[Array]:
        tensors = self._lowered.tensors(feed)
        if self._changes_inputs:
            tensors = [each.clone() for each in tensors]
        args, kwargs = self._convention.arguments(tensors)
        with self._lowered.running():
            found = pytree.tree_leaves(self._module(*args, **kwargs), is_leaf=lambda x: x is None)
        results = zip(found, self._convention.results, strict=True)
        return [leaf.numpy() for leaf, frozen in results if frozen is None]

    def protect(self, feed: Feed) -> None:
        """Has runs take copies of their inputs if the module writes to them, as this run shows."""
        given = {name: array.copy() for name, array in feed.items()}
        self.run(given)
        pairs = ((given[name], array) for name, array in feed.items())
        self._changes_inputs = any(a.tobytes() != b.tobytes() for a, b in pairs)

    def has_memory(self, feed: Feed) -> bool:
        """Whether a call changes a buffer, or the same call gives something else the next time."""
        before = [buffer.clone() for buffer in self._module.buffers()]
        first = [array.copy() for array in self.run(feed)]
        same = _equal(first, self.run(feed)) and _equal(before, self._module.buffers())
        return not same

    def save(self, path: Path) -> None:
        self._lowered.save(path)

    def kernels(self) -> KernelCount:
        return self._lowered.kernels()

    def profile(self, feeds: Sequence[Feed]) -> CostSample | None:
        return self._lowered.profile(feeds)


def float_baseline(model: object, lowered: TorchArtifact, feeds: Sequence[Feed]) -> Artifact:
    """The faster one of the user's eager module and the lowered float program.

    A module whose calling convention is not known, or that gives other outputs than the program
    when it is called so, is left out; so is one that has a memory, since every run would
    change the next one.
    """
    text = lowered.signature.convention
    if not isinstance(model, torch.nn.Module) or text is None or not feeds:
        return lowered
    try:
        eager = EagerArtifact(model, Convention.parse(text), lowered)
    except (RuntimeError, TypeError):
        return lowered  # it cannot be copied
    if not (_agree(eager, lowered, feeds[0]) and not eager.has_memory(feeds[0])):
        return lowered
    runs = {"lowered": partial(lowered.run, feeds[0]), "eager": partial(eager.run, feeds[0])}
    timed = compare_latency(runs, budget_seconds=_SECONDS, min_rounds=5)
    return eager if timed["eager"].ratio < 1 else lowered


def _equal(ones: Iterable[Any], others: Iterable[Any]) -> bool:
    pairs = zip(ones, others, strict=True)
    return all(np.array_equal(one, other, equal_nan=_is_float(one)) for one, other in pairs)


def _is_float(values: Any) -> bool:
    return np.asarray(values).dtype.kind in "fc"


def _agree(eager: EagerArtifact, lowered: TorchArtifact, feed: Feed) -> bool:
    try:
        eager.protect(feed)
        found = eager.run(feed)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False  # it cannot be called with what was captured, so it is no baseline
    wanted = lowered.run(feed)
    return len(found) == len(wanted) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-2, atol=1e-3)
        for a, b in zip(found, wanted, strict=True)
    )
