"""The first feeds are looked at, none is used up, and errors of whoever makes them stay theirs."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, overload

import pytest

from qcompiler.calibration.first_feeds import peeked
from qcompiler.errors import RAISED


class _ByNumber(Sequence[int]):
    """As torch's data sets: no slices."""

    def __len__(self) -> int:
        return 12

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            raise TypeError("no slices")
        if index >= 12:
            raise IndexError(index)
        return index


@pytest.mark.parametrize("given", [list(range(12)), deque(range(12)), _ByNumber(), iter(range(12))])
def test_no_feed_is_used_up(given: Any) -> None:
    first, more, feeds = peeked(given)
    assert (first, list(more)) == (0, list(range(1, 8)))
    assert feeds is not None
    assert list(feeds) == list(range(12))


class _BrokenError(Exception):
    """Of the user's."""


def _broken(at: int) -> Iterator[int]:
    for number in range(20):
        if number == at:
            raise _BrokenError("no such image")
        yield number


class _Refusing:
    def __iter__(self) -> Iterator[int]:
        raise _BrokenError("no such folder")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (_broken(0), "at feed 0"),
        (_broken(3), "at feed 3"),
        (_broken(11), "at feed 11"),  # behind those that are looked at
        (_Refusing(), "asked for its iterator"),
    ],
)
def test_what_makes_the_feeds_raises_as_it_would_alone(given: Any, told: str) -> None:
    with pytest.raises(_BrokenError) as caught:
        list(peeked(given)[2] or ())
    (note,) = caught.value.__notes__
    assert note.startswith(RAISED)
    assert told in note
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert frame.name in ("_broken", "__iter__")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_process_has_no_note(error: type[BaseException]) -> None:
    def feeds() -> Iterator[int]:
        yield 0
        raise error

    with pytest.raises(error) as caught:
        peeked(feeds())
    assert not hasattr(caught.value, "__notes__")
