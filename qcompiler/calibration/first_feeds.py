"""The first feeds of calibration data, looked at before any is used up."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qcompiler.errors import CalibrationError, users_code

_PEEKED = 8
"""First feeds that are compared to see which dimensions differ."""


def peeked(
    calibration: Iterable[Any] | None,
) -> tuple[Any, Sequence[Any], Iterable[Any] | None]:
    """The first feed (None if there is no data), a few more, and an iterable that holds them all.

    Raises:
        CalibrationError: There are no feeds, or it is something else.
    """
    if calibration is None:
        return None, (), None
    iterator = given_feeds(calibration, "calibration data", "calibration")
    first = list(itertools.islice(iterator, _PEEKED))
    again = isinstance(calibration, Sequence)
    feeds = calibration if again else itertools.chain(first, iterator)
    if not first:
        raise CalibrationError("the calibration data is empty", fix="give some feeds")
    if any(each is None for each in first):
        number = next(i for i, each in enumerate(first) if each is None)
        raise CalibrationError(
            f"calibration feed {number} is None",
            where=f"feed {number} (counted from 0)",
            fix="give arrays, tensors, tuples or dicts; look at what makes the feeds",
        )
    return first[0], first[1:], feeds


def given_feeds(feeds: Any, what: str = "feeds", argument: str = "feeds") -> Iterator[Any]:
    """The feeds one by one; what the user's code raises says at which one.

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
        yield feed
        number += 1


def _mended(calibration: object) -> str:
    """A data set, as torch has them, can be indexed and says nothing of batches."""
    if callable(getattr(calibration, "forward", None)):
        return "the model comes first: compile(model, calibration=feeds)"
    if hasattr(calibration, "__getitem__") and hasattr(calibration, "__len__"):
        return "pass a DataLoader of it, which makes batches"
    return "pass a list of feeds, or a generator"
