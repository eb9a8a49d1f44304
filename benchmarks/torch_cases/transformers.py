"""Layers of transformers; parametrizations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.nn.utils import prune

from benchmarks.torch_cases.attention import SelfAttention
from benchmarks.torch_cases.case import (
    Case,
    ints,
    of_module,
)
from benchmarks.torch_cases.networks import D, keys


def transformers() -> Iterator[Case]:
    m = of_module
    for kw in (
        {},
        {"batch_first": True},
        {"norm_first": True, "batch_first": True},
        {"activation": "gelu"},
        {"bias": False},
        {"activation": F.silu},
    ):
        yield m(f"EncoderLayer {kw}", nn.TransformerEncoderLayer(D, 2, 16, **kw), (3, 5, D))
        yield m(
            f"DecoderLayer {kw}", nn.TransformerDecoderLayer(D, 2, 16, **kw), (3, 5, D), (3, 5, D)
        )
    layer = nn.TransformerEncoderLayer(D, 2, 16, batch_first=True)
    yield m("EncoderLayer batchless", layer, (5, D))
    yield m(
        "EncoderLayer mask",
        _Layer(layer, "src_mask"),
        (3, 5, D),
        lambda: nn.Transformer.generate_square_subsequent_mask(5),
    )
    yield m("EncoderLayer padding", _Layer(layer, "src_key_padding_mask"), (3, 5, D), keys(3, 5))
    encoder = nn.TransformerEncoder(layer, 2)
    yield m("Encoder", encoder, (3, 5, D))
    yield m("Encoder padding", _Layer(encoder, "src_key_padding_mask"), (3, 5, D), keys(3, 5))
    yield m(
        "Encoder mask causal",
        _Layer(encoder, "mask", is_causal=True),
        (3, 5, D),
        lambda: nn.Transformer.generate_square_subsequent_mask(5),
    )
    yield m(
        "Encoder nested off",
        nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(D), enable_nested_tensor=False),
        (3, 5, D),
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(D, 2, 16, batch_first=True), 2)
    yield m("Decoder", decoder, (3, 5, D), (3, 7, D))
    yield m("Decoder mask", _Decode(decoder), (3, 5, D), (3, 7, D))
    yield m("Transformer", nn.Transformer(D, 2, 1, 1, 16, batch_first=True), (3, 5, D), (3, 4, D))
    yield m("Transformer time first", nn.Transformer(D, 2, 1, 1, 16), (5, 3, D), (4, 3, D))
    yield m(
        "Transformer open time",
        nn.TransformerEncoderLayer(D, 2, 16, batch_first=True),
        (3, 5, D),
        dynamic={"src": {0: "batch", 1: "time"}},
    )
    yield m(
        "MHA open time",
        SelfAttention(nn.MultiheadAttention(D, 2, batch_first=True)),
        (3, 5, D),
        dynamic={"x": {0: "batch", 1: "time"}},
    )
    yield m("SDPA open time", _Proj(), (3, 5, D), dynamic={"x": {0: "batch", 1: "time"}})


class _Layer(nn.Module):
    def __init__(self, layer: nn.Module, name: str, **call: Any) -> None:
        super().__init__()
        self.layer, self.name, self.call = layer, name, call

    def forward(self, x: Tensor, mask: Tensor) -> Any:
        return self.layer(x, **{self.name: mask}, **self.call)


class _Decode(nn.Module):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, x: Tensor, memory: Tensor) -> Any:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.decoder(x, memory, tgt_mask=mask, tgt_is_causal=True)


class _Proj(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(D, 3 * D)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


def parametrized() -> Iterator[Case]:
    m = of_module
    u: Any = nn.utils
    yield m("weight_norm old", u.weight_norm(nn.Linear(6, 8)), (4, 6))
    yield m(
        "weight_norm old conv",
        nn.Sequential(u.weight_norm(nn.Conv2d(4, 4, 3)), nn.ReLU()),
        (2, 4, 8, 9),
    )
    yield m("weight_norm old dim None", u.weight_norm(nn.Linear(6, 8), dim=None), (4, 6))
    yield m("weight_norm new", u.parametrizations.weight_norm(nn.Conv1d(4, 4, 3)), (2, 4, 10))
    yield m(
        "weight_norm new transpose",
        u.parametrizations.weight_norm(nn.ConvTranspose1d(4, 4, 3)),
        (2, 4, 10),
    )
    yield m("spectral_norm old", u.spectral_norm(nn.Linear(6, 8)), (4, 6))
    yield m("spectral_norm new", u.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)), (2, 4, 8, 9))
    yield m("orthogonal", u.parametrizations.orthogonal(nn.Linear(6, 6)), (4, 6))
    yield m(
        "orthogonal householder",
        u.parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="householder"),
        (4, 6),
    )
    yield m(
        "orthogonal cayley",
        u.parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="cayley"),
        (4, 6),
    )
    pruned, pruning = nn.Linear(6, 8), _untyped(prune)
    pruning.l1_unstructured(pruned, "weight", 0.5)
    yield m("pruned", pruned, (4, 6))
    yield m("LazyLinear", _lazy(), (4, 6))
    yield m("AdaptiveLogSoftmax", _Adaptive(), (4, 6))
    yield m(
        "ids",
        nn.Sequential(
            nn.Embedding(5, D),
            nn.TransformerEncoderLayer(D, 2, 16, batch_first=True),
            nn.Linear(D, 5),
        ),
        ints(3, 4),
    )


def _lazy() -> nn.Module:
    lazy = nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d())
    lazy(torch.randn(4, 6))
    return lazy


class _Adaptive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.AdaptiveLogSoftmaxWithLoss(6, 10, [3, 6])

    def forward(self, x: Tensor) -> Any:
        return self.head.log_prob(x), self.head.predict(x)


def _untyped(module: Any) -> Any:
    return module
