"""Attention with its masks and flags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from benchmarks.torch_cases.case import (
    Case,
    bools,
    of_module,
)
from benchmarks.torch_cases.networks import Calls, D, keys


def attention() -> Iterator[Case]:
    m = of_module
    x = (3, 5, D)
    for kw in (
        {},
        {"batch_first": True},
        {"bias": False},
        {"add_bias_kv": True},
        {"add_zero_attn": True},
        {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
    ):
        for call in ({}, {"need_weights": False}, {"average_attn_weights": False}):
            yield m(f"MHA {kw} {call}", SelfAttention(nn.MultiheadAttention(D, 2, **kw), **call), x)
    first = nn.MultiheadAttention(D, 2, batch_first=True)
    yield m("MHA cross", Calls(first), x, (3, 7, D), (3, 7, D))
    yield m(
        "MHA kdim vdim",
        Calls(nn.MultiheadAttention(D, 2, kdim=4, vdim=6, batch_first=True)),
        x,
        (3, 7, 4),
        (3, 7, 6),
    )
    yield m(
        "MHA kdim no bias no weights",
        Calls(nn.MultiheadAttention(D, 2, kdim=4, vdim=6, bias=False), need_weights=False),
        (5, 3, D),
        (7, 3, 4),
        (7, 3, 6),
    )
    yield m("MHA batchless", SelfAttention(nn.MultiheadAttention(D, 2)), (5, D))
    yield m("MHA padding mask", _Masked(first, "key_padding_mask"), x, keys(3, 5))
    yield m(
        "MHA padding mask no weights",
        _Masked(first, "key_padding_mask", need_weights=False),
        x,
        keys(3, 5),
    )
    yield m("MHA bool mask", _Masked(first, "attn_mask"), x, keys(5, 5))
    yield m("MHA float mask", _Masked(first, "attn_mask", need_weights=False), x, (5, 5))
    yield m("MHA 3d mask", _Masked(first, "attn_mask"), x, keys(6, 5, 5))
    yield m("MHA float padding mask", _Masked(first, "key_padding_mask"), x, (3, 5))
    yield m(
        "MHA infinite mask",
        _Masked(first, "attn_mask"),
        x,
        lambda: nn.Transformer.generate_square_subsequent_mask(5),
    )
    yield m("MHA causal", _Causal(first), x)
    yield m(
        "MHA fully masked",
        _Masked(first, "key_padding_mask", need_weights=False),
        x,
        lambda: torch.tensor([[True] * 5, [False] * 5, [False, True] * 2 + [True]]),
    )
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("plain", {}),
        ("causal", {"is_causal": True}),
        ("scale", {"scale": 0.3}),
        ("dropout 0", {"dropout_p": 0.0}),
        ("causal scale", {"is_causal": True, "scale": 2.0}),
        ("negative scale", {"scale": -0.5}),
        ("scale 0", {"scale": 0.0}),
    )
    for name, call in kinds:
        for shape in ((2, 2, 5, D), (2, 5, D), (5, D), (2, 3, 2, 5, D)):
            yield m(f"SDPA {name} {len(shape)}d", _Sdpa(**call), shape, shape, shape)
    q = (2, 4, 5, D)
    yield m("SDPA gqa", _Sdpa(enable_gqa=True), q, (2, 2, 5, D), (2, 2, 5, D))
    yield m(
        "SDPA gqa causal", _Sdpa(enable_gqa=True, is_causal=True), q, (2, 1, 5, D), (2, 1, 5, D)
    )
    yield m("SDPA causal more keys", _Sdpa(is_causal=True), q, (2, 4, 7, D), (2, 4, 7, D))
    yield m("SDPA causal more queries", _Sdpa(is_causal=True), (2, 4, 7, D), q, q)
    yield m("SDPA value width", _Sdpa(), q, q, (2, 4, 5, 3))
    yield m("SDPA broadcast", _Sdpa(), q, (1, 4, 5, D), (1, 4, 5, D))
    yield m("SDPA bool mask", _Sdpa(), q, q, q, bools(5, 5))
    yield m("SDPA bool mask 4d", _Sdpa(), q, q, q, keys(2, 1, 5, 5))
    yield m("SDPA float mask", _Sdpa(scale=0.2), q, q, q, (2, 1, 5, 5))
    yield m("SDPA gqa mask", _Sdpa(enable_gqa=True), q, (2, 2, 5, D), (2, 2, 5, D), bools(5, 5))
    yield m("SDPA all masked", _Sdpa(), q, q, q, lambda: torch.zeros(5, 5, dtype=torch.bool))
    yield m(
        "SDPA -inf rows",
        _Sdpa(),
        q,
        q,
        q,
        lambda: torch.full((5, 5), float("-inf")).triu(1).fliplr(),
    )
    yield m("SDPA 3d mask", _Sdpa(), (2, 5, D), (2, 5, D), (2, 5, D), bools(2, 5, 5))
    yield m("half SDPA", _Sdpa(), *[lambda: torch.randn(2, 4, 5, D).half()] * 3)


class SelfAttention(nn.Module):
    def __init__(self, attention: nn.Module, **call: Any) -> None:
        super().__init__()
        self.attention, self.call = attention, call

    def forward(self, x: Tensor) -> Any:
        return self.attention(x, x, x, **self.call)


class _Masked(nn.Module):
    def __init__(self, attention: nn.Module, name: str, **call: Any) -> None:
        super().__init__()
        self.attention, self.name, self.call = attention, name, call

    def forward(self, x: Tensor, mask: Tensor) -> Any:
        return self.attention(x, x, x, **{self.name: mask}, **self.call)


class _Causal(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Any:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.attention(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)


class _Sdpa(nn.Module):
    def __init__(self, **call: Any) -> None:
        super().__init__()
        self.call = call

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, **self.call)
