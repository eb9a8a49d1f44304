"""Layers on sequences: batch, steps, width."""

from __future__ import annotations

from typing import Any

import numpy as np

from qcompiler.testing.random_builder import Array, Builder, Input, Shape
from qcompiler.testing.random_rows import plain_activation


def attention(b: Builder) -> None:
    """Attention of heads, by the op or written out."""
    width = b.shape[-1]
    heads = b.one_of(1, 2, 4) if width % 4 == 0 else 1
    start = b.at
    if b.opset >= 23 and b.chance(0.4):
        parts = [b.put("MatMul", start, b.weight(width, width, fan=width)) for _ in range(3)]
        mixed = b.put("Attention", *parts, q_num_heads=heads, kv_num_heads=heads,
                      is_causal=b.one_of(0, 1))  # fmt: skip
    else:
        mixed = _written_out(b, heads, width // heads)
    b.at = b.put("MatMul", mixed, b.weight(width, width, fan=width))
    if b.chance(0.7):
        b.at = b.put("Add", start, b.at)


def _written_out(b: Builder, heads: int, each: int) -> str:
    width = heads * each
    split = b.ints(0, 0, heads, each)
    if b.chance(0.3):
        whole = b.put("MatMul", b.at, b.weight(width, 3 * width, fan=width))
        parts = b.split(whole, 2, width, width, width)
    else:
        parts = [b.put("MatMul", b.at, b.weight(width, width, fan=width)) for _ in range(3)]
        parts = [b.put("Add", p, b.weight(width, fan=9)) if b.chance(0.5) else p for p in parts]
    turns = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    query, key, value = (
        b.put("Transpose", b.put("Reshape", part, split), perm=turn)
        for part, turn in zip(parts, turns, strict=True)
    )
    if b.chance(0.5):
        query = b.put("Mul", query, b.scalar(1 / np.sqrt(each)))
        scores = b.put("MatMul", query, key)
    else:
        scores = b.put("Div", b.put("MatMul", query, key), b.scalar(np.sqrt(each)))
    mixed = b.put("MatMul", b.put("Softmax", _masked(b, scores), axis=-1), value)
    return b.put("Reshape", b.put("Transpose", mixed, perm=[0, 2, 1, 3]), b.ints(0, 0, width))


def _masked(b: Builder, scores: str) -> str:
    """Nothing, a stored or a computed causal mask, or one that is an input."""
    kind = b.one_of("none", "stored", "computed", "kept", "added")
    if kind == "stored" and not b.open:
        steps = b.shape[1]
        return b.put("Add", scores, b.store("mask", np.triu(_far((1, 1, steps, steps)), 1)))
    if kind == "computed":
        size = b.put("Squeeze", b.size(scores, 3))
        places = b.put("Range", *(b.store("k", np.asarray(0)), size, b.store("k", np.asarray(1))))
        rows, columns = (b.put("Unsqueeze", places, b.ints(axis)) for axis in (1, 0))
        later = b.put("Less", rows, columns)
        return b.put("Where", later, b.scalar(b.one_of(-1e4, -np.inf)), scores)
    if kind == "kept" and b.first_steps:
        b.inputs.setdefault("keep", Input(("batch", "steps"), _kept))
        keep = b.put("Unsqueeze", "keep", b.ints(1, 2))
        return b.put("Where", keep, scores, b.scalar(b.one_of(-1e9, np.finfo(np.float32).min)))
    if kind == "added" and b.first_steps:
        b.inputs.setdefault("bias", Input(("batch", 1, 1, "steps"), _added))
        return b.put("Add", scores, "bias")
    return scores


def _far(shape: Shape) -> Array:
    return np.full(shape, -1e4, np.float32)


def _kept(rng: np.random.Generator, shape: Shape) -> Array:
    """The first step is always seen."""
    found = rng.random(shape) < 0.7
    found[:, 0] = True
    return found


def _added(rng: np.random.Generator, shape: Shape) -> Array:
    barred = rng.random(shape) < 0.3
    barred[..., 0] = False
    return np.where(barred, -np.inf, 0).astype(np.float32)


def recurrent(b: Builder) -> None:
    """LSTM, GRU or RNN: all steps, or one of the last states."""
    batch, steps, width = b.shape
    op, gates = b.one_of(("LSTM", 4), ("GRU", 3), ("RNN", 1))
    hidden, way = 2 * int(b.rng.integers(1, 7)), b.one_of("forward", "reverse", "bidirectional")
    ways = 2 if way == "bidirectional" else 1
    start = b.at
    b.then("Transpose", perm=[1, 0, 2])
    operands = [b.weight(ways, gates * hidden, n, fan=n) for n in (width, hidden)]
    operands.append(b.weight(ways, 2 * gates * hidden, fan=9) if b.chance(0.7) else "")
    lengths, states = _lengths(b), _states(b, start, op, ways, hidden)
    extra: dict[str, Any] = {"linear_before_reset": b.one_of(0, 1)} if op == "GRU" else {}
    b.then(op, *operands, lengths, *states, outputs=3 if op == "LSTM" else 2, hidden_size=hidden,
           direction=way, **extra)  # fmt: skip
    results = b.nodes[-1].output
    if b.chance(0.7):
        b.then("Transpose", perm=[2, 0, 1, 3])
        b.then("Reshape", b.ints(0, 0, ways * hidden))
        b.shape = (batch, steps, ways * hidden)
        if b.chance(0.3):
            b.give(results[1], 3)
        return
    last = results[b.one_of(*range(1, len(results)))]
    if b.chance(0.5):  # nobody asks for all steps
        results[0] = ""
    b.at = b.put("Transpose", last, perm=[1, 0, 2])
    b.then("Reshape", b.ints(0, ways * hidden))
    b.shape, b.open = (batch, ways * hidden), False


def _lengths(b: Builder) -> str:
    if not b.first_steps or b.chance(0.7):
        return ""
    steps = b.sizes["steps"]
    draw = lambda rng, shape: rng.integers(1, steps + 1, shape).astype(np.int32)  # noqa: E731
    b.inputs.setdefault("lengths", Input(("batch",), draw))
    return "lengths"


def _states(b: Builder, start: str, op: str, ways: int, hidden: int) -> list[str]:
    """No initial states, or some that are computed from the mean of the steps."""
    if b.chance(0.7):
        return []
    mean = b.reduce("ReduceMean", start, 1, keep=False)
    found = []
    for _ in range(2 if op == "LSTM" else 1):
        state = b.put("MatMul", mean, b.weight(b.shape[-1], ways * hidden, fan=b.shape[-1]))
        state = b.put("Reshape", state, b.ints(0, ways, hidden))
        found.append(b.put("Transpose", state, perm=[1, 0, 2]))
    return found


def convolved(b: Builder) -> None:
    """A convolution over the steps."""
    batch, steps, width = b.shape
    b.then("Transpose", perm=[0, 2, 1])
    out = int(b.rng.integers(2, 13))
    if b.chance(0.3):  # causal: padded at the front only
        b.then("Pad", b.ints(0, 0, 2, 0, 0, 0))
        b.then("Conv", b.weight(out, width, 3, fan=3 * width))
    else:
        b.then("Conv", b.weight(out, width, 3, fan=3 * width), pads=[1, 1])
    plain_activation(b)
    b.then("Transpose", perm=[0, 2, 1])
    b.shape = (batch, steps, out)


def placed(b: Builder) -> None:
    """Positions are added: rows of a table, as many as there are steps."""
    if b.shape[1] > 150:
        return plain_activation(b)
    size, width = b.size(b.at, 1), b.shape[-1]
    table = b.weight(400, width, fan=4)
    rows = b.put("Slice", table, b.ints(0), size, b.ints(0))
    b.at = b.put("Add", b.at, rows)
    return None


def joined(b: Builder) -> None:
    """A step of its own in front, as a class token has it, and steps gone again."""
    batch, steps, width = b.shape
    token = b.weight(1, 1, width)
    shape = b.put("Concat", b.size(b.at, 0), b.ints(1, width), axis=0)
    b.at = b.put("Concat", b.put("Expand", token, shape), b.at, axis=1)
    if b.chance(0.5):
        b.then("Slice", b.ints(0), b.ints(-1), b.ints(1))
    else:
        b.shape, b.first_steps = (batch, steps + 1, width), False
