"""Time spent waiting for a core, by the kernel's own count."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcompiler.execution import crowding


def thread(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "schedstat").write_text(text, encoding="ascii")


def test_delays_of_all_threads_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thread(tmp_path, "1", "900 2000000000 3\n")
    thread(tmp_path, "2", "900 500000000 3\n")
    monkeypatch.setattr(crowding, "_TASKS", tmp_path)
    assert crowding.waited() == pytest.approx(2.5)


def test_threads_that_end_and_kernels_that_do_not_count_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread(tmp_path, "1", "")
    (tmp_path / "2").mkdir()
    thread(tmp_path, "3", "1 1000000000 1\n")
    monkeypatch.setattr(crowding, "_TASKS", tmp_path)
    assert crowding.waited() == pytest.approx(1.0)
    monkeypatch.setattr(crowding, "_TASKS", tmp_path / "missing")
    assert crowding.waited() == 0.0


def test_it_only_grows() -> None:
    before = crowding.waited()
    assert crowding.waited() >= before >= 0.0
