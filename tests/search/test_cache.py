"""Times on disk: found again by what a region computes, and never in the way."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.frontends import load
from qcompiler.ir.signature import Feed
from qcompiler.pipeline import registry
from qcompiler.search import cache
from qcompiler.search.cache import CostCache, cache_folder, signature


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_times_come_back_and_the_lower_one_stays(folder: Path) -> None:
    CostCache.open("engine 1").update({("sig", "int8"): 2e-3, ("sig", "float32"): 5e-3})
    CostCache.open("engine 1").update({("sig", "int8"): 3e-3, ("other", "int8"): 1e-3})
    again = CostCache.open("engine 1")
    assert again.get("sig", "int8") == 2e-3
    assert again.get("other", "int8") == 1e-3
    assert again.get("other", "float32") is None
    assert not again.notes
    assert list(folder.glob("*.tmp")) == []


def test_another_engine_or_processor_is_another_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CostCache.open("engine 1").update({("sig", "int8"): 2e-3})
    assert CostCache.open("engine 2").get("sig", "int8") is None
    monkeypatch.setattr(cache, "processor", lambda: "another one")
    assert CostCache.open("engine 1").get("sig", "int8") is None


DAMAGED = ["", "{", "[1]", '{"a": "b"}', '{"a": -1}', '{"a": NaN}', "\0", "[" * 100_000, "\ud800"]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_is_a_note(folder: Path, text: str) -> None:
    found = CostCache.open("engine")
    assert found.path is not None
    folder.mkdir()
    found.path.write_text(text, errors="surrogatepass")
    assert found.get("sig", "int8") is None
    assert len(found.notes) == 1
    assert str(found.path) in found.notes[0]
    found.update({("sig", "int8"): 1.0})
    assert json.loads(found.path.read_text()) == {"sig int8": 1.0}


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "a folder"])
def test_a_path_that_cannot_be_read_is_a_note(name: str, tmp_path: Path) -> None:
    (tmp_path / "a folder" / "costs.json").mkdir(parents=True)
    found = CostCache(tmp_path / name / "costs.json")
    assert found.get("sig", "int8") is None
    assert len(found.notes) == 1
    found.update({("sig", "int8"): 1.0})
    assert "not written" in found.notes[-1]


@pytest.mark.parametrize("given", ["", "relative/folder", None])
def test_only_an_absolute_cache_home_counts(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache_folder() == tmp_path / "home" / ".cache" / "qcompiler"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "qcompiler"


def test_a_home_that_is_nowhere_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "relative")
    assert cache_folder() is None


def test_a_folder_that_cannot_be_made_is_a_note(folder: Path) -> None:
    folder.write_text("a file is in the way")
    found = CostCache.open("engine")
    found.update({("sig", "int8"): 1.0})
    assert any("not written" in note for note in found.notes)


def test_the_cache_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "")
    assert cache_folder() is None
    found = CostCache.open("engine")
    found.update({("sig", "int8"): 1.0})
    assert found.get("sig", "int8") is None
    monkeypatch.delenv(cache.VARIABLE)
    default = cache_folder()
    assert default is None or default.name == "qcompiler"


def test_signatures_tell_work_apart_and_not_names(digits_path: Path) -> None:
    program, target = load(digits_path), OnnxRuntime()
    regions = target.regions(program)
    before = [signature(each, {}) for each in regions]
    assert len(set(before)) > 3
    for node in program.graph:
        node.name = f"renamed_{node.name}"
    assert [signature(each, {}) for each in target.regions(program)] == before
    name = regions[0].output.name or ""
    assert signature(regions[0], {name: 7.0}) != before[0]


def test_a_second_compilation_profiles_less(
    folder: Path, digits_path: Path, digits_feeds: list[Feed]
) -> None:
    first = qc.compile(digits_path, calibration=digits_feeds, recipe="fast", budget=20)
    files = list(folder.glob("costs-*.json"))
    assert len(files) == 1
    second = qc.compile(digits_path, calibration=digits_feeds, recipe="fast", budget=20)
    assert any(line.startswith("every region") for line in first.log)
    assert not any(line.startswith("every region") for line in second.log)
    assert any("cost cache" in line for line in second.log)
    files[0].write_text("{ damaged")
    third = qc.compile(digits_path, calibration=digits_feeds, recipe="fast")
    assert any("ignored" in line for line in third.log)
    assert any(line.startswith("every region") for line in third.log)


def test_every_engine_has_a_version() -> None:
    """Times of one version of an engine say nothing about another's kernels."""
    for name in registry.targets():
        kind = registry.find_target(name)
        assert kind.packages, name
        if any(is_installed(package) for package in kind.packages):
            assert kind().engine_version.split()[0] in kind.packages


def is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
