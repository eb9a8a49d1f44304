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
    if isinstance(calibration, str | bytes | Path):
        raise CalibrationError(
            f"calibration data is an iterable of feeds, not the path {str(calibration)!r}",
            fix="load it: the command line's --calibration takes files",
        )
    if not isinstance(calibration, Iterable):
        raise CalibrationError(
            f"calibration data is an iterable of feeds, not a {type(calibration).__name__}",
            fix=_mended(calibration),
        )
    if isinstance(calibration, Mapping):
        raise CalibrationError(
            "calibration data is an iterable of feeds, this is one dict",
            fix="pass a list of feeds: calibration=[feed]",
        )
    iterator = _given(calibration)
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


def _given(calibration: Iterable[Any]) -> Iterator[Any]:
    """The feeds; what the user's code raises says at which one."""
    number, feed = 0, None
    with users_code("the calibration data, when it was asked for its iterator"):
        iterator = iter(calibration)
    while True:
        with users_code(f"the calibration data, at feed {number} (counted from 0)"):
            try:
                feed = next(iterator)
            except StopIteration:
                return
        yield feed
        number += 1


def _mended(calibration: object) -> str:
    """A data set, as torch has them, can be indexed and says nothing of batches."""
    if hasattr(calibration, "__getitem__") and hasattr(calibration, "__len__"):
        return "pass a DataLoader of it, which makes batches"
    return "pass a list of feeds, or a generator"
