"""`TorchArtifact`: a lowered program that runs, counts, times and saves itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx

from qcompiler.backends.torch_engines import adapter, store
from qcompiler.backends.torch_engines.guard import guard
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower
from qcompiler.backends.torch_engines.observing import Stopwatch, Tap
from qcompiler.errors import LoweringError, first_line
from qcompiler.execution.making import Making
from qcompiler.execution.packing import pack
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.signature import Array, Feed, Signature
from qcompiler.lowering.torch_fx.element_types import array_from, tensor_of
from qcompiler.target.artifact import PROFILE_THREADS, Artifact, CostSample, KernelCount

_PROFILE_SECONDS = 0.1
"""Least time to run a candidate for a profile."""
_CONVERSIONS = ("quantize_per_tensor", "dequantize", "int_repr", "_to_quantized", "_to_signed")


class TorchArtifact(Artifact):
    """A program on one of torch's quantized engines.

    Args:
        model: A placed program's graph.
        signature: Its inputs and outputs.
        setting: Engine, CPU features and rules.
        threads: Threads inside a kernel while it runs; None leaves torch's setting.
        keys: Region key by the name of each node of a region.
        plan: Precision of every region, if there is one.
        source: What was compiled, in words.
        making: Tells what a saved file says of its making.

    Raises:
        LoweringError: An op has no row, or torch lacks the engine.
    """

    def __init__(
        self,
        model: ir.Model,
        signature: Signature,
        setting: Setting,
        threads: int | None = None,
        keys: Mapping[str, str] | None = None,
        plan: Plan | None = None,
        source: str = "",
        making: Callable[[], Making] = Making,
    ) -> None:
        self._model = model
        self._signature = signature
        self._setting = setting
        self._threads = threads
        self._keys = dict(keys or {})
        self._plan = plan
        self._source = source
        self._making = making
        self._lowered = lower(model, setting)
        guard(self._lowered.module, setting.engine)

    @property
    def module(self) -> fx.GraphModule:
        """Takes input tensors in order, gives a tuple of outputs; readable as `module.code`.

        Calling it sets torch's current engine for the duration of the call.
        """
        return self._lowered.module

    @property
    def model(self) -> ir.Model:
        """The placed graph that was lowered."""
        return self._model

    @property
    def setting(self) -> Setting:
        return self._setting

    @property
    def signature(self) -> Signature:
        return self._signature

    @property
    def nbytes(self) -> int:
        return pack(self._model).nbytes

    def run(self, feed: Feed) -> list[Array]:
        """Output arrays in signature order.

        Raises:
            LoweringError: The engine refused a call; the node is named.
        """
        ends = self._model.graph.outputs
        found = self.call(*self.tensors(feed))
        return [_plain(each, end.dtype) for each, end in zip(found, ends, strict=True)]

    def call(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors in, tensors out, under the engine and thread count of this artifact.

        Raises:
            LoweringError: The engine refused a call.
        """
        with self._refusals(), self.running():
            result: tuple[torch.Tensor, ...] = self.module.forward(*inputs)
            return result

    def tap(self, feeds: Sequence[Feed], values: Sequence[str]) -> Iterator[dict[str, Array]]:
        """Interior values as the kernels make them; values inside a kernel are left out.

        Raises:
            LoweringError: The engine refused a call.
        """
        held = self._lowered.held
        wanted = {name: held[name] for name in values if name in held}
        for feed in feeds:
            run = Tap(self.module, wanted)
            with self._refusals(), self.running():
                run.run(*self.tensors(feed))
            yield run.found

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise LoweringError(
                f"{self._setting.engine} refused a call while running",
                why=first_line(error),
                fix="compare the feed with the model's inputs",
            ) from error

    @contextmanager
    def running(self, threads: int | None = None) -> Iterator[None]:
        """Engine, thread count (or another one) and inference mode of this artifact."""
        before = torch.get_num_threads()
        wanted = self._threads or threads or before
        changed = wanted != before
        try:
            if changed:
                torch.set_num_threads(wanted)
            with torch.inference_mode(), adapter.engine_scope(self._setting.engine):
                yield
        finally:
            if changed:
                torch.set_num_threads(before)

    def kernels(self) -> KernelCount:
        """Integer calls and float fallbacks of the planned regions, all of them without a plan."""
        found = self._lowered.kernels
        if self._plan is None:
            return found
        planned = {key for key, each in self._plan.precisions.items() if each != FLOAT}
        integer = dict.fromkeys(self._keys.get(name, name) for name in found.integer)
        missed = {self._keys.get(name, name): why for name, why in found.missed.items()}
        return KernelCount(
            tuple(key for key in integer if key in planned),
            {key: why for key, why in missed.items() if key in planned},
            found.ops,
        )

    def save(self, path: Path) -> None:
        """Writes graph and plain tensors; `store.load` reads them, see `docs/torch-engines.md`."""
        kept = store.Stored(
            self._model,
            self._setting,
            self._signature.convention,
            None if self._plan is None else self._plan.bare,
            self._source,
            self._threads,
            self._making(),
        )
        store.save(path, kept)

    def profile(self, feeds: Sequence[Feed]) -> CostSample | None:
        """Seconds per integer kernel and float node: fastest repetitions, mean over the feeds."""
        if not feeds:
            return None
        watch = Stopwatch(self.module)
        with self.running(PROFILE_THREADS):
            spent = watch.seconds([self.tensors(feed) for feed in feeds], _PROFILE_SECONDS)
        regions: dict[str, float] = defaultdict(float)
        conversions = other = 0.0
        for node, each in spent.items():
            key = self._keys.get(node.meta.get("node", ""))
            if _is_conversion(node):
                conversions += each
            elif key is not None:
                regions[key] += each
            else:
                other += each
        return CostSample(dict(regions), conversions, other)

    def tensors(self, feed: Feed) -> list[torch.Tensor]:
        """A feed as the module's arguments."""
        return [_fed(feed[name]) for name in self._signature.input_names]


def _fed(given: Any) -> Any:
    """An array, a sequence of arrays, or an omitted optional, as the module takes it."""
    if given is None:
        return None
    if isinstance(given, (list, tuple)):
        return [_fed(each) for each in given]
    return tensor_of(np.require(given, requirements=["C", "W"]))


def _plain(found: Any, dtype: ir.DataType | None) -> Any:
    """What the module gives, in arrays."""
    if found is None:
        return None
    if isinstance(found, (list, tuple)):
        return [_plain(each, dtype) for each in found]
    return array_from(found, dtype)


def _is_conversion(node: fx.Node) -> bool:
    target = node.target
    return str(getattr(target, "__name__", target)) in _CONVERSIONS
