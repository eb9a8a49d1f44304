"""`.npz` files of feeds: damaged ones are errors of ours, large ones are not read whole."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.calibration.feed_files import FeedFiles
from qcompiler.errors import CalibrationError, ConfigurationError

GOOD = np.arange(24, dtype=np.float32).reshape(6, 2, 2)


def _npy(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _zip(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _header(
    shape: str, descr: str = "'<f4'", order: str = "False", version: bytes = b"\1\0"
) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


def _twice() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", _npy(GOOD))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", _npy(GOOD))
    return file.getvalue()


def _flipped() -> bytes:
    content = bytearray(_zip({"x.npy": _npy(GOOD)}))
    content[content.index(GOOD.tobytes()) + 5] ^= 0xFF
    return bytes(content)


DAMAGED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no zip": lambda: b"hello" * 100,
    "an array alone": lambda: _npy(GOOD),
    "cut off": lambda: _zip({"x.npy": _npy(GOOD)})[:-30],
    "a text in it": lambda: _zip({"x.txt": b"hello"}),
    "a folder in it": lambda: _zip({"x/": b""}),
    "a name twice": _twice,
    "a bit flipped": _flipped,
    "no magic": lambda: _zip({"x.npy": b"hello" * 20}),
    "an empty member": lambda: _zip({"x.npy": b""}),
    "an unknown version": lambda: _zip({"x.npy": b"\x93NUMPY\x09\0" + b"\0" * 50}),
    "fewer elements": lambda: _zip({"x.npy": _npy(GOOD)[:-8]}),
    "more elements": lambda: _zip({"x.npy": _npy(GOOD) + b"12345678"}),
    "a giant shape": lambda: _zip({"x.npy": _header(f"({2**50}, 4)")}),
    "a shape beyond int64": lambda: _zip({"x.npy": _header(f"({2**70},)")}),
    "a negative shape": lambda: _zip({"x.npy": _header("(-1, 4)")}),
    "two negative dimensions": lambda: _zip({"x.npy": _header("(-2, -2)") + b"\0" * 16}),
    "no shape": lambda: _zip({"x.npy": _header("'abc'")}),
    "no type": lambda: _zip({"x.npy": _header("(1,)", "'zz'")}),
    "a deep header": lambda: _zip({"x.npy": _header("(" * 900 + ")" * 900)}),
    "objects": lambda: _zip({"x.npy": _header("(1,)", "'|O'") + b"\0" * 8}),
    "a number": lambda: _zip({"x.npy": _npy(np.asarray(np.float32(1)))}),
    "a method that is not known": lambda: _zip({"x.npy": _npy(GOOD)}).replace(
        b"PK\1\2\x14\3\x14\0\0\0\0\0", b"PK\1\2\x14\3\x14\0\0\0\x63\0"
    ),
    "encrypted": lambda: _zip({"x.npy": _npy(GOOD)}).replace(
        b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"
    ),
    "feeds of a damaged member": lambda: _zip({"in_0_x.npy": b"junk", "in_1_x.npy": _npy(GOOD)}),
    "a feed of a number beyond reason": lambda: _zip({f"in_{'9' * 5000}_x.npy": b"junk"}),
}


@pytest.mark.parametrize("form", DAMAGED)
def test_a_damaged_file_is_an_error_that_names_it(form: str, tmp_path: Path) -> None:
    (tmp_path / "f.npz").write_bytes(DAMAGED[form]())
    with pytest.raises(CalibrationError, match=r"f\.npz"):
        list(FeedFiles(tmp_path / "f.npz"))
    if form != "a number":  # which a feed of its own may be
        with pytest.raises(CalibrationError, match=r"f\.npz"):
            list(FeedFiles(tmp_path))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("batch", [1, 4, 6, 7])
def test_every_way_to_read_gives_the_same_rows(
    save: Callable[..., None], order: str, batch: int, tmp_path: Path
) -> None:
    arrays = {"x": np.asarray(GOOD, order=order), "k": np.arange(6), "s": np.array(list("abcdef"))}  # type: ignore[call-overload]
    save(tmp_path / "f.npz", **arrays)
    feeds = FeedFiles(tmp_path / "f.npz", batch)
    want = [
        {name: array[at : at + batch] for name, array in arrays.items()}
        for at in range(0, 6, batch)
    ]
    assert len(feeds) == len(want)
    every = [list(feeds), [feeds[i] for i in range(len(want))], feeds[:], feeds[::-1][::-1]]
    for found in every:
        for have, wanted in zip(found, want, strict=True):
            assert list(have) == list(wanted)
            for name, array in wanted.items():
                assert have[name].dtype == array.dtype
                np.testing.assert_array_equal(have[name], array)
    np.testing.assert_array_equal(feeds[-1]["x"], want[-1]["x"])
    with pytest.raises(IndexError):
        feeds[len(want)]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_is_that_of_a_feed_not_of_the_file(
    save: Callable[..., None], tmp_path: Path
) -> None:
    rows, row = 64, 1 << 17  # 64 feeds of half a MiB
    save(tmp_path / "f.npz", x=np.zeros((rows, row), np.float32))
    feeds = FeedFiles(tmp_path / "f.npz")
    tracemalloc.start()
    try:
        assert sum(feed["x"].shape[0] for feed in feeds) == rows
        assert feeds[40]["x"].shape == (1, row)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * row * 4, "numpy counts its arrays there; the file is 64 rows"


def test_samples_are_cut_into_batches(tmp_path: Path) -> None:
    x, y = np.arange(10).reshape(5, 2), np.arange(5.0)
    np.savez(tmp_path / "f.npz", x=x, y=y)
    feeds = FeedFiles(tmp_path / "f.npz", 2)
    assert len(feeds) == len(list(feeds)) == 3
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds]), x)
    np.testing.assert_array_equal(np.concatenate([feed["y"] for feed in feeds]), y)
    assert next(iter(FeedFiles(tmp_path / "f.npz")))["x"].shape == (1, 2)


def test_ragged_feeds_come_in_number_order(tmp_path: Path) -> None:
    arrays = {f"in_{i}_ids": np.zeros((1, i + 1)) for i in range(11)}
    np.savez(tmp_path / "f.npz", **arrays)  # type: ignore[arg-type]
    feeds = FeedFiles(tmp_path / "f.npz")
    assert len(feeds) == 11
    assert [feed["ids"].shape[1] for feed in feeds] == list(range(1, 12))


def test_a_folder_holds_one_feed_in_each_file(tmp_path: Path) -> None:
    for name in ("b", "a"):
        np.savez(tmp_path / f"{name}.npz", x=np.array([name]))
    feeds = FeedFiles(tmp_path)
    assert len(feeds) == 2
    assert [feed["x"].item() for feed in feeds] == ["a", "b"]


def test_unequal_sample_counts(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.zeros(3), y=np.zeros(4))
    with pytest.raises(CalibrationError, match="unequal numbers") as caught:
        FeedFiles(tmp_path / "f.npz")
    assert "x: 3, y: 4" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"text"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.npz").write_bytes(content)
    with pytest.raises(CalibrationError, match="cannot read calibration data"):
        FeedFiles(tmp_path / "f.npz")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.array([object()], dtype=object))
    with pytest.raises(CalibrationError, match="at: array 'x'"):
        list(FeedFiles(tmp_path / "f.npz"))


def test_empty_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.zeros((0, 3)))
    for path in (tmp_path / "f.npz", tmp_path / "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(CalibrationError, match="no calibration data"):
            FeedFiles(path)


def test_batch_below_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="1 or more"):
        FeedFiles(tmp_path / "f.npz", 0)
