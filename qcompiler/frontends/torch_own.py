"""Own decompositions of operators that PyTorch's ONNX translation gets wrong or does not know.

Each is written in other torch operators, so its oracle is the operator itself. They are applied to
the captured program before it is translated, and only if it holds a node that needs one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from qcompiler.frontends import (
    torch_adaptive,
    torch_forms,
    torch_halves,
    torch_integers,
    torch_ordering,
    torch_picking,
    torch_pointwise,
    torch_unbatched,
)
from qcompiler.frontends.torch_form import Decomposition, OwnForm, merged

_ATEN = torch.ops.aten


def with_own_forms(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program with own decompositions in place; itself if it needs none.

    What a form is made of may need one in its turn: a mean by index is a scattered mean.
    """
    done: set[Any] = set()
    while not (chosen := _needed(exported)).keys() <= done:
        exported = exported.run_decompositions(chosen)
        done |= chosen.keys()
    return exported


def _needed(exported: torch.export.ExportedProgram) -> dict[Any, Decomposition]:
    chosen: dict[Any, Decomposition] = {}
    for node in _calls(exported.graph_module):
        own = OWN_FORMS.get(node.target)
        if own is not None and own.needed(_named(node)):
            chosen[own.becomes or node.target] = own.form
    return chosen


def _calls(module: torch.fx.GraphModule) -> Iterator[torch.fx.Node]:
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            yield from (node for node in part.graph.nodes if node.op == "call_function")


def _named(node: torch.fx.Node) -> dict[str, Any]:
    """The arguments by name in the operator's schema, defaults included."""
    assert isinstance(node.target, torch._ops.OpOverload)
    arguments = node.target._schema.arguments
    given = {each.name: each.default_value for each in arguments if each.has_default_value()}
    given.update({each.name: value for each, value in zip(arguments, node.args, strict=False)})
    return {**given, **node.kwargs}


def _rank(value: Any) -> int:
    return int(value.meta["val"].ndim) if isinstance(value, torch.fx.Node) else 0


def average_pool(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Average pooling with a divisor of its own: the mean of explicitly padded windows, scaled."""
    if divisor_override is None:
        return NotImplemented
    rank = 2 if len(kernel_size) == 2 else 3
    kernel = list(kernel_size)
    steps = list(stride) or kernel
    pads = torch_forms.spread(padding, rank)
    amounts: list[int] = []
    for size, k, s, p in zip(x.shape[-rank:], kernel, steps, pads, strict=True):
        amounts = [p, p + _overhang(size, k, s, p) if ceil_mode else p, *amounts]
    pool = _ATEN.avg_pool2d.default if rank == 2 else _ATEN.avg_pool3d.default
    padded = functional.pad(x, amounts) if any(amounts) else x
    return pool(padded, kernel, steps) * (math.prod(kernel) / divisor_override)


def _overhang(size: int, kernel: int, stride: int, pad: int) -> int:
    """How far the last window of `ceil_mode` reaches beyond the padded axis."""
    count = -(-(size + 2 * pad - kernel) // stride) + 1
    if (count - 1) * stride >= size + pad:  # it has to start inside the input or the left padding
        count -= 1
    return max((count - 1) * stride + kernel - size - 2 * pad, 0)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention of any rank, 0 in rows whose mask shuts out every key (as torch has it)."""
    whole = scale if scale is not None else 1 / math.sqrt(query.shape[-1])
    factor = math.sqrt(abs(whole))
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (each.repeat_interleave(groups, -3) for each in (key, value))
    scores = torch.matmul(query * math.copysign(factor, whole), (key * factor).transpose(-2, -1))
    if is_causal:
        rows, columns = scores.shape[-2:]
        attn_mask = torch.ones(rows, columns, dtype=torch.bool).tril()
    if attn_mask is None:
        return torch.matmul(torch.softmax(scores, -1), value)
    if attn_mask.dtype == torch.bool:
        bias = torch.zeros_like(attn_mask, dtype=scores.dtype)
        bias = bias.masked_fill(attn_mask.logical_not(), -math.inf)
        seen = attn_mask
    else:
        bias, seen = attn_mask, attn_mask > -math.inf
    result = torch.matmul(torch.softmax(scores + bias, -1), value)
    if is_causal:  # every row sees its first key
        return result
    return torch.where(seen.any(-1, keepdim=True), result, torch.zeros_like(result))


def _attention_needed(given: Mapping[str, Any]) -> bool:
    negative = given["scale"] is not None and given["scale"] <= 0  # which has no root
    return negative or given["attn_mask"] is not None or _rank(given["query"]) != 4


def scatter_mean(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Any:
    """`scatter_reduce` with "mean": the sum by the number of summands."""
    if reduce != "mean":
        return NotImplemented
    count = torch.zeros_like(x).scatter_add(dim, index, torch.ones_like(src))
    start = x if include_self else torch.where(count > 0, torch.zeros_like(x), x)
    total = start.scatter_add(dim, index, src)
    count = count + 1 if include_self else count.clamp(min=1)
    return total / count if x.is_floating_point() else total.div(count, rounding_mode="floor")


def antialiased(
    x: Tensor,
    output_size: Sequence[int] | None,
    align_corners: bool,
    scale_factors: Sequence[float] | None = None,
) -> Tensor:
    """Antialiased bilinear resizing with aligned corners as two products with its weights."""
    return _resized(x, output_size, align_corners, scale_factors, 1.0, _triangle)


def antialiased_cubic(
    x: Tensor,
    output_size: Sequence[int] | None,
    align_corners: bool,
    scale_factors: Sequence[float] | None = None,
) -> Tensor:
    """The same, bicubic (a = -0.5)."""
    return _resized(x, output_size, align_corners, scale_factors, 2.0, _cubic)


def _resized(
    x: Tensor,
    sizes: Sequence[int] | None,
    align: bool,
    factors: Sequence[float] | None,
    reach: float,
    kernel: Callable[[Tensor], Tensor],
) -> Tensor:
    scales: Sequence[float | None] = factors or (None, None)
    if sizes is None:
        assert factors is not None
        sizes = [int(n * factor) for n, factor in zip(x.shape[-2:], factors, strict=True)]
    rows, columns = (
        _weights(have, want, align, scale, reach, kernel)
        for have, want, scale in zip(x.shape[-2:], sizes, scales, strict=True)
    )
    return torch.matmul(torch.matmul(rows, x), columns.transpose(0, 1))


def _weights(
    have: int,
    want: int,
    align: bool,
    given: float | None,
    reach: float,
    kernel: Callable[[Tensor], Tensor],
) -> Tensor:
    """[want, have] weights; torch, aten/src/ATen/native/cpu/UpSampleKernel.cpp, aa functions."""
    if align:
        scale = (have - 1) / (want - 1) if want > 1 else 0.0
    else:
        scale = 1 / given if given else have / want
    width = max(scale, 1.0)
    center = scale * (torch.arange(want, dtype=torch.float32) + 0.5)
    first = (center - reach * width + 0.5).clamp(min=0).floor()
    last = (center + reach * width + 0.5).floor()
    at = torch.arange(have, dtype=torch.float32)
    weights = kernel((at - center[:, None] + 0.5) / width)
    inside = (at >= first[:, None]) & (at < last[:, None])
    weights = torch.where(inside, weights, torch.zeros_like(weights))
    return weights / weights.sum(1, keepdim=True)


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _aligned(given: Mapping[str, Any]) -> bool:
    return bool(given["align_corners"]) or given.get("scale_factors") is not None


_OWN: Mapping[Any, OwnForm] = {
    _ATEN.avg_pool2d.default: OwnForm(average_pool, lambda g: g["divisor_override"] is not None),
    _ATEN.avg_pool3d.default: OwnForm(average_pool, lambda g: g["divisor_override"] is not None),
    _ATEN.scaled_dot_product_attention.default: OwnForm(attention, _attention_needed),
    _ATEN.scatter_reduce.two: OwnForm(scatter_mean, lambda g: g["reduce"] == "mean"),
    _ATEN._upsample_bilinear2d_aa.vec: OwnForm(antialiased, _aligned),
    _ATEN._upsample_bicubic2d_aa.vec: OwnForm(antialiased_cubic, _aligned),
    **dict.fromkeys(
        (
            _ATEN.adaptive_avg_pool1d.default, _ATEN.adaptive_avg_pool2d.default,
            _ATEN.adaptive_avg_pool3d.default, _ATEN._adaptive_avg_pool2d.default,
            _ATEN._adaptive_avg_pool3d.default,
        ),
        OwnForm(torch_adaptive.average, torch_adaptive.needed),
    ),
    **dict.fromkeys(
        (
            _ATEN.adaptive_max_pool1d.default, _ATEN.adaptive_max_pool2d.default,
            _ATEN.adaptive_max_pool3d.default,
        ),
        OwnForm(torch_adaptive.maximum, torch_adaptive.needed),
    ),
    **dict.fromkeys(
        (
            _ATEN.batch_norm.default, _ATEN.native_batch_norm.default,
            _ATEN._native_batch_norm_legit.default,
        ),
        OwnForm(
            torch_forms.batch_norm, torch_forms.is_training,
            _ATEN._native_batch_norm_legit_functional.default,
        ),
    ),
    _ATEN.cross_entropy_loss.default: OwnForm(
        torch_forms.cross_entropy, torch_forms.of_probabilities
    ),
    _ATEN.special_log_ndtr.default: OwnForm(torch_forms.log_ndtr),
    _ATEN.special_erfcx.default: OwnForm(torch_forms.erfcx),
    _ATEN.linspace.Tensor_Tensor: OwnForm(torch_forms.linspace, torch_forms.is_one_step),
    _ATEN.linspace.Tensor_Scalar: OwnForm(torch_forms.linspace, torch_forms.is_one_step),
    _ATEN.pad.default: OwnForm(torch_forms.pad, torch_forms.is_cropped),
    **dict.fromkeys(
        (
            _ATEN.conv_transpose1d.default, _ATEN.conv_transpose2d.input,
            _ATEN.conv_transpose3d.input,
        ),
        OwnForm(torch_forms.conv_transpose, torch_forms.is_padded_beyond),
    ),
    **{
        op: OwnForm(torch_forms.without_axes(op), torch_forms.has_no_axes)
        for op in torch_forms.SCALARS
    },
    **{alias: OwnForm(op) for alias, op in torch_forms.OTHER_NAMES.items()},
}  # fmt: skip
OWN_FORMS: Mapping[Any, OwnForm] = merged(
    torch_halves.FORMS,
    torch_integers.FORMS,
    _OWN,
    torch_ordering.FORMS,
    torch_picking.FORMS,
    torch_pointwise.FORMS,
    torch_unbatched.FORMS,
)
"""operator -> own decomposition."""
