"""`Keeper`: passes calibration feeds through and keeps a few of them to judge candidates by."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from qcompiler.execution.feeds import normalize_feed
from qcompiler.ir.signature import Feed, Signature, arrays_of

_MAX_BYTES = 256 << 20


class Keeper:
    """Iterates once over feeds; afterwards `kept` is a sample of them.

    Reservoir sampling (Vitter 1985, algorithm R) with a fixed seed: every feed is equally likely,
    whatever the number of feeds, and memory holds `samples` of them (at most 256 MiB).

    Attributes:
        kept: The sample, in order of arrival.
        seen: Feeds that went through.
    """

    def __init__(self, signature: Signature, feeds: Iterable[Any], samples: int) -> None:
        self._signature = signature
        self._feeds = feeds
        self._samples = samples
        self._slots: list[tuple[int, Feed]] = []
        self.seen = 0

    @property
    def kept(self) -> list[Feed]:
        return [feed for _, feed in sorted(self._slots, key=lambda slot: slot[0])]

    def __length_hint__(self) -> int:
        """Number of feeds, 0 when their source does not tell it (a generator)."""
        return operator.length_hint(self._feeds, 0)

    def __iter__(self) -> Iterator[Feed]:
        generator = np.random.default_rng(0)
        for raw in self._feeds:
            feed = normalize_feed(self._signature, raw)
            self._keep(feed, generator)
            self.seen += 1
            yield feed

    def _keep(self, feed: Feed, generator: np.random.Generator) -> None:
        room = max(1, min(self._samples, _MAX_BYTES // max(1, _bytes(feed))))
        if len(self._slots) < room:
            self._slots.append((self.seen, feed))
            return
        place = int(generator.integers(0, self.seen + 1))
        if place < len(self._slots):
            self._slots[place] = (self.seen, feed)


def _bytes(feed: Feed) -> int:
    return sum(array.nbytes for _, array in arrays_of(feed))
