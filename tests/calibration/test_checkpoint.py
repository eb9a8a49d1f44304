"""Checkpoints: what is damaged or edited is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcompiler.calibration.checkpoint import Checkpoint, read_checkpoint
from qcompiler.errors import ArtifactError, CalibrationError
from qcompiler.ir.requests import Request
from qcompiler.quantization.observers import OBSERVERS

ASKED = Request.of("x", method="minmax")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    observer = OBSERVERS["minmax"]()
    observer.update(np.arange(5, dtype=np.float32))
    path = tmp_path / "k"
    Checkpoint("print", 3, "data", {ASKED: observer}).save(path)
    return path


def test_it_comes_back(written: Path) -> None:
    found = read_checkpoint(written, "print")
    assert (found.samples, found.data, list(found.observations)) == (3, "data", [ASKED])
    assert [each.name for each in written.parent.iterdir()] == ["k"]


def _edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with np.load(path) as arrays:
        content = dict(arrays)
    change(content)
    with path.open("wb") as file:
        np.savez(file, **content)


def _count(content: dict[str, Any]) -> None:
    content["header"] = np.asarray(str(content["header"]).replace('"samples": 3', '"samples": 2'))


def _bound(content: dict[str, Any]) -> None:
    name = next(name for name in content if name.startswith("0/bounds"))
    content[name] = content[name] + 1


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a count": _count,
    "a bound": _bound,
    "a member less": lambda content: content.pop(next(n for n in content if n.startswith("0/"))),
    "no header": lambda content: content.pop("header"),
    "no digest": lambda content: content.pop("digest"),
    "a header of another form": lambda content: content.update(header=np.asarray("[1]")),
    "a deep header": lambda content: content.update(header=np.asarray("[" * 9000)),
    "an older format": lambda content: content.update(header=np.asarray('{"format": 1}')),
    "a member without a number": lambda content: content.update({"a/b": np.zeros(1)}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_file_is_refused(edit: str, written: Path) -> None:
    _edited(written, EDITS[edit])
    with pytest.raises(CalibrationError, match=f"cannot read the checkpoint {written}"):
        read_checkpoint(written, "print")


def test_rewriting_without_an_edit_is_none(written: Path) -> None:
    """The control of the test above."""
    _edited(written, lambda content: None)
    assert read_checkpoint(written, "print").samples == 3


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"hello", b"\x93NUMPY\1\0"])
def test_damaged_bytes(content: bytes, written: Path) -> None:
    written.write_bytes(content)
    with pytest.raises(CalibrationError, match="cannot read the checkpoint"):
        read_checkpoint(written, "print")


def test_nobody_is_told_to_delete_another_file(written: Path) -> None:
    """Such as the model, given as checkpoint by mistake."""
    written.write_bytes(b"\x08\x08\x12\x07pytorch")
    with pytest.raises(CalibrationError, match="it is no checkpoint") as caught:
        read_checkpoint(written, "print")
    assert caught.value.fix == "give the path of a file, new or old"


def test_a_folder_or_a_closed_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="it is a folder"):
        read_checkpoint(tmp_path, "print")
    with pytest.raises(CalibrationError, match="cannot read the checkpoint"):
        read_checkpoint(Path("a\0b"), "print")
    with pytest.raises(ArtifactError, match="cannot write"):
        Checkpoint("print").save(tmp_path)
