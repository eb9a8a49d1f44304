"""Where the time goes: ExecuTorch's trace joined with the layers of each delegate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from qcompiler.backends.executorch.layers import Layer
from qcompiler.backends.executorch.runtime import OpTime
from qcompiler.target.artifact import CostSample

_CONVERSIONS = ("Convert", "Transpose", "Copy")
"""XNNPACK's kernels that change only type or layout."""
_KINDS: Mapping[str, str] = {
    "Fully Connected": "product",
    "Convolution": "product",
    "Deconvolution": "product",
    "Add": "add",
    "Multiply": "mul",
    "Max Pooling": "max_pool2d",
}
"""Kernel name up to the bracket -> what it computes. A 1x1 convolution is a Fully Connected."""


def cost_sample(
    times: Sequence[OpTime], layers: Sequence[Layer], keys: Mapping[Layer, str]
) -> CostSample:
    """Attributes kernels to regions.

    XNNPACK keeps the order of a delegate's nodes, so the n-th kernel of a kind is the n-th layer of
    that kind; where their numbers differ, because XNNPACK merged some, the time is nobody's.
    """
    owners = {
        (delegate, kind): [keys.get(each) for each in layers if _of(each) == (delegate, kind)]
        for delegate, kind in {_of(each) for each in layers}
    }
    regions: dict[str, float] = defaultdict(float)
    conversions = other = 0.0
    for each, (place, count) in zip(times, _places(times), strict=True):
        owned = owners.get((each.delegate, kind_of(each.name)), [])
        key = owned[place] if len(owned) == count else None
        if key is not None:
            regions[key] += each.seconds
        elif each.name.startswith(_CONVERSIONS):
            conversions += each.seconds
        else:
            other += each.seconds
    return CostSample(dict(regions), conversions, other)


def kind_of(kernel: str) -> str:
    """What a kernel computes, its own name if it is none of the known ones."""
    name = kernel.partition(" (")[0]
    return _KINDS.get(name, name)


def _of(layer: Layer) -> tuple[int | None, str]:
    return layer.delegate, "product" if layer.product else layer.op.partition(".")[0]


def _places(times: Sequence[OpTime]) -> Iterator[tuple[int, int]]:
    """Which one of its kind in its delegate every kernel is, and of how many."""
    kinds = [(each.delegate, kind_of(each.name)) for each in times]
    for index, kind in enumerate(kinds):
        yield kinds[:index].count(kind), kinds.count(kind)
