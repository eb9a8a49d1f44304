"""`Keeper`: passes calibration feeds through and keeps a few of them to judge candidates by."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from qcompiler.calibration.first_feeds import normalized
from qcompiler.ir.signature import Feed, Signature, arrays_of, buffer

_MAX_BYTES = 256 << 20


class Keeper:
    """Iterates once over feeds; afterwards `kept` is a sample of them.

    Reservoir sampling (Vitter 1985, algorithm R) with a fixed seed: every feed is equally likely,
    whatever the number of feeds, and memory holds `samples` of them (at most 256 MiB).

    Attributes:
        kept: The sample, in order of arrival.
        seen: Feeds that went through.
        digest: Of all their content, in hex: the same however the rows are put into batches.
    """

    def __init__(self, signature: Signature, feeds: Iterable[Any], samples: int) -> None:
        self._signature = signature
        self._feeds = feeds
        self._samples = samples
        self._slots: list[tuple[int, Feed]] = []
        self._data = DataDigest()
        self.seen = 0

    @property
    def digest(self) -> str:
        return self._data.hex

    @property
    def kept(self) -> list[Feed]:
        return [feed for _, feed in sorted(self._slots, key=lambda slot: slot[0])]

    def __length_hint__(self) -> int:
        """Number of feeds, 0 when their source does not tell it (a generator)."""
        return operator.length_hint(self._feeds, 0)

    def __iter__(self) -> Iterator[Feed]:
        generator = np.random.default_rng(0)
        for feed in normalized(self._signature, self._feeds):
            self._keep(feed, generator)
            self._data.update(feed)
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


class DataDigest:
    """Digest of calibration data, fed piece by piece.

    One hash for each input over the bytes of its rows; types and shapes of rows are hashed where
    they change, so it does not matter how rows are put into batches.
    """

    def __init__(self) -> None:
        self._inputs: dict[str, Any] = {}
        self._rows: dict[str, str] = {}

    def update(self, feed: Feed) -> None:
        """Adds a feed."""
        for name, array in arrays_of(feed):
            total = self._inputs.setdefault(name, hashlib.blake2b(digest_size=16))
            row = f"|{array.dtype} {array.shape[1:]}|"
            if self._rows.get(name) != row:
                self._rows[name] = row
                total.update(row.encode())
            total.update(buffer(array))

    @property
    def hex(self) -> str:
        """32 hex digits; empty without data."""
        if not self._inputs:
            return ""
        found = "".join(
            f"|{name}|{self._inputs[name].hexdigest()}" for name in sorted(self._inputs)
        )
        return hashlib.blake2b(found.encode(), digest_size=16).hexdigest()


def _bytes(feed: Feed) -> int:
    return sum(array.nbytes for _, array in arrays_of(feed))
