"""Convolutions and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from benchmarks.torch_cases.case import (
    IMG,
    SEQ,
    VOL,
    B,
    Case,
    S,
    of_function,
    of_module,
)


def nhwc(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(shape).to(memory_format=torch.channels_last)


def _channels_last(module: Any) -> nn.Module:
    made: nn.Module = module.to(memory_format=torch.channels_last)
    return made


def convolutions() -> Iterator[Case]:
    m = of_module
    kinds: tuple[tuple[int, Any, tuple[int, ...]], ...] = (
        (1, nn.Conv1d, SEQ),
        (2, nn.Conv2d, IMG),
        (3, nn.Conv3d, (2, 4, 5, 6, 7)),
    )
    for dims, cls, shape in kinds:
        for kw in (
            {"padding": 1},
            {"stride": 2, "bias": False},
            {"dilation": 2, "padding": "same"},
            {"padding": "valid"},
            {"groups": 2},
            {"padding": 1, "padding_mode": "reflect"},
            {"padding": 2, "padding_mode": "circular"},
            {"padding": 1, "padding_mode": "replicate"},
            {"groups": 4, "padding": 1},
            {"padding": "same", "padding_mode": "reflect"},
        ):
            yield m(f"Conv{dims}d {kw}", cls(4, 8, 3, **kw), shape)
        yield m(f"Conv{dims}d even same", cls(4, 8, 2, padding="same"), shape)
        yield m(f"Conv{dims}d batchless", cls(4, 8, 3, padding=1), shape[1:])
        yield m(f"Conv{dims}d padding > kernel", cls(4, 8, 1, padding=2), shape)
    kinds = (
        (1, nn.ConvTranspose1d, SEQ),
        (2, nn.ConvTranspose2d, IMG),
        (3, nn.ConvTranspose3d, VOL),
    )
    for dims, cls, shape in kinds:
        c = shape[1]
        ways: tuple[dict[str, Any], ...] = (
            {},
            {"stride": 2, "padding": 1, "output_padding": 1},
            {"stride": 2, "groups": 2, "bias": False},
            {"dilation": 2},
            {"stride": 3, "padding": 2},
        )
        for kw in ways:
            yield m(f"ConvTranspose{dims}d {kw}", cls(c, 4, 3, **kw), shape)
        yield m(f"ConvTranspose{dims}d batchless", cls(c, 4, 3), shape[1:])

        class Sized(nn.Module):
            def __init__(self, cls=cls, c=c, shape=shape) -> None:  # type: ignore[no-untyped-def]
                super().__init__()
                self.up, self.size = cls(c, 4, 3, stride=2, padding=1), [2 * s for s in shape[2:]]

            def forward(self, x):  # type: ignore[no-untyped-def]
                return self.up(x, output_size=self.size)

        yield m(f"ConvTranspose{dims}d output_size", Sized(), shape)
    yield m("Conv2d NHWC", _channels_last(nn.Conv2d(4, 8, 3)), nhwc(2, 4, 8, 9))
    yield m(
        "Conv2d NHWC + relu pool",
        _channels_last(nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.MaxPool2d(2))),
        nhwc(2, 4, 8, 9),
    )
    yield m("Conv2d asymmetric", nn.Conv2d(4, 8, (1, 3), (2, 1), (0, 1), (1, 2)), IMG)
    yield of_function(
        "F.conv",
        lambda x, w: (
            F.conv2d(x, w),
            F.conv2d(x, w, torch.ones(3), 2, 1),
            F.conv2d(x, w, padding="same"),
            F.conv_transpose2d(x, w.transpose(0, 1)),
        ),
        IMG,
        (3, 4, 3, 3),
    )
    yield of_function(
        "F.conv1d",
        lambda x, w: (F.conv1d(x, w), F.conv1d(x, w, padding=1, dilation=2)),
        SEQ,
        (3, 4, 3),
    )
    yield of_function(
        "F.conv_tbc", lambda x, w: torch.conv_tbc(x, w, torch.zeros(3), 1), (7, 2, 4), (3, 4, 3)
    )
    yield m("Unfold", nn.Sequential(nn.Conv2d(4, 4, 1), nn.Unfold(3, 2, 1, 2)), IMG)
    yield m("Unfold plain", nn.Sequential(nn.Conv2d(4, 4, 1), nn.Unfold((2, 3))), IMG)
    yield m("Unfold batchless", nn.Unfold(3), (4, 8, 9))
    yield m("Fold", nn.Fold((4, 5), (2, 2)), (2, 12, 12))
    yield m("Fold args", nn.Fold((6, 6), 3, dilation=1, padding=1, stride=2), (2, 18, 9))
    yield m("Fold batchless", nn.Fold((4, 5), (2, 2)), (12, 12))
    yield m("Bilinear", nn.Bilinear(6, 5, 3), S, (4, 5))
    yield m("Linear 1d", nn.Linear(6, 3), (6,))
    yield m("Linear 5d", nn.Linear(6, 3), (2, 2, 2, 2, 6))
    yield m("Linear no bias", nn.Linear(6, 3, bias=False), B)
    yield m("Linear one", nn.Linear(6, 1), S)
    yield m("PixelShuffle", nn.Sequential(nn.Conv2d(4, 8, 3), nn.PixelShuffle(2)), IMG)
    yield m(
        "PixelUnshuffle", nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 3, 1)), (2, 4, 8, 8)
    )
    yield m("ChannelShuffle", nn.Sequential(nn.Conv2d(4, 8, 3), nn.ChannelShuffle(4)), IMG)
    yield m("half Conv2d", nn.Conv2d(4, 8, 3).half(), lambda: torch.randn(IMG).half())
    yield m("half Linear", nn.Linear(6, 8).half(), lambda: torch.randn(S).half())
    yield m("bf16 Conv2d", nn.Conv2d(4, 8, 3).bfloat16(), lambda: torch.randn(IMG).bfloat16())
    yield m("double Linear", nn.Linear(6, 8).double(), lambda: torch.randn(S).double())
