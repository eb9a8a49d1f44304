"""A torch source, run eagerly: the reference for what is made of it.

Every run takes a fresh copy of the module and of the inputs, so the user's module, its state and
the data stay as they are, and a module that keeps state starts from the same one each time.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch.utils import _pytree as pytree

from qcompiler.errors import LoweringError
from qcompiler.frontends.torch_alone import one_at_a_time
from qcompiler.frontends.torch_attention import without_fused_attention
from qcompiler.frontends.torch_calls import Convention
from qcompiler.frontends.torch_unknown import with_dicts
from qcompiler.ir.signature import Feed, Signature

Array = npt.NDArray[Any]


class TorchSource:
    """A module in evaluation mode, or the module of an ExportedProgram, on the CPU.

    Args:
        model: What the user gave.
        signature: Of the program that was made of it.

    Raises:
        LoweringError: It is not known how to call it.
    """

    def __init__(
        self, model: torch.nn.Module | torch.export.ExportedProgram, signature: Signature
    ) -> None:
        if signature.convention is None:
            raise LoweringError(
                "the source does not run here as it is", why="its calling convention has no text"
            )
        self._model = model
        self._names = signature.input_names
        self._convention = Convention.parse(signature.convention)
        self._runs = 0

    @property
    def typed(self) -> bool:
        """Types of the results are the module's own, but for those the capture has in float32."""
        return True

    def run(self, feed: Feed) -> list[Array]:
        """Outputs in signature order. The seed differs from run to run.

        Raises:
            LoweringError: The module fails on these inputs.
        """
        self._runs += 1
        try:
            with (
                one_at_a_time(),
                warnings.catch_warnings(),
                torch.random.fork_rng(devices=[]),
                torch.no_grad(),
                without_fused_attention(),
            ):
                warnings.simplefilter("ignore")
                torch.manual_seed(self._runs)
                args, kwargs = self._convention.arguments(self._tensors(feed))
                results = with_dicts(self._module()(*args, **kwargs))
                found = pytree.tree_leaves(results, is_leaf=_is_none)
        except Exception as error:
            raise LoweringError(
                "the source fails in torch", why=f"{type(error).__name__}: {error}"
            ) from error
        wanted = self._convention.results
        if len(found) != len(wanted):
            raise LoweringError(
                "the source gives other outputs in torch than it was captured with",
                why=f"{len(found)} in the place of {len(wanted)}",
            )
        given = self._convention.given or (None,) * len(wanted)
        parts = zip(found, wanted, given, strict=True)
        return [_array(leaf, kind) for leaf, frozen, kind in parts if frozen is None]

    def values(self, feed: Feed, names: Iterable[str]) -> Mapping[str, Array]:
        """Interior values by the names that torch.export gives them, as far as they can be had."""
        args, kwargs = self._convention.arguments(self._tensors(feed))
        try:
            with (
                one_at_a_time(),
                warnings.catch_warnings(),
                torch.no_grad(),
                without_fused_attention(),
            ):
                warnings.simplefilter("ignore")
                exported = self._model
                if not isinstance(exported, torch.export.ExportedProgram):
                    exported = torch.export.export(self._module(), args, kwargs, strict=False)
                recorder = _Recorder(exported.module(), set(names))
                recorder.run(*pytree.tree_leaves((args, kwargs)))
        except Exception:  # noqa: BLE001 - it only says where; that it differs is known
            return {}
        return recorder.seen

    def release(self) -> None:
        """Nothing: the module is the user's, copies of it live as long as a run."""

    def _module(self) -> torch.nn.Module:
        if isinstance(self._model, torch.export.ExportedProgram):
            return copy.deepcopy(self._model.module())
        return copy.deepcopy(self._model).eval().cpu()

    def _tensors(self, feed: Feed) -> list[torch.Tensor]:
        return [torch.from_numpy(feed[name].copy()) for name in self._names]


class _Recorder(torch.fx.Interpreter):
    """Runs a graph and keeps tensors of the names wanted."""

    def __init__(self, module: torch.nn.Module, names: set[str]) -> None:
        super().__init__(module)
        self._names = names
        self.seen: dict[str, Array] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self._names and isinstance(result, torch.Tensor):
            self.seen[n.name] = _array(result)
        return result


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _array(leaf: Any, own: str | None = None) -> Array:
    """The array; in float32 if it is of a type of the source's own, which the capture has not."""
    tensor = torch.as_tensor(leaf).detach().cpu()
    if tensor.dtype is torch.bfloat16 or own is not None:
        tensor = tensor.float()
    return tensor.clone().numpy()
