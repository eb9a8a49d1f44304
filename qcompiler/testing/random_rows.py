"""Layers on rows, which those on images and sequences use too."""

from __future__ import annotations

import numpy as np

from qcompiler.testing.random_builder import Builder, sized


def activation(b: Builder) -> None:
    """An activation; PRelu has a slope per channel."""
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
    elif kind == "HardSwish" and b.opset < 14:
        b.at = b.put("Mul", b.at, b.put("HardSigmoid", b.at, alpha=1 / 6))
    else:
        b.then(kind)


def to_rows(b: Builder) -> None:
    """From an image, volume or sequence to one row per sample."""
    if len(b.shape) == 3:
        op = b.one_of("ReduceMean", "ReduceMean", "ReduceMax", "ReduceL2", "last")
        if op == "last":
            b.then("Gather", b.store("k", np.asarray(-1)), axis=1)
        else:
            b.at = b.reduce(op, b.at, 1, keep=False)
        b.shape, b.open = (b.shape[0], b.shape[2]), False
        return
    if b.open or b.chance(0.6) or sized(b) > 600:
        b.then("GlobalAveragePool")
        b.shape, b.open = (*b.shape[:2], *[1] * len(b.shape[2:])), False
    b.then(*b.one_of(("Flatten",), ("Reshape", b.ints(0, -1))))
    b.shape = (b.shape[0], sized(b))


def to_sequence(b: Builder) -> None:
    """The pixels of an image as steps."""
    batch, channels, height, width = b.shape
    b.then("Reshape", b.ints(0, channels, -1))
    b.then("Transpose", perm=[0, 2, 1])
    b.shape, b.first_steps = (batch, height * width, channels), False


def linear(b: Builder) -> None:
    """A Gemm or MatMul, maybe with bias and activation."""
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
        plain_activation(b)


def plain_activation(b: Builder) -> None:
    """An activation that any rank has."""
    b.then(b.one_of("Relu", "Tanh", "Sigmoid", "Elu", "LeakyRelu", "Softplus"))


def normalized_rows(b: Builder) -> None:
    """A normalization over the last axis, or a scale."""
    width = b.shape[-1]
    kind = b.one_of("LayerNormalization", "Softmax", "scaled", "rms", "written out")
    scale, bias = b.weight(width, fan=25, mean=1), b.weight(width, fan=25)
    if kind == "LayerNormalization" and width > 2 and b.opset >= 17:
        b.then(kind, scale, bias, axis=-1)
    elif kind == "written out" and width > 2:
        centred = b.put("Sub", b.at, b.reduce("ReduceMean", b.at, -1))
        _divided(b, centred, scale)
        b.then("Add", bias)
    elif kind == "rms" and width > 2:
        if b.opset >= 23 and b.chance(0.5):
            b.then("RMSNormalization", scale, axis=-1)
        else:
            _divided(b, b.at, scale)
    elif kind == "Softmax":
        b.then("Softmax", axis=-1)
        b.then("Mul", b.scalar(float(width)))
    else:
        b.then(b.one_of("Mul", "Add", "Sub"), b.weight(width, fan=9, mean=1))


def _divided(b: Builder, value: str, scale: str) -> None:
    """By the root of its mean square; as exporters write it."""
    squares = b.put("Pow", value, b.scalar(2.0)) if b.chance(0.5) else b.put("Mul", value, value)
    mean = b.put("Add", b.reduce("ReduceMean", squares, -1), b.scalar(1e-5))
    b.at = b.put("Mul", b.put("Div", value, b.put("Sqrt", mean)), scale)


def skip(b: Builder) -> None:
    """Two products around which the data goes, too."""
    start, width = b.at, b.shape[-1]
    b.then("MatMul", b.weight(width, 2 * width, fan=width))
    plain_activation(b)
    b.then("MatMul", b.weight(2 * width, width, fan=2 * width))
    b.at = b.put("Add", *b.one_of((start, b.at), (b.at, start)))


def tied(b: Builder) -> None:
    """One square weight, read as it is and transposed."""
    width = b.shape[-1]
    weight, start = b.weight(width, width, fan=width), b.at
    b.then("MatMul", weight)
    plain_activation(b)
    b.then("MatMul", b.put("Transpose", weight, perm=[1, 0]))
    if b.chance(0.5):
        b.at = b.put("Add", b.at, start)


def cut(b: Builder) -> None:
    """Parts of the last axis, put together another way."""
    width = b.shape[-1]
    if width < 4:
        return plain_activation(b)
    parts = b.split(b.at, -1, 1, width - 3, 2)
    parts[0] = b.put("Exp", b.put("Tanh", parts[0]))
    parts[2] = b.put("Sigmoid", parts[2])
    b.at = b.put("Concat", *b.one_of(parts, parts[::-1]), axis=-1)
    return None


def chosen(b: Builder) -> None:
    """Where of a comparison, with a constant or the value itself on the other side."""
    other = b.one_of(b.scalar(0.1), b.put("Neg", b.at), b.put("Mul", b.at, b.scalar(0.3)))
    b.at = b.put("Where", b.put("Greater", b.at, b.scalar(0.0)), b.at, other)
