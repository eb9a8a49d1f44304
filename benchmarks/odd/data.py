"""Calibration files: damaged archives, wrong shapes, folders of the wrong things."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import qcompiler as qc
from benchmarks.odd.entry import Entry, base, table
from qcompiler.calibration.feed_files import FeedFiles
from qcompiler.errors import CalibrationError, QCompilerError

GOOD = np.arange(24, dtype=np.float32).reshape(6, 4)


def entries() -> list[Entry]:
    """Archives with checksums that are right and content that is not."""
    files = {name: (content, CalibrationError, "f.npz") for name, content in _DAMAGED.items()}
    return [
        *table("npz", files, _read),
        *table("npz", {name: (content, None) for name, content in _RIGHT.items()}, _read),
        *table("feeds from a file", _FEEDS, _compiled),
    ]


def npy(array: npt.NDArray[Any]) -> bytes:
    """The content of an `.npy`."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape: str, descr: str = "'<f4'", version: bytes = b"\1\0") -> bytes:
    """Of an `.npy`, without elements."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


def packed(members: dict[str, bytes], way: int = zipfile.ZIP_STORED) -> bytes:
    """A zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", way) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _second(array: npt.NDArray[Any]) -> bytes:
    """An `.npy` of version 2, which has four bytes for the length of its header."""
    text = header(str(array.shape))[10:]
    return b"\x93NUMPY\2\0" + len(text).to_bytes(4, "little") + text + array.tobytes()


def _read(content: bytes) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        (folder / "f.npz").write_bytes(content)
        rows = sum(len(next(iter(feed.values()))) for feed in FeedFiles(folder / "f.npz"))
        assert rows == len(GOOD), rows

    return run


def _compiled(content: bytes) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        (folder / "f.npz").write_bytes(content)
        onnx.save(base(), folder / "m.onnx")
        inputs = qc.load(folder / "m.onnx").signature.inputs
        feeds = FeedFiles(folder / "f.npz", inputs=inputs)
        qc.compile(folder / "m.onnx", calibration=feeds, scheme="int8", recipe="fast", budget=0)

    return run


def _x(content: bytes) -> bytes:
    return packed({"x.npy": content})


_ZIP = _x(npy(GOOD))
_DAMAGED = {
    "empty": b"",
    "a text": b"hello" * 50,
    "an array alone": npy(GOOD),
    "nothing in it": packed({}),
    **{f"cut off after {at}/6": _ZIP[: len(_ZIP) * at // 6] for at in range(1, 6)},
    "a text in it": packed({"x.txt": b"hello"}),
    "a folder in it": packed({"x/": b""}),
    "an empty member": _x(b""),
    "no magic": _x(b"hello" * 20),
    "an unknown version": _x(b"\x93NUMPY\x09\0" + bytes(50)),
    "fewer elements": _x(npy(GOOD)[:-8]),
    "more elements": _x(npy(GOOD) + bytes(8)),
    "a shape beyond memory": _x(header(f"({2**50}, 4)")),
    "a shape beyond int64": _x(header(f"({2**70},)")),
    "a negative shape": _x(header("(-1, 4)")),
    "two negative sizes": _x(header("(-2, -2)") + bytes(16)),
    "a shape of texts": _x(header("'abc'")),
    "a shape of floats": _x(header("(1.5,)")),
    "no type": _x(header("(1,)", "'zz'")),
    "a type with fields": _x(header("(1,)", "[('a', '<f4'), ('b', 'O')]") + bytes(12)),
    "objects": _x(header("(1,)", "'|O'") + bytes(8)),
    "a header that is nested deep": _x(header("(" * 900 + ")" * 900)),
    "a header that calls": _x(header("__import__('os')")),
    "a header of another encoding": _x(b"\x93NUMPY\1\0\x04\0\xff\xfe\xfd\n"),
    "a number": _x(npy(np.asarray(np.float32(1)))),
    "unequal sample counts": packed({"x.npy": npy(GOOD), "z.npy": npy(GOOD[:3])}),
    "a deflated bomb": packed(
        {"x.npy": header(f"({2**20}, {2**20})") + bytes(5_000_000)}, zipfile.ZIP_DEFLATED
    ),
    "an unknown method": _ZIP.replace(
        b"PK\1\2\x14\3\x14\0\0\0\0\0", b"PK\1\2\x14\3\x14\0\0\0\x63\0"
    ),
    "encrypted": _ZIP.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"),
    "a feed number beyond reason": packed({f"in_{'9' * 5000}_x.npy": b"junk"}),
    "a checksum that is wrong": _ZIP.replace(GOOD.tobytes(), GOOD[::-1].tobytes()),
}
_RIGHT = {
    "as it should be (control)": _ZIP,
    "deflated": packed({"x.npy": npy(GOOD)}, zipfile.ZIP_DEFLATED),
    "bzip2": packed({"x.npy": npy(GOOD)}, zipfile.ZIP_BZIP2),
    "lzma": packed({"x.npy": npy(GOOD)}, zipfile.ZIP_LZMA),
    "in Fortran order": _x(npy(np.asfortranarray(GOOD))),
    "of the other byte order": _x(npy(GOOD.astype(">f4"))),
    "feeds by number": packed({f"in_{i}_x.npy": npy(GOOD[i : i + 1]) for i in range(6)}),
    "feeds with gaps in their numbers": packed(
        {f"in_{7 * i}_x.npy": npy(GOOD[i : i + 1]) for i in range(6)}
    ),
    "a version 2 header": _x(_second(GOOD)),
    "junk before the archive": b"junk" * 30 + _ZIP,
}
_FEEDS: dict[str, tuple[Any, ...]] = {
    "as they should be (control)": (_ZIP, None),
    "of two arrays": (packed({"x.npy": npy(GOOD), "z.npy": npy(GOOD)}), None),
    "of another width": (_x(npy(GOOD[:, :3])), QCompilerError, "x"),
    "of another rank": (_x(npy(GOOD[..., None])), QCompilerError, "x"),
    "of texts": (_x(npy(np.asarray([["a"] * 4] * 6))), QCompilerError, "x"),
    "of complex numbers": (_x(npy(GOOD.astype(complex))), QCompilerError, "x"),
    "of dates": (_x(npy(GOOD.astype("M8[s]"))), QCompilerError, "x"),
    "of NaN": (_x(npy(GOOD * np.float32("nan"))), QCompilerError, "x"),
    "without rows": (_x(npy(GOOD[:0])), QCompilerError, "f.npz"),
    "of integers": (_x(npy(GOOD.astype(np.int64))), QCompilerError, "x"),
    "by position": (packed({"arr_0.npy": npy(GOOD)}), None),
    "of the only input under another name": (packed({"other.npy": npy(GOOD)}), None),
    "of two names that are not known": (
        packed({"a.npy": npy(GOOD), "b.npy": npy(GOOD)}),
        QCompilerError,
        "x",
    ),
}
