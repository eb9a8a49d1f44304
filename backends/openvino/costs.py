"""Where the time goes on OpenVINO: its own counters joined with regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from qcompiler.execution.openvino.session import LayerTime
from qcompiler.ir.regions import Region
from qcompiler.target.artifact import CostSample

_CONVERSIONS = frozenset({"FakeQuantize", "Convert", "Reorder"})
"""Layers that only change type or layout, unless they were made from a node of the model."""
_DEQUANTIZE = "_DequantizeLinear"
"""How the nodes that our placement inserts end; OpenVINO runs those it cannot fuse as Eltwise."""


def cost_sample(regions: Sequence[Region], times: Sequence[LayerTime]) -> CostSample:
    """Attributes layers to regions by the names of the nodes that OpenVINO made them from.

    A layer made from several regions, which OpenVINO fused, counts for the first of them; the
    others cost nothing of their own.
    """
    owner = _owners(regions)
    seconds: dict[str, float] = {}
    conversions = other = 0.0
    for each in times:
        key = owning(each.layer.origins, owner)
        if key is not None:
            seconds[key] = seconds.get(key, 0.0) + each.seconds
        elif each.layer.kind in _CONVERSIONS or _dequantizes(each.layer.origins):
            conversions += each.seconds
        else:
            other += each.seconds
    return CostSample(seconds, conversions, other)


def owning(origins: Sequence[str], owner: Mapping[str, str]) -> str | None:
    """The region of the first origin that belongs to one."""
    names = (name for origin in origins for name in _known_names(origin))
    return next((owner[name] for name in names if name in owner), None)


def _owners(regions: Sequence[Region]) -> dict[str, str]:
    """Region key by node name and by value name: OpenVINO names results after their values."""
    owner: dict[str, str] = {}
    for region in regions:
        for node in region.nodes:
            for name in (node.name, *(value.name for value in node.outputs)):
                if name:
                    owner.setdefault(name, region.key)
    return owner


def _known_names(origin: str) -> Iterator[str]:
    """The name, and without what OpenVINO appends: `/WithoutBiases`, `_original`."""
    yield origin
    yield origin.removesuffix("_original")
    yield origin.rpartition("/")[0]


def _dequantizes(origins: Sequence[str]) -> bool:
    return any(origin.endswith(_DEQUANTIZE) for origin in origins)
