"""The first feeds of calibration data, looked at before any is used up."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qcompiler.errors import (
    CalibrationError,
)

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
    if isinstance(calibration, Sequence):
        first = list(calibration[:_PEEKED])
        feeds: Iterable[Any] = calibration
    else:
        iterator = iter(calibration)
        first = list(itertools.islice(iterator, _PEEKED))
        feeds = itertools.chain(first, iterator)
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


def _mended(calibration: object) -> str:
    """A data set, as torch has them, can be indexed and says nothing of batches."""
    if hasattr(calibration, "__getitem__") and hasattr(calibration, "__len__"):
        return "pass a DataLoader of it, which makes batches"
    return "pass a list of feeds, or a generator"
