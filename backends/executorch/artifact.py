"""The lowered form for ExecuTorch: a `.pte` program, run by ExecuTorch's own runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from qcompiler.backends.executorch.capabilities import EDGE_OPS
from qcompiler.backends.executorch.costs import cost_sample
from qcompiler.backends.executorch.layers import Layer
from qcompiler.backends.executorch.record import PteArtifact, record_of
from qcompiler.backends.executorch.runtime import (
    ExecuTorchSession,
    quietly,
    require,
    traceable,
)
from qcompiler.decisions.binding import bound_regions
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.signature import Feed
from qcompiler.target.artifact import CostSample, KernelCount
from qcompiler.target.capability import Kernel

if TYPE_CHECKING:
    from qcompiler.backends.executorch.target import ExecuTorch

_PROFILE_SECONDS = 0.1
"""Least time to run a candidate for a profile."""


class ExecuTorchArtifact(PteArtifact):
    """A `.pte` program.

    Args:
        program: The placed program.
        target: Its options, and whose regions are counted.

    Raises:
        ConfigurationError: The package `executorch` is not installed.
        LoweringError: torch.export or ExecuTorch refuse the program.
    """

    def __init__(self, program: Program, target: ExecuTorch) -> None:
        require()
        with quietly():
            from qcompiler.backends.executorch.delegation import Limits, delegate

        self._program = program
        self._target = target
        lowering = delegate(program.model, Limits(target.batch, target.length))
        self._layers = lowering.layers
        self._kernels = _counted(program, target, lowering.layers)
        pte = lowering.written(record_of(program, target, self._kernels))
        self._session = ExecuTorchSession(pte, program.signature, target.batch, target.length)

    @property
    def session(self) -> ExecuTorchSession:
        """The loaded program."""
        return self._session

    def kernels(self) -> KernelCount:
        return self._kernels

    def profile(self, feeds: Sequence[Feed]) -> CostSample | None:
        if not feeds or not traceable():
            return None
        keys = layer_keys(self._target.regions(self._program), self._layers, self._program)
        return cost_sample(self._session.trace(feeds, _PROFILE_SECONDS), self._layers, keys)

    def tap(
        self, feeds: Sequence[Feed], values: Sequence[str]
    ) -> Iterator[Mapping[str, npt.NDArray[Any]]] | None:
        from qcompiler.backends.executorch.tapping import Tap

        tap = Tap(self._program.model, self._program.signature, values, self._layers)
        return (tap.run(feed) for feed in feeds)


def _counted(program: Program, target: ExecuTorch, layers: Sequence[Layer]) -> KernelCount:
    """The planned regions that XNNPACK runs in integers, and why the others do not."""
    from qcompiler.backends.executorch.graph import weight_name

    ops = Counter(each.summary for each in layers)
    ops["delegates"] = len({each.delegate for each in layers} - {None})
    if program.placement is None:
        return KernelCount((), {}, dict(ops))
    by_weight = {each.weight: each for each in layers if each.weight is not None}
    left = Counter((_plain(each), each.levels) for each in layers if each.objection is None)
    integer, missed = [], {}
    kernels = (Kernel.STATIC, Kernel.DYNAMIC)
    bound = [each for kind in kernels for each in bound_regions(program, kind)]
    placed = [each for each in bound if not each.moves_integers]
    for each in placed:
        region = each.region
        if region.weight is not None:
            layer = by_weight.get(weight_name(region.key))
            reason = "XNNPACK did not take it" if layer is None else layer.objection
        else:
            reason = _objection(region, program, left)
        if reason is None:
            integer.append(region.key)
        else:
            missed[region.key] = reason
    _count_dynamic(program, by_weight, integer, missed)
    return KernelCount(tuple(integer), missed, dict(ops))


def _count_dynamic(
    program: Program, layers: Mapping[str, Layer], integer: list[str], missed: dict[str, str]
) -> None:
    """Dynamic products, which placement has taken apart: found by the key on their nodes."""
    from qcompiler.backends.executorch.graph import weight_name

    keys = {node.metadata_props.get(REGION_KEY): None for node in program.graph}
    for key in keys:
        if key is None or key in integer or key in missed:
            continue
        layer = layers.get(weight_name(key))
        if layer is not None and layer.objection is None:
            integer.append(key)
        else:
            missed[key] = "XNNPACK did not take it" if layer is None else str(layer.objection)


def _objection(
    region: Region, program: Program, left: Counter[tuple[str, tuple[float, int] | None]]
) -> str | None:
    """Ops without a weight are found by kind, scale and zero point of their result."""
    found = (EDGE_OPS[region.kind], _levels(region, program))
    if left[found] <= 0:
        return f"XNNPACK runs no {found[0]} with these levels in integers"
    left[found] -= 1
    return None


def _levels(region: Region, program: Program) -> tuple[float, int] | None:
    from qcompiler.lowering.torch_fx.constants import levels_of

    readers = [use.node for use in region.output.uses()]
    quantize = next((node for node in readers if node.op_type == "QuantizeLinear"), None)
    levels = levels_of(quantize) if quantize is not None else None
    return None if levels is None else (levels.scale, levels.zero_point - 128)


def _plain(layer: Layer) -> str:
    return layer.op.partition(".")[0]


def layer_keys(
    regions: Sequence[Region], layers: Sequence[Layer], program: Program
) -> dict[Layer, str]:
    """Region key by layer, for the layers that can be told."""
    from qcompiler.backends.executorch.graph import weight_name

    names = {weight_name(region.key): region.key for region in regions}
    names |= {
        weight_name(key): key
        for key in (node.metadata_props.get(REGION_KEY) for node in program.graph)
        if key is not None
    }
    found = {each: names[each.weight] for each in layers if each.weight in names}
    plain = {
        (EDGE_OPS[region.kind], _levels(region, program)): region.key
        for region in regions
        if region.kind in EDGE_OPS
    }
    for each in layers:
        if each.weight is None and each.levels is not None:
            key = plain.get((_plain(each), each.levels))
            if key is not None:
                found[each] = key
    return found
