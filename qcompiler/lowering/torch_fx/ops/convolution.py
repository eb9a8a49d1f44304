"""Conv and ConvTranspose, with ONNX padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional

from qcompiler.ir.paddings import transposed_cut, window_pads
from qcompiler.lowering.torch_fx.ops.window import CONV, is_even, or_ones, torch_pad

_CONV_TRANSPOSE: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Conv in one to three dimensions; uneven pads are made explicit."""
    del kernel_shape
    rank = w.dim() - 2
    stride, dilation = or_ones(strides, rank), or_ones(dilations, rank)
    around = window_pads(x.shape[2:], w.shape[2:], stride, dilation, pads, auto_pad)
    if is_even(around):
        return CONV[rank](x, w, b, stride, around[:rank], dilation, group)
    padded = functional.pad(x, torch_pad(around))
    return CONV[rank](padded, w, b, stride, [0] * rank, dilation, group)


def cut_outputs(
    y: Tensor,
    x: Tensor,
    *,
    first: Sequence[int],
    pads: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
) -> Tensor:
    """The outputs of a convolution of `x` with `pads`, out of `y`, which has more on both sides."""
    rank = len(kernel)
    for axis in range(rank):
        size = x.shape[axis + 2] + pads[axis] + pads[axis + rank]
        count = (size - kernel[axis]) // strides[axis] + 1
        y = y.narrow(axis + 2, first[axis], count)
    return y


def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """ConvTranspose; uneven pads and `output_shape` are cut from the unpadded result."""
    del kernel_shape
    rank = w.dim() - 2
    stride, dilation = or_ones(strides, rank), or_ones(dilations, rank)
    extra = list(output_padding or [0] * rank)
    geometry = (x.shape[2:], w.shape[2:], stride, dilation, extra)
    cut = transposed_cut(*geometry, pads, auto_pad, output_shape)
    if (
        is_even(cut)
        and all(c >= 0 for c in cut)
        and all(e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True))
    ):
        return _CONV_TRANSPOSE[rank](x, w, b, stride, cut[:rank], extra, group, dilation)
    full = _CONV_TRANSPOSE[rank](x, w, None, stride, 0, 0, group, dilation)
    grow = [-c for c in cut[:rank]] + [e - c for e, c in zip(extra, cut[rank:], strict=True)]
    grown = functional.pad(full, torch_pad(grow))
    return grown if b is None else grown + b.reshape([-1] + [1] * rank)
