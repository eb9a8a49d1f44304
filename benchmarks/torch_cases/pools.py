"""Pools, their indices, unpooling."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from benchmarks.torch_cases.case import (
    IMG,
    SEQ,
    VOL,
    Case,
    of_function,
    of_module,
)


def pools() -> Iterator[Case]:
    m = of_module

    def after(c: int, module: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Conv2d(c, c, 1), module)

    for kw in (
        {},
        {"stride": 1, "padding": 1},
        {"ceil_mode": True},
        {"dilation": 2},
        {"stride": 2, "padding": 1, "ceil_mode": True},
    ):
        yield m(f"MaxPool1d {kw}", nn.MaxPool1d(3, **kw), SEQ)
        yield m(f"MaxPool2d {kw}", after(4, nn.MaxPool2d(3, **kw)), IMG)
        yield m(
            f"MaxPool3d {kw}", nn.MaxPool3d(2 if "dilation" in kw else 3, **kw), (1, 2, 6, 6, 7)
        )
    for kw in (
        {},
        {"stride": 1, "padding": 1},
        {"ceil_mode": True},
        {"stride": 2, "padding": 1, "ceil_mode": True},
        {"stride": 2, "padding": 1, "count_include_pad": False},
        {"stride": 2, "padding": 1, "count_include_pad": False, "ceil_mode": True},
    ):
        yield m(f"AvgPool1d {kw}", nn.AvgPool1d(3, **kw), SEQ)
        yield m(f"AvgPool2d {kw}", after(4, nn.AvgPool2d(3, **kw)), IMG)
        yield m(f"AvgPool3d {kw}", nn.AvgPool3d(3, **kw), (1, 2, 6, 6, 7))
    yield m("AvgPool2d divisor", after(4, nn.AvgPool2d(2, divisor_override=3)), IMG)
    yield m("MaxPool2d indices", after(4, nn.MaxPool2d(2, return_indices=True)), IMG)
    yield m("MaxPool1d indices", nn.MaxPool1d(2, return_indices=True), SEQ)
    yield m("MaxPool3d indices", nn.MaxPool3d(2, return_indices=True), VOL)
    yield m("MaxPool2d batchless", after(4, nn.MaxPool2d(2)), IMG[1:])
    yield m("AvgPool2d batchless", after(4, nn.AvgPool2d(2)), IMG[1:])
    yield m("MaxPool1d batchless", nn.MaxPool1d(2), SEQ[1:])
    yield m("LPPool", nn.LPPool2d(2, 2), IMG)
    yield m("LPPool1d 3", nn.LPPool1d(3, 2, ceil_mode=True), SEQ)
    yield m(
        "FractionalMaxPool2d",
        nn.FractionalMaxPool2d(2, output_size=(3, 3), _random_samples=torch.rand(2, 4, 2)),
        IMG,
    )

    class Unpool(nn.Module):
        def __init__(self, size=None) -> None:  # type: ignore[no-untyped-def]
            super().__init__()
            self.down, self.up, self.size = (
                nn.MaxPool2d(2, return_indices=True),
                nn.MaxUnpool2d(2),
                size,
            )

        def forward(self, x):  # type: ignore[no-untyped-def]
            y, i = self.down(x)
            return self.up(y, i, output_size=x.shape if self.size else None)

    yield m("MaxUnpool2d", Unpool(), (2, 4, 8, 8))
    yield m("MaxUnpool2d size", Unpool(True), IMG)
    for size in (1, (2, 3), (None, 2), 5, (16, 18)):
        yield m(f"AdaptiveAvgPool2d {size}", after(4, nn.AdaptiveAvgPool2d(size)), IMG)
        yield m(f"AdaptiveMaxPool2d {size}", after(4, nn.AdaptiveMaxPool2d(size)), IMG)
    for size in (1, 3, 5, 20):
        yield m(f"AdaptiveAvgPool1d {size}", nn.AdaptiveAvgPool1d(size), SEQ)
        yield m(f"AdaptiveMaxPool1d {size}", nn.AdaptiveMaxPool1d(size), SEQ)
    yield m("AdaptiveAvgPool3d", nn.AdaptiveAvgPool3d((2, 3, None)), VOL)
    yield m("AdaptiveMaxPool3d", nn.AdaptiveMaxPool3d((2, 3, 1)), VOL)
    yield m("AdaptiveMaxPool2d indices", nn.AdaptiveMaxPool2d(1, return_indices=True), IMG)
    yield m(
        "AdaptiveMaxPool2d indices (2, 3)",
        nn.AdaptiveMaxPool2d((2, 3), return_indices=True),
        (2, 4, 8, 9),
    )
    yield m("AdaptiveAvgPool2d batchless", nn.AdaptiveAvgPool2d(1), IMG[1:])
    yield of_function(
        "F pools",
        lambda x: (
            F.max_pool2d(x, 2),
            F.avg_pool2d(x, 2, 1, 1, True, False),
            F.adaptive_avg_pool2d(x, 1),
            F.max_pool2d(x, (2, 3), (1, 2), (1, 1), (1, 1), True),
            F.lp_pool2d(x, 2, 2),
            F.adaptive_max_pool2d(x, (1, 1)),
        ),
        IMG,
    )
