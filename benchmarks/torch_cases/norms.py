"""Norms, embeddings, padding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from benchmarks.torch_cases.case import (
    IMG,
    SEQ,
    VOL,
    B,
    Case,
    S,
    ints,
    of_function,
    of_module,
    positive,
)


class _Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(5, 6, mode="sum")

    def forward(self, ids, weights):  # type: ignore[no-untyped-def]
        return self.bag(ids, per_sample_weights=weights)


def norms() -> Iterator[Case]:
    m = of_module

    def trained(norm: nn.Module) -> nn.Module:
        for _name, each in norm.named_buffers():
            if each.is_floating_point():
                each.data = torch.rand_like(each) + 0.5
        for each in norm.parameters():
            each.data = torch.rand_like(each) + 0.5
        return norm

    yield m("BatchNorm1d 2d", nn.Sequential(nn.Linear(6, 6), trained(nn.BatchNorm1d(6))), S)
    yield m("BatchNorm1d", nn.Sequential(nn.Conv1d(4, 4, 1), trained(nn.BatchNorm1d(4))), SEQ)
    yield m(
        "BatchNorm2d", nn.Sequential(nn.Conv2d(4, 4, 1), trained(nn.BatchNorm2d(4, eps=0.1))), IMG
    )
    yield m(
        "BatchNorm2d no affine",
        nn.Sequential(nn.Conv2d(4, 4, 1), trained(nn.BatchNorm2d(4, affine=False))),
        IMG,
    )
    yield m(
        "BatchNorm2d no stats",
        nn.Sequential(nn.Conv2d(4, 4, 1), trained(nn.BatchNorm2d(4, track_running_stats=False))),
        IMG,
    )
    yield m("BatchNorm3d", trained(nn.BatchNorm3d(2)), VOL)
    yield m("SyncBatchNorm", trained(nn.SyncBatchNorm(4)), IMG)
    yield m("LayerNorm", nn.Sequential(nn.Linear(6, 6), trained(nn.LayerNorm(6))), B)
    yield m("LayerNorm 2", trained(nn.LayerNorm((5, 6), eps=0.1)), B)
    yield m("LayerNorm no affine", nn.LayerNorm(6, elementwise_affine=False), B)
    yield m("LayerNorm no bias", trained(nn.LayerNorm(6, bias=False)), B)
    yield m("RMSNorm", trained(nn.RMSNorm(6)), B)
    yield m("RMSNorm no affine", nn.RMSNorm((5, 6), elementwise_affine=False, eps=0.1), B)
    yield m("GroupNorm", nn.Sequential(nn.Conv2d(4, 4, 1), trained(nn.GroupNorm(2, 4))), IMG)
    yield m("GroupNorm 1", trained(nn.GroupNorm(1, 4, affine=False)), SEQ)
    yield m("GroupNorm 2d", trained(nn.GroupNorm(2, 6)), S)
    yield m(
        "InstanceNorm2d",
        nn.Sequential(nn.Conv2d(4, 4, 1), trained(nn.InstanceNorm2d(4, affine=True))),
        IMG,
    )
    yield m("InstanceNorm2d stats", trained(nn.InstanceNorm2d(4, track_running_stats=True)), IMG)
    yield m("InstanceNorm2d batchless", trained(nn.InstanceNorm2d(4)), IMG[1:])
    yield m("InstanceNorm1d", nn.InstanceNorm1d(4, eps=0.1), SEQ)
    yield m("InstanceNorm3d", trained(nn.InstanceNorm3d(2, affine=True)), VOL)
    yield m("LocalResponseNorm", nn.LocalResponseNorm(3, 0.1, 0.5, 2.0), IMG)
    yield m("LocalResponseNorm 1d", nn.LocalResponseNorm(2), SEQ)
    yield m("CrossMapLRN2d", nn.CrossMapLRN2d(3), IMG)
    yield of_function(
        "F norms",
        lambda x: (
            F.layer_norm(x, (9,)),
            F.group_norm(x, 2),
            F.instance_norm(x),
            F.rms_norm(x, (9,)),
            F.local_response_norm(x, 2),
            F.batch_norm(x, torch.zeros(4), torch.ones(4)),
            F.batch_norm(x, None, None, training=True),
        ),
        IMG,
    )
    yield m(
        "Embedding", nn.Sequential(nn.Embedding(5, 6, padding_idx=0), nn.Linear(6, 2)), ints(4, 3)
    )
    yield m("Embedding max_norm", nn.Embedding(5, 6, max_norm=1.0), ints(4, 3))
    yield m(
        "Embedding int32",
        nn.Embedding(5, 6),
        lambda: torch.randint(0, 5, (4, 3), dtype=torch.int32),
    )


def lookups() -> Iterator[Case]:
    m = of_module
    yield m(
        "Embedding scale_grad", nn.Embedding(5, 6, scale_grad_by_freq=True, sparse=True), ints(4, 3)
    )
    for mode in ("sum", "mean", "max"):
        yield m(f"EmbeddingBag {mode}", nn.EmbeddingBag(5, 6, mode=mode), ints(4, 3))
        yield m(
            f"EmbeddingBag {mode} offsets",
            nn.EmbeddingBag(5, 6, mode=mode),
            ints(8),
            lambda: torch.tensor([0, 3, 5]),
        )
        yield m(
            f"EmbeddingBag {mode} last offset",
            nn.EmbeddingBag(5, 6, mode=mode, include_last_offset=True),
            ints(8),
            lambda: torch.tensor([0, 3, 8]),
        )
        yield m(
            f"EmbeddingBag {mode} padding",
            nn.EmbeddingBag(5, 6, mode=mode, padding_idx=2),
            ints(4, 3),
        )
        yield m(
            f"EmbeddingBag {mode} empty bag",
            nn.EmbeddingBag(5, 6, mode=mode),
            ints(8),
            lambda: torch.tensor([0, 3, 3]),
        )
    yield m(
        "EmbeddingBag weights",
        nn.EmbeddingBag(5, 6, mode="sum"),
        ints(8),
        lambda: torch.tensor([0, 3, 5]),
        positive(8),
    )
    yield m("EmbeddingBag weights 2d", _Weighted(), ints(4, 3), positive(4, 3))
    yield m("CosineSimilarity", nn.CosineSimilarity(dim=-1), B, B)
    yield m("PairwiseDistance", nn.PairwiseDistance(p=1), S, S)
    yield m("Flatten", nn.Sequential(nn.Flatten(1, -1), nn.Linear(30, 2)), B)
    yield m("Unflatten", nn.Sequential(nn.Linear(6, 6), nn.Unflatten(-1, (2, 3))), B)
    pads: tuple[nn.Module, ...] = (
        nn.ZeroPad1d(2),
        nn.ReflectionPad1d((1, 2)),
        nn.ReplicationPad1d(2),
        nn.CircularPad1d(1),
        nn.ConstantPad1d(1, 3.0),
    )
    for pad in pads:
        yield m(f"{pad}", pad, SEQ)
    pads = (
        nn.ZeroPad2d((1, 2, 0, 1)),
        nn.ReflectionPad2d(2),
        nn.ReplicationPad2d((1, 0, 2, 3)),
        nn.CircularPad2d(1),
        nn.ConstantPad2d(1, -1.0),
        nn.ZeroPad2d(-1),
    )
    for pad in pads:
        yield m(f"{pad}", nn.Sequential(nn.Conv2d(4, 4, 1), pad), IMG)
        yield m(f"{pad} batchless", nn.Sequential(nn.Conv2d(4, 4, 1), pad), IMG[1:])
    pads = (
        nn.ZeroPad3d(1),
        nn.ReflectionPad3d(1),
        nn.ReplicationPad3d(1),
        nn.CircularPad3d(1),
        nn.ConstantPad3d(1, 2.0),
    )
    for pad in pads:
        yield m(f"{pad}", pad, VOL)
