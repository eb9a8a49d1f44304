"""A sample of the bad and odd inputs of which `python -m benchmarks.odd_inputs` runs all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import odd_inputs
from benchmarks.odd.entry import Entry
from benchmarks.odd_inputs import corpus
from qcompiler.errors import ArtifactError, FeedError, QCompilerError

CORPUS = corpus()
_EVERY = 9
"""Coprime to the number of places of a weight, so that each place and each damage is met."""
SAMPLE = [entry for entry in CORPUS if not entry.heavy][::_EVERY]


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len(CORPUS) >= 300
    assert len({entry.name for entry in CORPUS}) == len(CORPUS)
    assert len([entry for entry in CORPUS if "control" in entry.name]) >= 10


@pytest.mark.parametrize("entry", SAMPLE, ids=lambda entry: entry.name)
def test_it_ends_as_expected(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOMPILER_CACHE", "")
    if entry.name.startswith("torch "):
        pytest.importorskip("torch")
    assert entry.failure(tmp_path) is None


def _raising(error: BaseException) -> Entry:
    def run(folder: Path) -> None:
        raise error

    return Entry("e", run, ArtifactError, ("file.onnx",))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("a"), "foreign KeyError"),
        (AssertionError("3 for 4"), "wrong result: 3 for 4"),
        (FeedError("cannot read file.onnx"), "not ArtifactError"),
        (ArtifactError("cannot read it"), "does not name"),
        (ArtifactError("cannot read myfile.onnx2"), "does not name"),
    ],
)
def test_another_end_is_told(error: BaseException, told: str, tmp_path: Path) -> None:
    assert told in str(_raising(error).failure(tmp_path))
    assert _raising(ArtifactError("cannot read file.onnx")).failure(tmp_path) is None


def test_what_is_taken_or_refused_against_expectation_is_told(tmp_path: Path) -> None:
    assert "taken" in str(Entry("e", lambda folder: None, QCompilerError).failure(tmp_path))
    assert "refused" in str(Entry("e", _raising(FeedError("no")).run).failure(tmp_path))


def test_a_child_that_cannot_say_how_it_ended_ends_there_with_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(odd_inputs, "_ended", lambda entry: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        odd_inputs._run(CORPUS[0], -1)
    assert codes == [1]
