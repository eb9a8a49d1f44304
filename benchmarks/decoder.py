"""A small language model, trained here on text that ships with Python.

A decoder as they are built today: grouped queries, rotary positions, RMSNorm, gated MLP, a cache of
keys and values that goes in and out, and a head tied to the embedding.
"""

from __future__ import annotations

import pydoc_data.topics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

Ids = npt.NDArray[np.int64]
_HELD_OUT = 10
"""Every tenth topic is not trained on."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder."""

    words: int = 512
    width: int = 160
    layers: int = 4
    heads: int = 5
    shared: int = 1
    inner: int = 448
    context: int = 128

    @property
    def head(self) -> int:
        return self.width // self.heads


def rotated(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Rotary positions (arXiv 2104.09864), halves instead of neighbours.

    Args:
        x: [batch, heads, time, size].
        positions: [time].
        base: Of the frequencies.
    """
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = positions.to(torch.float32)[:, None] * rates
    cosine, sine = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


class Norm(nn.Module):
    """x / root mean square * scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.scale


class Attention(nn.Module):
    """Causal attention whose keys and values are shared by groups of heads."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.width, shape.width, bias=False)
        self.k = nn.Linear(shape.width, shape.shared * shape.head, bias=False)
        self.v = nn.Linear(shape.width, shape.shared * shape.head, bias=False)
        self.o = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """x [batch, time, width] and past [2, batch, shared, before, head] -> both, longer."""
        batch, time_ = x.shape[0], x.shape[1]
        before, size = past.shape[3], self.shape.head
        positions = torch.arange(time_) + before
        q = rotated(self.q(x).view(batch, time_, -1, size).transpose(1, 2), positions)
        k = rotated(self.k(x).view(batch, time_, -1, size).transpose(1, 2), positions)
        v = self.v(x).view(batch, time_, -1, size).transpose(1, 2)
        kept = torch.stack([torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)])
        groups = self.shape.heads // self.shape.shared
        keys, values = (kept[i].repeat_interleave(groups, 1) for i in (0, 1))
        seen = positions[:, None] >= torch.arange(before + time_)[None, :]
        found = functional.scaled_dot_product_attention(q, keys, values, attn_mask=seen)
        return self.o(found.transpose(1, 2).reshape(batch, time_, -1)), kept


class Layer(nn.Module):
    """Attention and a gated MLP (arXiv 2002.05202), each behind a norm and beside a sum."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.before, self.between = Norm(shape.width), Norm(shape.width)
        self.attention = Attention(shape)
        self.gate = nn.Linear(shape.width, shape.inner, bias=False)
        self.up = nn.Linear(shape.width, shape.inner, bias=False)
        self.down = nn.Linear(shape.inner, shape.width, bias=False)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        found, kept = self.attention(self.before(x), past)
        x = x + found
        y = self.between(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y)), kept


class Decoder(nn.Module):
    """Logits of the next word, and the cache."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.words, shape.width)
        nn.init.normal_(self.words.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width)

    def forward(self, ids: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """ids [batch, time], past [layers, 2, batch, shared, before, head]."""
        x, kept = self.words(ids), []
        for index, layer in enumerate(self.layers):
            x, cache = layer(x, past[index])
            kept.append(cache)
        logits = functional.linear(self.norm(x), self.words.weight)
        return logits, torch.stack(kept)

    def empty(self, batch: int) -> Tensor:
        """A cache of nothing."""
        shape = self.shape
        return torch.zeros(shape.layers, 2, batch, shape.shared, 0, shape.head)


def text() -> tuple[str, str]:
    """The help topics of the Python reference: to train on, and held out."""
    topics = [each for _, each in sorted(pydoc_data.topics.topics.items())]
    kept = [each for index, each in enumerate(topics) if index % _HELD_OUT]
    return "\n".join(kept), "\n".join(topics[::_HELD_OUT])


@dataclass(frozen=True)
class Words:
    """Bytes, and pairs of words in the order in which they are put together."""

    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def found_in(cls, sample: str, count: int) -> Words:
        """Byte pair encoding: the most frequent pair becomes a word, until there are `count`."""
        pairs: list[tuple[int, int]] = []
        ids = np.frombuffer(sample.encode(), np.uint8).astype(np.int64)
        while 256 + len(pairs) < count:
            codes, counts = np.unique(ids[:-1] << 20 | ids[1:], return_counts=True)
            best = int(codes[counts.argmax()])
            pairs.append((best >> 20, best & (1 << 20) - 1))
            ids = _merged(ids, pairs[-1], 255 + len(pairs))
        return cls(tuple(pairs))

    def ids(self, sample: str) -> Ids:
        ids = np.frombuffer(sample.encode(), np.uint8).astype(np.int64)
        for index, pair in enumerate(self.pairs):
            ids = _merged(ids, pair, 256 + index)
        return ids


def _merged(ids: Ids, pair: tuple[int, int], word: int) -> Ids:
    starts = np.flatnonzero((ids[:-1] == pair[0]) & (ids[1:] == pair[1]))
    if pair[0] == pair[1]:  # of a run, every other one
        runs = np.cumsum(np.diff(starts, prepend=-2) != 1)
        first = {int(run): int(at) for run, at in zip(runs[::-1], starts[::-1], strict=True)}
        starts = np.asarray([at for run, at in zip(runs, starts, strict=True)
                             if (at - first[int(run)]) % 2 == 0], np.int64)  # fmt: skip
    ids = ids.copy()
    ids[starts] = word
    return np.delete(ids, starts + 1)


def trained(seconds: float, shape: Shape | None = None) -> tuple[Decoder, Ids]:
    """A decoder after some seconds of processor time of training, and the held-out words."""
    torch.manual_seed(0)
    shape = shape or Shape()
    learn, held = text()
    words = Words.found_in(learn[: 1 << 18], shape.words)
    ids, model = torch.from_numpy(words.ids(learn)), Decoder(shape)
    optimizer: Any = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    started = time.process_time()
    while (spent := time.process_time() - started) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, 20 * spent / seconds) * (1.02 - spent / seconds)
        starts = torch.randint(len(ids) - shape.context - 1, (16,))
        rows = torch.stack([ids[at : at + shape.context + 1] for at in starts])
        logits, _ = model(rows[:, :-1], model.empty(len(rows)))
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval(), words.ids(held)
