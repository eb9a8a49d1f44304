"""The door: every failure is an error of the given class that names the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qcompiler.errors import ConfigurationError, LoweringError
from qcompiler.files.reading import Door

DOOR = Door("the thing", ConfigurationError, fix="write it again")
FAILURES = {
    "nested": (RecursionError("maximum recursion depth exceeded"), "nested too deep"),
    "memory": (MemoryError(), "more memory than there is"),
    "text": (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "byte 0"),
    "entry": (KeyError("x"), "no entry 'x'"),
    "silent": (EOFError(), "EOFError"),
    "system": (PermissionError(13, "Permission denied"), "Permission denied"),
    "long": (ValueError("q" * 10_000), "qqq"),
    "ours": (LoweringError("refused", why="it is odd", fix="do that"), "refused: it is odd"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_any_failure_names_the_file_the_place_and_the_cause(case: str) -> None:
    error, words = FAILURES[case]
    with pytest.raises(ConfigurationError) as caught, DOOR.reading("some.file", "entry 3"):
        raise error
    shown = str(caught.value)
    assert "cannot read the thing some.file" in shown
    assert "entry 3" in shown
    assert words in shown
    assert len(shown) < 700
    assert caught.value.__cause__ is error
    assert ("do that" if case == "ours" else "write it again") in shown


def test_its_own_errors_and_interruptions_pass() -> None:
    mine = ConfigurationError("mine")
    with pytest.raises(ConfigurationError) as caught, DOOR.reading("f"):
        raise mine
    assert caught.value is mine
    with pytest.raises(KeyboardInterrupt), DOOR.reading("f"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("path", ["none", ".", "a\0b", "n" * 300, "/dev/null", "pipe", "a/b/c"])
def test_only_a_regular_file_is_opened(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="cannot read the thing"):
        DOOR.text(tmp_path / path)


def test_a_closed_folder_above_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root there are no closed folders, so the system's answer is given by hand."""

    def closed(self: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        DOOR.kind(tmp_path / "x")
