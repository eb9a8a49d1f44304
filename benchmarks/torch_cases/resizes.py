"""Interpolation and sampling."""

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


def resizes() -> Iterator[Case]:
    f = of_function
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        for kw in (
            {"scale_factor": 2},
            {"scale_factor": 2.0},
            {"size": (5, 7)},
            {"scale_factor": (0.5, 1.5)},
            {"scale_factor": 1.3, "recompute_scale_factor": True},
            {"size": 12},
            {"scale_factor": 0.4},
        ):
            yield f(
                f"interpolate {mode} {kw}",
                lambda x, mode=mode, kw=kw: F.interpolate(x, mode=mode, **kw),
                IMG,
            )
        if mode in ("bilinear", "bicubic"):
            for kw in ({"size": (5, 7)}, {"scale_factor": 2}, {"size": (1, 1)}, {"size": (1, 9)}):
                yield f(
                    f"interpolate {mode} align {kw}",
                    lambda x, mode=mode, kw=kw: F.interpolate(
                        x, mode=mode, align_corners=True, **kw
                    ),
                    IMG,
                )
            for kw in ({"size": (5, 7)}, {"scale_factor": 0.7}):
                yield f(
                    f"interpolate {mode} antialias {kw}",
                    lambda x, mode=mode, kw=kw: F.interpolate(x, mode=mode, antialias=True, **kw),
                    IMG,
                )
    for mode in ("nearest", "linear", "area", "nearest-exact"):
        yield f(
            f"interpolate 1d {mode}",
            lambda x, mode=mode: (
                F.interpolate(x, size=7, mode=mode),
                F.interpolate(x, scale_factor=1.7, mode=mode),
            ),
            SEQ,
        )
    for mode in ("nearest", "trilinear", "area", "nearest-exact"):
        yield f(
            f"interpolate 3d {mode}",
            lambda x, mode=mode: (
                F.interpolate(x, size=(3, 7, 8), mode=mode),
                F.interpolate(x, scale_factor=2, mode=mode),
            ),
            VOL,
        )
    yield f(
        "interpolate 1d align",
        lambda x: F.interpolate(x, size=7, mode="linear", align_corners=True),
        SEQ,
    )
    yield f(
        "interpolate to other",
        lambda x, y: F.interpolate(x, size=y.shape[2:], mode="bilinear"),
        IMG,
        (2, 4, 5, 6),
    )
    yield f(
        "interpolate to shape math",
        lambda x: F.interpolate(x, size=(x.shape[2] * 2 - 1, x.shape[3] // 2)),
        IMG,
    )
    yield f(
        "upsample",
        lambda x: (
            F.upsample(x, scale_factor=2),
            F.upsample_nearest(x, scale_factor=2),
            F.upsample_bilinear(x, scale_factor=2),
        ),
        IMG,
    )
    yield of_module(
        "nn.Upsample", nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), IMG
    )
    yield of_module("nn.UpsamplingNearest2d", nn.UpsamplingNearest2d(size=(5, 6)), IMG)
    yield of_module("nn.UpsamplingBilinear2d", nn.UpsamplingBilinear2d(scale_factor=2), IMG)
    yield f(
        "uint8 interpolate",
        lambda x: F.interpolate(x, scale_factor=2),
        lambda: torch.randint(0, 255, IMG, dtype=torch.uint8),
    )
    for mode in ("bilinear", "nearest", "bicubic"):
        for pad in ("zeros", "border", "reflection"):
            yield f(
                f"grid_sample {mode} {pad}",
                lambda x, g, mode=mode, pad=pad: (
                    F.grid_sample(x, g * 1.5, mode, pad),
                    F.grid_sample(x, g * 1.5, mode, pad, align_corners=True),
                ),
                IMG,
                lambda: torch.rand(2, 5, 6, 2) * 2 - 1,
            )
    yield f(
        "grid_sample 3d",
        lambda x, g: F.grid_sample(x, g, align_corners=False),
        VOL,
        lambda: torch.rand(1, 3, 4, 5, 3) * 2 - 1,
    )
    yield f(
        "affine_grid",
        lambda x, t: F.grid_sample(
            x, F.affine_grid(t, x.shape, align_corners=False), align_corners=False
        ),
        IMG,
        (2, 2, 3),
    )
