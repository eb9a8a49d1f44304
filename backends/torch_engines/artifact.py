"""`TorchArtifact`: a lowered program that runs, counts, times and saves itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx

from qcompiler.backends.torch_engines import adapter, store
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower
from qcompiler.errors import LoweringError
from qcompiler.execution.packing import pack
from qcompiler.ir.signature import Array, Feed, Signature, signature_of
from qcompiler.target.contract import Artifact, CostSample, KernelCount

_CONVERSIONS = ("quantize_per_tensor", "dequantize", "int_repr", "_to_quantized", "_to_signed")


class TorchArtifact(Artifact):
    """A program on one of torch's quantized engines.

    Args:
        model: A placed program's graph.
        signature: Its inputs and outputs.
        setting: Engine, CPU features and rules.
        threads: Threads inside a kernel while it runs; None leaves torch's setting.
        keys: Region key by the name of each node of a region, for `profile`.

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
    ) -> None:
        self._model = model
        self._signature = signature
        self._setting = setting
        self._threads = threads
        self._keys = dict(keys or {})
        self._lowered = lower(model, setting)

    @property
    def module(self) -> fx.GraphModule:
        """Takes input tensors in order, gives a tuple of outputs; readable as `module.code`.

        Call it under `adapter.engine_scope(engine)`: torch's add, cat and pools look at the
        current engine.
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
        with torch.inference_mode():
            outputs = self.call(*self.tensors(feed))
        return [each.numpy() for each in outputs]

    def call(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors in, tensors out, under the engine and thread count of this artifact.

        Raises:
            LoweringError: The engine refused a call.
        """
        before = torch.get_num_threads()
        if self._threads is not None and self._threads != before:
            torch.set_num_threads(self._threads)
        try:
            with adapter.engine_scope(self._setting.engine):
                result: tuple[torch.Tensor, ...] = self.module(*inputs)
                return result
        except RuntimeError as error:
            raise LoweringError(
                f"{self._setting.engine} refused a call while running",
                why=str(error).strip().splitlines()[0],
            ) from error
        finally:
            if torch.get_num_threads() != before:
                torch.set_num_threads(before)

    def kernels(self) -> KernelCount:
        return self._lowered.kernels

    def save(self, path: Path) -> None:
        """Writes graph and plain tensors; `store.load` reads them, see `docs/torch-engines.md`."""
        store.save(path, self._model, self._setting)

    def profile(self, feeds: Sequence[Feed]) -> CostSample | None:
        """Seconds per integer kernel and float node, the mean over the feeds."""
        timer = _Timer(self.module)
        with torch.inference_mode(), adapter.engine_scope(self._setting.engine):
            for feed in feeds:
                timer.run(*self.tensors(feed))
        regions: dict[str, float] = defaultdict(float)
        conversions = other = 0.0
        for node, seconds in timer.seconds.items():
            each = seconds / max(len(feeds), 1)
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
        return [
            torch.from_numpy(np.require(feed[name], requirements=["C", "W"]))
            for name in self._signature.input_names
        ]


class _Timer(fx.Interpreter):
    """Runs a GraphModule node by node and adds up the time of each."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seconds: dict[fx.Node, float] = defaultdict(float)

    def run_node(self, n: fx.Node) -> Any:
        started = time.perf_counter()
        result = super().run_node(n)
        self.seconds[n] += time.perf_counter() - started
        return result


def _is_conversion(node: fx.Node) -> bool:
    target = node.target
    return str(getattr(target, "__name__", target)) in _CONVERSIONS


def load(path: Path) -> TorchArtifact:
    """Reads what `TorchArtifact.save` wrote; kernels are packed anew, with equal results.

    Raises:
        ArtifactError: Not such a file, damaged, or made for a CPU that this one is not.
    """
    model, setting = store.load(path)
    return TorchArtifact(model, signature_of(model), setting)
