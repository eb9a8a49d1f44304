"""Entry points of installed distributions: read from folders of metadata made here."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from qcompiler.errors import RegistryError
from qcompiler.pipeline.entries import Entry, entries_of

GROUP = "qcompiler.test_entries"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(folder: Path, name: str, *lines: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))


def test_entries_tell_who_registered_them(installed: Path) -> None:
    install(installed, "plugin", "one = a.b:C", "two = a.b:D")
    install(installed, "other", "three = c:E")
    assert entries_of(GROUP, "pass") == {
        "one": Entry("one", "a.b:C", "plugin 1.0"),
        "two": Entry("two", "a.b:D", "plugin 1.0"),
        "three": Entry("three", "c:E", "other 1.0"),
    }


def test_a_name_belongs_to_one_distribution(installed: Path) -> None:
    install(installed, "plugin", "one = a.b:C")
    install(installed, "other", "one = c:E")
    with pytest.raises(RegistryError, match="'one' is registered twice") as caught:
        entries_of(GROUP, "pass")
    assert "plugin 1.0" in str(caught.value)
    assert "other 1.0" in str(caught.value)


def test_metadata_of_a_distribution_is_parsed_once(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(installed, "plugin", *(f"pass{number} = a.b:C{number}" for number in range(20)))
    parsed, read = [], metadata.PathDistribution.read_text

    def counted(self: metadata.PathDistribution, name: str) -> str | None:
        parsed.append(name)
        return read(self, name)

    monkeypatch.setattr(metadata.PathDistribution, "read_text", counted)
    assert len(entries_of(GROUP, "pass")) == 20
    assert parsed.count("METADATA") == 1
