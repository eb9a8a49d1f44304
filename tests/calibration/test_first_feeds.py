"""The first feeds are looked at, none is used up, and errors of whoever makes them stay theirs."""

from __future__ import annotations

import operator
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import pytest
import torch

from qcompiler.calibration.first_feeds import at_feed, peeked
from qcompiler.calibration.loading import loaded
from qcompiler.errors import RAISED, CalibrationError, FeedError

Array = npt.NDArray[np.float32]


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


class _Pair(NamedTuple):
    one: Any
    two: Any


def _refilled(nest: Callable[[Array], Any]) -> Iterator[Any]:
    """Feeds whose maker fills one array again and again."""
    array = np.empty(2, np.float32)
    for number in range(12):
        array[:] = number
        yield nest(array)


_NESTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "array": (lambda a: a, lambda feed: feed),
    "tensor": (torch.from_numpy, lambda feed: feed),
    "dict": (lambda a: {"x": a}, lambda feed: feed["x"]),
    "nest": (lambda a: [(a, {"x": a})], lambda feed: feed[0][1]["x"]),
    "named": (lambda a: _Pair(a, 0), lambda feed: feed.one),
}


@pytest.mark.parametrize("name", _NESTS)
def test_feeds_stay_what_they_were_where_their_maker_fills_an_array_again(name: str) -> None:
    nest, leaf = _NESTS[name]
    first, more, feeds = peeked(_refilled(nest))
    assert feeds is not None
    assert [float(leaf(feed)[0]) for feed in (first, *more)] == list(range(8))
    assert [float(leaf(feed)[0]) for feed in list(feeds)] == list(range(12))


def test_feeds_that_are_all_there_are_not_copied() -> None:
    given = [np.zeros(2), np.ones(2)]
    assert all(a is b for a, b in zip(peeked(given)[2] or (), given, strict=True))


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


class _Streamed:
    """As data sets that are streamed: their length is asked for, and is not known."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(12))

    def __len__(self) -> int:
        raise NotImplementedError


class _Loader:
    """As a DataLoader: no sequence, but it tells how many batches it has."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(12))

    def __len__(self) -> int:
        return 12


@pytest.mark.parametrize(("given", "count"), [(_Streamed(), 0), (_Loader(), 12), ([1] * 12, 12)])
def test_progress_knows_how_many_feeds_there_are(given: Any, count: int) -> None:
    feeds = peeked(given)[2]
    assert feeds is not None
    assert operator.length_hint(feeds) == count
    assert len(list(feeds)) == 12


def test_a_feed_of_no_samples_is_not_the_one_that_is_looked_at() -> None:
    nothing, one = np.zeros((0, 3)), np.zeros((1, 3))
    first, more, feeds = peeked([{"x": nothing}, (one, nothing), nothing])
    assert first == (one, nothing)
    assert list(more) == []
    assert feeds is not None
    assert len(list(feeds)) == 3
    assert peeked([nothing])[0] is nothing


def test_the_number_of_a_feed_stands_in_its_error() -> None:
    with pytest.raises(FeedError) as caught, at_feed(7):
        raise FeedError("the shape differs", where="input x")
    assert caught.value.where == "input x, feed 7 (counted from 0)"


def test_one_array_in_the_place_of_feeds_is_told_as_that(digits_path: Path) -> None:
    with pytest.raises(FeedError, match="one array") as caught:
        loaded(digits_path, np.zeros((4, 1, 32, 32), np.float32), None, None, quiet=True)
    assert "calibration=[x]" in str(caught.value.fix)


def test_a_function_is_to_be_called() -> None:
    with pytest.raises(CalibrationError) as caught:
        peeked(lambda: [1])  # type: ignore[arg-type]
    assert "call it" in str(caught.value.fix)
