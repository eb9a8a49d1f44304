"""What sliding windows share: padding, defaults, torch's convolutions by rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional

CONV: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
"""By number of spatial axes."""


def torch_pad(pads: Sequence[int]) -> list[int]:
    """ONNX [begin..., end...] as torch's [last begin, last end, ..., first begin, first end]."""
    rank = len(pads) // 2
    return [pads[axis + side * rank] for axis in reversed(range(rank)) for side in (0, 1)]


def pad_constant(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """`functional.pad` with pads in torch's order, for quantized tensors of any layout, too.

    torch copies quantized tensors of five dimensions only if they are contiguous.
    """
    if x.is_quantized and x.dim() > 4:
        x = x.contiguous()
    return functional.pad(x, list(pads), value=value)


def or_ones(given: Sequence[int] | None, rank: int) -> list[int]:
    """Strides or dilations, which default to 1."""
    return list(given or [1] * rank)


def is_even(pads: Sequence[int]) -> bool:
    """Whether both ends of each axis have the same pad."""
    rank = len(pads) // 2
    return list(pads[:rank]) == list(pads[rank:])
