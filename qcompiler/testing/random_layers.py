"""The layers that `random_nets` draws from, by the rank of what they read."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from qcompiler.testing.random_builder import Builder, Layer

_ROOM = 4000
"""Elements of one sample beyond which nothing grows."""


def _sized(b: Builder) -> int:
    return int(np.prod(b.shape[1:]))


def _activation(b: Builder) -> None:
    kind = b.one_of("Relu", "Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSwish", "Elu",
                    "HardSigmoid", "PRelu", "Softplus", "gelu", "silu")  # fmt: skip
    if kind == "Clip":
        low, high = b.one_of((0.0, 6.0), (-1.0, 1.0), (-0.3, 2.0))
        b.then("Clip", b.scalar(low), b.scalar(high))
    elif kind == "PRelu":
        b.then("PRelu", b.weight(b.shape[1], *[1] * (len(b.shape) - 2), fan=9, mean=0.2))
    elif kind == "silu":
        b.at = b.put("Mul", b.at, b.put("Sigmoid", b.at))
    elif kind == "gelu":
        erf = b.put("Erf", b.put("Mul", b.at, b.scalar(0.7071)))
        half = b.put("Mul", b.put("Add", erf, b.scalar(1.0)), b.scalar(0.5))
        b.at = b.put("Mul", b.at, half)
    else:
        b.then(kind)


def _convolution(b: Builder) -> None:
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
        _normalized(b)
    if b.chance(0.7):
        _activation(b)


def _normalized(b: Builder) -> None:
    channels = b.shape[1]
    if b.chance(0.7):
        moments = [b.weight(channels, fan=9, mean=m) for m in (1.0, 0.0, 0.0)]
        variance = b.name("v")
        b.stored[variance] = np.asarray(b.rng.uniform(0.5, 1.5, channels), np.float32)
        b.then("BatchNormalization", *moments, variance)
    elif np.prod(b.shape[2:]) > 1:
        b.then("InstanceNormalization", b.weight(channels, fan=9, mean=1), b.weight(channels))


def _transposed(b: Builder) -> None:
    if 4 * _sized(b) > _ROOM:
        return _convolution(b)
    _, channels, *sides = b.shape
    kernel = [b.one_of(2, 3) for _ in sides]
    strides, out = [b.one_of(1, 2) for _ in sides], int(b.rng.integers(1, 6))
    weight = b.weight(channels, out, *kernel, fan=channels * 2)
    bias = [b.weight(out, fan=16)] if b.chance(0.5) else []
    b.then("ConvTranspose", weight, *bias, strides=strides)
    b.shape = (b.shape[0], out, *[
        (n - 1) * s + k for n, s, k in zip(sides, strides, kernel, strict=True)
    ])  # fmt: skip
    return None


def _pool(b: Builder) -> None:
    sides = b.shape[2:]
    kernel = [min(b.one_of(2, 3), side) for side in sides]
    strides = [b.one_of(1, 2) for _ in sides]
    ceil = b.one_of(0, 0, 1)
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


def _residual(b: Builder) -> None:
    start, shape = b.at, b.shape
    channels = shape[1]
    for index in range(int(b.rng.integers(1, 3))):
        weight = b.weight(channels, channels, 3, 3, fan=9 * channels)
        b.then("Conv", weight, pads=[1, 1, 1, 1])
        if index == 0:
            _activation(b)
    b.at = b.put(b.one_of("Add", "Add", "Mul", "Sub"), *b.one_of((b.at, start), (start, b.at)))
    if b.chance(0.5):
        b.then("Relu")


def _branches(b: Builder) -> None:
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


def _shared(b: Builder) -> None:
    channels = b.shape[1]
    weight = b.weight(channels, channels, 1, 1, fan=channels)
    b.then("Conv", weight)
    b.then("Relu")
    b.then("Conv", weight)


def _gate(b: Builder) -> None:
    channels = b.shape[1]
    start = b.at
    b.then(*b.one_of(("GlobalAveragePool",), ("GlobalAveragePool",), ("GlobalMaxPool",)))
    b.then("Conv", b.weight(channels, channels, 1, 1, fan=channels))
    b.then(b.one_of("Sigmoid", "HardSigmoid"))
    b.at = b.put("Mul", *b.one_of((start, b.at), (b.at, start)))


def _moved(b: Builder) -> None:
    batch, channels, height, width = b.shape
    kind = b.one_of("Pad", "Resize", "Transpose", "Slice", "SpaceToDepth", "Split", "DepthToSpace")
    if kind == "Pad" and 2 * _sized(b) < _ROOM:
        mode = b.one_of("constant", "reflect", "edge")
        before, after = (1, 1) if min(height, width) > 1 or mode != "reflect" else (0, 0)
        b.then("Pad", b.ints(0, 0, before, 0, 0, 0, 0, after), mode=mode)
        b.shape = (batch, channels, height + before, width + after)
    elif kind == "Resize" and 4 * _sized(b) < _ROOM:
        mode, rule = b.one_of(("nearest", "asymmetric"), ("linear", "half_pixel"),
                              ("linear", "align_corners"), ("nearest", "half_pixel"))  # fmt: skip
        scales = b.name("scales")
        b.stored[scales] = np.asarray([1, 1, 2, 2], np.float32)
        rounding = "floor" if mode == "nearest" else None
        b.then("Resize", "", scales, mode=mode, coordinate_transformation_mode=rule,
               nearest_mode=rounding)  # fmt: skip
        b.shape = (batch, channels, 2 * height, 2 * width)
    elif kind == "Transpose":
        b.then("Transpose", perm=[0, 1, 3, 2])
        b.shape = (batch, channels, width, height)
    elif kind == "Slice" and min(height, width) > 3:
        b.then("Slice", b.ints(1, 0), b.ints(height, width), b.ints(2, 3), b.ints(1, 2))
        b.shape = (batch, channels, height - 1, -(-width // 2))
    elif kind == "SpaceToDepth" and height % 2 == 0 and width % 2 == 0:
        b.then("SpaceToDepth", blocksize=2)
        b.shape = (batch, 4 * channels, height // 2, width // 2)
    elif kind == "DepthToSpace" and channels % 4 == 0:
        b.then("DepthToSpace", blocksize=2, mode=b.one_of("DCR", "CRD"))
        b.shape = (batch, channels // 4, 2 * height, 2 * width)
    elif kind == "Split" and channels % 2 == 0:
        first = b.put("Split", b.at, outputs=2, axis=1)
        other = b.nodes[-1].output[1]
        b.at = b.put(b.one_of("Add", "Mul", "Max"), first, other)
        b.shape = (batch, channels // 2, height, width)
    else:
        _activation(b)


def _to_rows(b: Builder) -> None:
    if len(b.shape) == 3:
        b.then("ReduceMean", axes=[1], keepdims=0)
        b.shape = (b.shape[0], b.shape[2])
        return
    if b.chance(0.6) or _sized(b) > 600:
        b.then("GlobalAveragePool")
        b.shape = (*b.shape[:2], 1, 1)
    b.then("Flatten")
    b.shape = (b.shape[0], _sized(b))


def _to_sequence(b: Builder) -> None:
    batch, channels, height, width = b.shape
    b.then("Reshape", b.ints(0, channels, height * width))
    b.then("Transpose", perm=[0, 2, 1])
    b.shape = (batch, height * width, channels)


def _linear(b: Builder) -> None:
    width, out = b.shape[-1], int(b.rng.integers(2, 33))
    if len(b.shape) == 2 and b.chance(0.7):
        turned = b.one_of(0, 1)
        weight = b.weight(*((out, width) if turned else (width, out)), fan=width)
        bias = [b.weight(*b.one_of((out,), (1, out), (1,)), fan=9)] if b.chance(0.7) else []
        alpha, beta = b.one_of((None, None), (None, None), (0.5, 2.0))
        b.then("Gemm", weight, *bias, transB=turned, alpha=alpha, beta=beta)
    else:
        b.then("MatMul", b.weight(width, out, fan=width))
        if b.chance(0.6):
            b.then("Add", b.weight(out, fan=9))
    b.shape = (*b.shape[:-1], out)
    if b.chance(0.6) and out != 1:
        _plain_activation(b)


def _plain_activation(b: Builder) -> None:
    b.then(b.one_of("Relu", "Tanh", "Sigmoid", "Elu", "LeakyRelu", "Softplus"))


def _normalized_rows(b: Builder) -> None:
    width = b.shape[-1]
    kind = b.one_of("LayerNormalization", "Softmax", "scaled")
    if kind == "LayerNormalization" and width > 2:
        b.then(kind, b.weight(width, fan=25, mean=1), b.weight(width, fan=25), axis=-1)
    elif kind == "Softmax":
        b.then("Softmax", axis=-1)
        b.then("Mul", b.scalar(float(width)))
    else:
        b.then(b.one_of("Mul", "Add", "Sub"), b.weight(width, fan=9, mean=1))


def _skip(b: Builder) -> None:
    start, width = b.at, b.shape[-1]
    b.then("MatMul", b.weight(width, 2 * width, fan=width))
    _plain_activation(b)
    b.then("MatMul", b.weight(2 * width, width, fan=2 * width))
    b.at = b.put("Add", *b.one_of((start, b.at), (b.at, start)))


def _attention(b: Builder) -> None:
    _, steps, width = b.shape
    heads = b.one_of(1, 2, 4) if width % 4 == 0 else 1
    each, start = width // heads, b.at
    names = []
    for turn in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        part = b.put("MatMul", start, b.weight(width, width, fan=width))
        if b.chance(0.5):
            part = b.put("Add", part, b.weight(width, fan=9))
        part = b.put("Reshape", part, b.ints(0, steps, heads, each))
        names.append(b.put("Transpose", part, perm=turn))
    scores = b.put("MatMul", names[0], names[1])
    scores = b.put("Mul", scores, b.scalar(1 / np.sqrt(each)))
    if b.chance(0.4):
        mask = b.name("mask")
        b.stored[mask] = np.triu(np.full((1, 1, steps, steps), -1e4, np.float32), 1)
        scores = b.put("Add", scores, mask)
    mixed = b.put("MatMul", b.put("Softmax", scores, axis=-1), names[2])
    back = b.put("Reshape", b.put("Transpose", mixed, perm=[0, 2, 1, 3]), b.ints(0, steps, width))
    b.at = b.put("MatMul", back, b.weight(width, width, fan=width))
    if b.chance(0.7):
        b.at = b.put("Add", start, b.at)


def _recurrent(b: Builder) -> None:
    batch, steps, width = b.shape
    op, gates = b.one_of(("LSTM", 4), ("GRU", 3), ("RNN", 1))
    hidden, way = 2 * int(b.rng.integers(1, 7)), b.one_of("forward", "reverse", "bidirectional")
    ways = 2 if way == "bidirectional" else 1
    b.then("Transpose", perm=[1, 0, 2])
    weights = [b.weight(ways, gates * hidden, n, fan=n) for n in (width, hidden)]
    if b.chance(0.7):
        weights.append(b.weight(ways, 2 * gates * hidden, fan=9))
    whole = b.chance(0.7)
    extra: dict[str, Any] = {"linear_before_reset": b.one_of(0, 1)} if op == "GRU" else {}
    b.then(op, *weights, outputs=2, hidden_size=hidden, direction=way, **extra)
    if whole:
        b.then("Transpose", perm=[2, 0, 1, 3])
        b.then("Reshape", b.ints(0, 0, ways * hidden))
        b.shape = (batch, steps, ways * hidden)
    else:
        b.at = b.nodes[-1].output[1]
        b.then("Transpose", perm=[1, 0, 2])
        b.then("Reshape", b.ints(0, ways * hidden))
        b.shape = (batch, ways * hidden)


def _convolved(b: Builder) -> None:
    batch, steps, width = b.shape
    b.then("Transpose", perm=[0, 2, 1])
    out = int(b.rng.integers(2, 13))
    b.then("Conv", b.weight(out, width, 3, fan=3 * width), pads=[1, 1])
    _plain_activation(b)
    b.then("Transpose", perm=[0, 2, 1])
    b.shape = (batch, steps, out)


def _conditional(b: Builder) -> None:
    """An If whose condition depends on the data's size, with weights in its branches."""
    width, start = b.shape[-1], b.at
    branches = []
    for _ in range(2):
        weight, out = b.weight(width, width, fan=width), b.name("branch")
        node = helper.make_node("MatMul", [start, weight], [out], name=out + "_n")
        value = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
        branches.append(helper.make_graph([node], out, [], [value]))
    rows = b.put("ReduceProd", b.put("Shape", start), keepdims=0)
    many = b.put("Greater", rows, b.one_of(b.ints(0), b.ints(10**6)))
    many = b.put("Squeeze", many)
    b.at = b.put("If", many, then_branch=branches[0], else_branch=branches[1])


def _looped(b: Builder) -> None:
    """A Loop of a fixed number of trips that applies one matrix again and again."""
    width = b.shape[-1]
    weight, out = b.weight(width, width, fan=width), b.name("loop")
    names = [f"{out}_{part}" for part in ("trip", "go", "in", "kept", "product", "out")]
    body = helper.make_graph(
        [
            helper.make_node("Identity", [names[1]], [names[3]], name=names[3] + "_n"),
            helper.make_node("MatMul", [names[2], weight], [names[4]], name=names[4] + "_n"),
            helper.make_node("Tanh", [names[4]], [names[5]], name=names[5] + "_n"),
        ],
        out,
        [
            helper.make_tensor_value_info(names[0], TensorProto.INT64, []),
            helper.make_tensor_value_info(names[1], TensorProto.BOOL, []),
            helper.make_tensor_value_info(names[2], TensorProto.FLOAT, [None] * len(b.shape)),
        ],
        [
            helper.make_tensor_value_info(names[3], TensorProto.BOOL, []),
            helper.make_tensor_value_info(names[5], TensorProto.FLOAT, [None] * len(b.shape)),
        ],
    )
    trips, go = b.name("trips"), b.name("go")
    b.stored[trips], b.stored[go] = np.asarray(b.one_of(1, 2, 3)), np.asarray(True)
    b.at = b.put("Loop", trips, go, b.at, body=body)
    # ONNX's shape inference gives a Loop no shape; what follows needs one
    b.then("Reshape", b.ints(0, *b.shape[1:]))


_IMAGES: tuple[Layer, ...] = (
    _convolution, _convolution, _convolution, _activation, _transposed, _pool, _pool, _residual,
    _branches, _shared, _gate, _moved, _moved, _to_rows, _to_sequence,
)  # fmt: skip
_SEQUENCES: tuple[Layer, ...] = (
    _linear, _linear, _normalized_rows, _skip, _attention, _attention, _recurrent, _convolved,
    _plain_activation, _to_rows, _conditional, _looped,
)  # fmt: skip
_ROWS: tuple[Layer, ...] = (
    _linear, _linear, _linear, _normalized_rows, _skip, _plain_activation, _conditional, _looped,
)  # fmt: skip
LAYERS: dict[int, tuple[Layer, ...]] = {4: _IMAGES, 3: _SEQUENCES, 2: _ROWS}
"""By the rank of what they read."""
