"""Layers on images: batch, channels, then one axis per side."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from qcompiler.testing.random_builder import Builder, sized
from qcompiler.testing.random_rows import activation

ROOM = 4000
"""Elements of one sample beyond which nothing grows."""


def convolution(b: Builder) -> None:
    """A Conv with drawn attributes, maybe normalized, maybe activated."""
    _, channels, *sides = b.shape
    kernel = [b.one_of(1, 2, 3, 3) for _ in sides]
    dilations = [b.one_of(1, 1, 1, 2) for _ in sides]
    strides = [b.one_of(1, 1, 2) for _ in sides]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = b.one_of(None, None, None, "SAME_UPPER", "SAME_LOWER") if max(dilations) == 1 else None
    pads = [b.one_of(0, r // 2) for r in reach] + [b.one_of(0, r // 2) for r in reach]
    spans = [s + pads[i] + pads[i + len(sides)] for i, s in enumerate(sides)]
    group = b.one_of(1, 1, 1, channels, 2 if channels % 2 == 0 else 1)
    out = group * int(b.rng.integers(1, max(2, 9 // group + 1)))
    if auto is None and any(span < r for span, r in zip(spans, reach, strict=True)):
        kernel, pads, reach, spans = [1] * len(sides), [0] * 2 * len(sides), [1] * len(sides), sides
    fan = channels // group * int(np.prod(kernel))
    weight = b.weight(out, channels // group, *kernel, fan=fan)
    bias = [b.weight(out, fan=16)] if b.chance(0.6) else []
    given = {"auto_pad": auto} if auto else {"pads": pads}
    b.then("Conv", weight, *bias, strides=strides, dilations=dilations, group=group, **given)
    if auto:
        found = [-(-side // stride) for side, stride in zip(sides, strides, strict=True)]
    else:
        found = [(n - r) // s + 1 for n, r, s in zip(spans, reach, strides, strict=True)]
    b.shape = (b.shape[0], out, *found)
    if b.chance(0.4):
        normalized(b)
    if b.chance(0.7):
        activation(b)


def normalized(b: Builder) -> None:
    """BatchNormalization, or over each sample."""
    channels = b.shape[1]
    if b.chance(0.7):
        moments = [b.weight(channels, fan=9, mean=m) for m in (1.0, 0.0, 0.0)]
        variance = b.store("v", np.asarray(b.rng.uniform(0.5, 1.5, channels), np.float32))
        b.then("BatchNormalization", *moments, variance)
    elif np.prod(b.shape[2:]) > 1:
        scale, bias = b.weight(channels, fan=9, mean=1), b.weight(channels)
        if b.opset >= 21 and channels % 2 == 0 and b.chance(0.5):
            b.then("GroupNormalization", scale, bias, num_groups=2)
        else:
            b.then("InstanceNormalization", scale, bias)


def transposed(b: Builder) -> None:
    """A ConvTranspose with drawn attributes."""
    if 4 * sized(b) > ROOM:
        return convolution(b)
    _, channels, *sides = b.shape
    kernel = [b.one_of(2, 3) for _ in sides]
    strides, dilations = [b.one_of(1, 2) for _ in sides], [b.one_of(1, 1, 2) for _ in sides]
    group = b.one_of(1, 1, 2) if channels % 2 == 0 else 1
    each = int(b.rng.integers(1, 4))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [b.one_of(0, 0, 1) for _ in sides] + [b.one_of(0, 0, 1) for _ in sides]
    extra = [b.one_of(0, stride - 1) for stride in strides]
    weight = b.weight(channels, each, *kernel, fan=channels * 2 // group)
    bias = [b.weight(each * group, fan=16)] if b.chance(0.5) else []
    kind = b.one_of("pads", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "output_shape")
    count = len(sides)
    found = [(n - 1) * s + r - pads[i] - pads[i + count] + more for i, (n, s, r, more) in
             enumerate(zip(sides, strides, reach, extra, strict=True))]  # fmt: skip
    if min(found) < 1 or any(r < s for r, s in zip(reach, strides, strict=True)):
        kind, found = "SAME_UPPER", [n * s for n, s in zip(sides, strides, strict=True)]
    given: dict[str, Any] = {"pads": pads, "output_padding": extra}
    if kind.startswith("SAME"):
        given, found = {"auto_pad": kind}, [n * s for n, s in zip(sides, strides, strict=True)]
    elif kind == "output_shape" and not b.open:
        given = {"output_shape": found}
    b.then("ConvTranspose", weight, *bias, strides=strides, dilations=dilations, group=group,
           **given)  # fmt: skip
    b.shape = (b.shape[0], each * group, *found)
    return None


def pool(b: Builder) -> None:
    """A MaxPool or AveragePool with drawn attributes."""
    sides = b.shape[2:]
    kernel = [min(b.one_of(2, 3), side) for side in sides]
    strides = [b.one_of(1, 2) for _ in sides]
    ceil = b.one_of(0, 0, 1) if len(sides) < 3 else 0
    pads = [b.one_of(0, k // 2) for k in kernel] * 2
    op = b.one_of("MaxPool", "AveragePool", "MaxPool", "AveragePool")
    spans = [n + 2 * p - k for n, p, k in zip(sides, pads, kernel, strict=False)]
    counts = [-(-n // s) if ceil else n // s for n, s in zip(spans, strides, strict=True)]
    for axis, (count, stride) in enumerate(zip(counts, strides, strict=True)):
        if count * stride >= sides[axis] + pads[axis]:  # starts behind the data
            counts[axis] -= 1
    counted = b.one_of(0, 1) if op == "AveragePool" else None
    b.then(op, kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=ceil,
           count_include_pad=counted)  # fmt: skip
    b.shape = (*b.shape[:2], *[count + 1 for count in counts])


def residual(b: Builder) -> None:
    """Convolutions around which the data goes, too."""
    start, shape = b.at, b.shape
    channels = shape[1]
    sides = len(shape) - 2
    for index in range(int(b.rng.integers(1, 3))):
        weight = b.weight(channels, channels, *[3] * sides, fan=3**sides * channels)
        b.then("Conv", weight, pads=[1] * 2 * sides)
        if index == 0:
            activation(b)
    b.at = b.put(b.one_of("Add", "Add", "Mul", "Sub"), *b.one_of((b.at, start), (start, b.at)))
    if b.chance(0.5):
        b.then("Relu")


def branches(b: Builder) -> None:
    """Convolutions side by side, concatenated."""
    start, (batch, channels, *sides) = b.at, b.shape
    ends, total = [], 0
    for _ in range(int(b.rng.integers(2, 4))):
        out = int(b.rng.integers(1, 5))
        size = b.one_of(1, 3)
        weight = b.weight(out, channels, size, size, fan=channels * size * size)
        end = b.put("Conv", start, weight, pads=[size // 2] * 4)
        ends.append(b.put("Relu", end) if b.chance(0.5) else end)
        total += out
    if b.chance(0.5):
        ends.append(start)
        total += channels
    b.at = b.put("Concat", *ends, axis=b.one_of(1, -3))
    b.shape = (batch, total, *sides)


def shared(b: Builder) -> None:
    """Two convolutions with one weight."""
    channels = b.shape[1]
    weight = b.weight(channels, channels, *[1] * len(b.shape[2:]), fan=channels)
    b.then("Conv", weight)
    b.then("Relu")
    b.then("Conv", weight)


def squeezed(b: Builder) -> None:
    """What a squeeze-and-excitation block does: channels are weighed by what is in them."""
    channels, start = b.shape[1], b.at
    few, pooled = max(1, channels // 2), b.one_of("GlobalAveragePool", "GlobalMaxPool", "mean")
    b.at = b.reduce("ReduceMean", start, 2, 3) if pooled == "mean" else b.put(pooled, start)
    if b.chance(0.5):
        b.then("Conv", b.weight(few, channels, 1, 1, fan=channels), b.weight(few, fan=9))
        b.then("Relu")
        b.then("Conv", b.weight(channels, few, 1, 1, fan=few), b.weight(channels, fan=9))
    else:
        b.then("Conv", b.weight(channels, channels, 1, 1, fan=channels))
    b.then(b.one_of("Sigmoid", "HardSigmoid"))
    b.at = b.put("Mul", *b.one_of((start, b.at), (b.at, start)))


def moved(b: Builder) -> None:
    """Elements go elsewhere; an activation where the drawn op does not fit."""
    if not b.one_of(_padded, _resized, _turned, _sliced, _blocks, _halved, _shuffled)(b):
        activation(b)


def _padded(b: Builder) -> bool:
    batch, channels, height, width = b.shape
    if 2 * sized(b) >= ROOM:
        return False
    mode = b.one_of("constant", "reflect", "edge")
    before, after = (1, 1) if min(height, width) > 1 or mode != "reflect" else (0, 0)
    b.then("Pad", b.ints(0, 0, before, 0, 0, 0, 0, after), mode=mode)
    b.shape = (batch, channels, height + before, width + after)
    return True


_MAPPINGS = (("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "align_corners"),
             ("nearest", "half_pixel"), ("linear", "asymmetric"), ("cubic", "half_pixel"),
             ("linear", "pytorch_half_pixel"))  # fmt: skip


def _resized(b: Builder) -> bool:
    """Twice as large, by scales or by sizes that are computed from the shape."""
    batch, channels, height, width = b.shape
    if 4 * sized(b) >= ROOM:
        return False
    mode, rule = b.one_of(*_MAPPINGS)
    if b.chance(0.5):
        operands = ["", b.store("scales", np.asarray([1, 1, 2, 2], np.float32))]
    else:
        sizes = [b.size(b.at, axis) for axis in range(4)]
        if b.chance(0.5):
            longer = [b.put("Mul", each, b.ints(2)) for each in sizes[2:]]
        else:
            longer = [b.cast(b.put("Floor", b.put("Mul", b.cast(each), b.scalar(2.0))),
                             TensorProto.INT64) for each in sizes[2:]]  # fmt: skip
        operands = ["", "", b.put("Concat", *sizes[:2], *longer, axis=0)]
    b.then("Resize", *operands, mode=mode, coordinate_transformation_mode=rule,
           nearest_mode="floor" if mode == "nearest" else None)  # fmt: skip
    b.shape = (batch, channels, 2 * height, 2 * width)
    return True


def _turned(b: Builder) -> bool:
    b.then("Transpose", perm=[0, 1, 3, 2])
    b.shape = (*b.shape[:2], b.shape[3], b.shape[2])
    return True


def _sliced(b: Builder) -> bool:
    batch, channels, height, width = b.shape
    if min(height, width) <= 3:
        return False
    if b.chance(0.3):  # from the end to the front
        b.then("Slice", b.ints(-1), b.ints(-(2**31)), b.ints(2), b.ints(-1))
        return True
    b.then("Slice", b.ints(1, 0), b.ints(2**31, 2**31), b.ints(2, 3), b.ints(1, 2))
    b.shape = (batch, channels, height - 1, -(-width // 2))
    return True


def _blocks(b: Builder) -> bool:
    batch, channels, height, width = b.shape
    if not b.open and height % 2 == 0 and width % 2 == 0:
        b.then("SpaceToDepth", blocksize=2)
        b.shape = (batch, 4 * channels, height // 2, width // 2)
    elif channels % 4 == 0:
        b.then("DepthToSpace", blocksize=2, mode=b.one_of("DCR", "CRD"))
        b.shape = (batch, channels // 4, 2 * height, 2 * width)
    else:
        return False
    return True


def _halved(b: Builder) -> bool:
    batch, channels, *sides = b.shape
    if channels % 2:
        return False
    first, other = b.split(b.at, 1)
    kind = b.one_of("Add", "Mul", "Max", "gated", "swapped")
    if kind == "swapped":
        b.at = b.put("Concat", other, first, axis=1)
        return True
    b.at = b.put("Mul", first, b.put("Sigmoid", other)) if kind == "gated" else b.put(
        kind, first, other)  # fmt: skip
    b.shape = (batch, channels // 2, *sides)
    return True


def _shuffled(b: Builder) -> bool:
    channels = b.shape[1]
    if channels % 2:
        order = b.rng.permutation(channels)
        b.then("Gather", b.ints(*order), axis=1)
        return True
    sizes = [b.size(b.at, axis) for axis in (2, 3)]
    for groups in ((2, channels // 2), (channels,)):
        target = b.put("Concat", b.ints(0), *[b.ints(n) for n in groups], *sizes, axis=0)
        b.then("Reshape", target)
        if len(groups) == 2:
            b.then("Transpose", perm=[0, 2, 1, 3, 4])
    return True
