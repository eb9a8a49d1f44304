"""What a network begins with, and what it gives out besides its last value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from qcompiler.testing.random_builder import Array, Axes, Builder, Draw, Input

BATCH = 3
WORDS = 50
"""Rows of a table of embeddings."""


def _drawn(dtype: type[np.generic]) -> Draw:
    return lambda rng, shape: rng.standard_normal(shape).astype(dtype)


def _below(end: int, dtype: type[np.generic]) -> Draw:
    return lambda rng, shape: rng.integers(0, end, shape).astype(dtype)


def _freed(b: Builder, share: float, *axes: str) -> None:
    """Leaves these axes open, and sometimes the batch."""
    b.open = bool(axes) and b.chance(share)
    b.free = {"batch"} if b.chance(0.6) else set()
    b.free |= set(axes) if b.open else set()


def _begin(b: Builder, axes: Axes) -> None:
    """The input `x`: float32, another float, or bytes of an image; a float32 value goes on."""
    dtype = b.one_of(np.float32, np.float32, np.float32, np.float32, np.float16, np.float64)
    if len(axes) == 4 and b.chance(0.15):
        b.inputs["x"] = Input(axes, _below(256, np.uint8))
        scaled = b.put("Mul", b.cast("x"), b.scalar(1 / 64))
        b.at = b.put("Sub", scaled, b.scalar(2.0))
        return
    b.inputs["x"] = Input(axes, _drawn(dtype))
    b.at = "x" if dtype is np.float32 else b.cast("x")


def images(b: Builder) -> None:
    """Batch, channels, height, width."""
    side = int(b.rng.integers(6, 15))
    b.sizes.update(height=side, width=side + int(b.rng.integers(0, 3)))
    b.shape = (BATCH, int(b.rng.integers(1, 9)), b.sizes["height"], b.sizes["width"])
    _freed(b, 0.3, "height", "width")
    _begin(b, ("batch", b.shape[1], "height", "width"))


def volumes(b: Builder) -> None:
    """Batch, channels and three sides."""
    sides = [int(b.rng.integers(4, 7)) for _ in range(3)]
    b.shape = (BATCH, int(b.rng.integers(1, 5)), *sides)
    _freed(b, 0.0)
    _begin(b, ("batch", *b.shape[1:]))


def sequences(b: Builder) -> None:
    """Batch, steps, width."""
    b.sizes["steps"] = int(b.rng.integers(2, 10))
    b.shape = (BATCH, b.sizes["steps"], 4 * int(b.rng.integers(1, 7)))
    b.first_steps = True
    _freed(b, 0.4, "steps")
    _begin(b, ("batch", "steps", b.shape[2]))


def rows(b: Builder) -> None:
    """Batch and features."""
    b.shape = (BATCH, int(b.rng.integers(3, 40)))
    _freed(b, 0.0)
    _begin(b, ("batch", b.shape[1]))


def words(b: Builder) -> None:
    """Integers that are rows of a table, as language models have them."""
    b.sizes["steps"] = int(b.rng.integers(2, 10))
    width = 4 * int(b.rng.integers(1, 7))
    b.shape, b.first_steps = (BATCH, b.sizes["steps"], width), True
    _freed(b, 0.4, "steps")
    dtype = b.one_of(np.int64, np.int32)
    b.inputs["x"] = Input(("batch", "steps"), _below(WORDS, dtype))
    table = b.weight(WORDS, width, fan=1)
    b.at = b.put("Gather", table, "x")
    if b.chance(0.4):
        b.inputs["kind"] = Input(("batch", "steps"), _below(2, np.int64))
        b.at = b.put("Add", b.at, b.put("Gather", b.weight(2, width), "kind"))


KINDS: tuple[Callable[[Builder], None], ...] = (
    images, images, images, sequences, sequences, words, rows, volumes,
)  # fmt: skip


def spelled(b: Builder) -> None:
    """Scores of all words by the table that the network begins with."""
    table = next(node.input[0] for node in b.nodes if node.op_type == "Gather")
    width = b.stored[table].shape[1]
    if b.shape[-1] != width:
        b.then("MatMul", b.weight(b.shape[-1], width, fan=b.shape[-1]))
    b.then("MatMul", b.put("Transpose", table, perm=[1, 0]))
    b.then("Mul", b.scalar(1 / np.sqrt(width)))
    b.shape = (*b.shape[:-1], WORDS)


def decided(b: Builder) -> None:
    """What is read off the scores: the best, the best few with their places, or a comparison."""
    kind = b.one_of("ArgMax", "TopK", "Greater", "narrow")
    if kind == "ArgMax":
        keep = b.one_of(0, 1)
        b.give(b.put("ArgMax", b.at, axis=-1, keepdims=keep), len(b.shape) - 1 + keep)
    elif kind == "TopK" and b.shape[-1] > 1:
        b.give(b.put("TopK", b.at, b.ints(1), outputs=2, axis=-1))
        b.give(b.nodes[-1].output[1])
    elif kind == "Greater":
        b.give(b.put("Greater", b.at, b.scalar(0.0)))
    else:
        b.give(b.cast(b.at, b.one_of(TensorProto.FLOAT16, TensorProto.DOUBLE)))


def feed(b: Builder, sizes: dict[str, int]) -> dict[str, Array]:
    """One sample of every input."""
    return {name: each.made(b.rng, sizes) for name, each in b.inputs.items()}
