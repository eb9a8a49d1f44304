"""The first feeds of calibration data, looked at before any is used up."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qcompiler.errors import CalibrationError, FeedError, users_code
from qcompiler.execution.feed_surplus import with_labels
from qcompiler.execution.feeds import normalize_feed
from qcompiler.ir.signature import Feed, Signature

_PEEKED = 8
"""First feeds that are compared to see which dimensions differ."""


@dataclass(frozen=True, eq=False)
class Feeds:
    """All feeds, those that were looked at too; how many, where what makes them tells.

    Attributes:
        rest: Feeds that can be iterated once.
        given: What they are of.
    """

    rest: Iterator[Any]
    given: Iterable[Any]

    def __iter__(self) -> Iterator[Any]:
        return self.rest

    def __length_hint__(self) -> int:
        return length_of(self.given)


def peeked(
    calibration: Iterable[Any] | None,
) -> tuple[Any, Sequence[Any], Iterable[Any] | None]:
    """The first feed (None if there is no data), a few more, and an iterable that holds them all.

    Feeds of no samples are passed over where there are others: a capture would keep their size.

    Raises:
        CalibrationError: There are no feeds, or it is something else.
    """
    if calibration is None:
        return None, (), None
    iterator = given_feeds(calibration, "calibration data", "calibration")
    first = list(itertools.islice(iterator, _PEEKED))
    rest = iter(calibration) if _is_held(calibration) else itertools.chain(first, iterator)
    if not first:
        raise CalibrationError("the calibration data is empty", fix="give some feeds")
    if any(each is None for each in first):
        number = next(i for i, each in enumerate(first) if each is None)
        raise CalibrationError(
            f"calibration feed {number} is None",
            where=f"feed {number} (counted from 0)",
            fix="give arrays, tensors, tuples or dicts; look at what makes the feeds",
        )
    full = [feed for feed in first if not _holds_nothing(feed)] or first
    return full[0], full[1:], Feeds(rest, calibration)


def _holds_nothing(feed: Any) -> bool:
    """Whether every array of a feed has an axis of size 0."""
    nest = feed.values() if isinstance(feed, Mapping) else feed
    parts = list(nest) if isinstance(feed, Mapping | list | tuple) else [feed]
    return bool(parts) and all(_elements(each) == 0 for each in parts)


def _elements(leaf: Any) -> Any:
    """How many numbers an array holds, of torch or numpy; of others something else than 0."""
    count = getattr(leaf, "numel", None)
    return count() if callable(count) else getattr(leaf, "size", None)


def length_of(feeds: Iterable[Any]) -> int:
    """The number of feeds, 0 if it is not known: only progress is told by it."""
    try:
        return operator.length_hint(feeds, 0)
    except Exception:  # noqa: BLE001 - `__len__` of streamed data sets raises what it likes
        return 0


def given_feeds(feeds: Any, what: str = "feeds", argument: str = "feeds") -> Iterator[Any]:
    """The feeds one by one; what the user's code raises says at which one.

    Each is the caller's to keep: what makes them may fill the same arrays again.

    Raises:
        CalibrationError: It is nothing that feeds come from.
    """
    if isinstance(feeds, str | bytes | Path):
        raise CalibrationError(
            f"{what}: an iterable of feeds is needed, not the path {str(feeds)!r}",
            fix="load it (the command line's --calibration takes files); "
            "give other arguments by name: scheme='int8'",
        )
    if not isinstance(feeds, Iterable):
        raise CalibrationError(
            f"{what}: an iterable of feeds is needed, not a {type(feeds).__name__}",
            fix=_mended(feeds),
        )
    if isinstance(feeds, Mapping):
        raise CalibrationError(
            f"{what}: an iterable of feeds is needed, this is one dict",
            fix=f"pass a list of feeds: {argument}=[feed]",
        )
    return _named(feeds, what)


def normalized(signature: Signature, feeds: Iterable[Any]) -> Iterator[Feed]:
    """The feeds as arrays by name, one at a time; labels as the first has them are left out.

    Raises:
        FeedError: One does not fit; says which.
    """
    for number, feed in enumerate(feeds):
        with at_feed(number):
            signature = signature if number else with_labels(signature, feed)
            found = normalize_feed(signature, feed)
        yield found


@contextmanager
def at_feed(number: int) -> Iterator[None]:
    """Errors about a feed say which one it is."""
    try:
        yield
    except FeedError as error:
        place = f"feed {number} (counted from 0)"
        error.where = f"{error.where}, {place}" if error.where else place
        raise


def _named(feeds: Iterable[Any], what: str) -> Iterator[Any]:
    number, feed = 0, None
    with users_code(f"the {what}, when it was asked for its iterator"):
        iterator = iter(feeds)
    while True:
        with users_code(f"the {what}, at feed {number} (counted from 0)"):
            try:
                feed = next(iterator)
            except StopIteration:
                return
        yield feed if _is_held(feeds) else copied(feed)
        number += 1


def _is_held(feeds: object) -> bool:
    """Whether all feeds are there at once, each with arrays of its own."""
    return type(feeds) in (list, tuple)


def copied(feed: Any) -> Any:
    """A feed with arrays and tensors of its own; what is neither, nor a plain nest, as it is."""
    if isinstance(feed, np.ndarray):
        return feed.copy()
    if callable(getattr(feed, "detach", None)) and callable(getattr(feed, "clone", None)):
        return feed.detach().clone()
    if type(feed) is dict:
        return {name: copied(part) for name, part in feed.items()}
    if type(feed) in (list, tuple):
        return type(feed)(copied(part) for part in feed)
    if isinstance(feed, tuple) and hasattr(feed, "_fields"):
        return type(feed)(*map(copied, feed))
    return feed


def _mended(calibration: object) -> str:
    """A data set, as torch has them, can be indexed and says nothing of batches."""
    if callable(getattr(calibration, "forward", None)):
        return "the model comes first: compile(model, calibration=feeds)"
    if hasattr(calibration, "__getitem__") and hasattr(calibration, "__len__"):
        return "pass a DataLoader of it, which makes batches"
    if callable(calibration):
        return "call it: pass what it returns or yields"
    return "pass a list of feeds, or a generator"
