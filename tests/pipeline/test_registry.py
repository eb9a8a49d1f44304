"""Names, duplicates, wrong entries, listings."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from qcompiler.errors import RegistryError
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline import registry
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.pipeline.entries import Entry
from qcompiler.pipeline.registry import Registry


@dataclass(frozen=True)
class Mine(Pass):
    """First line.

    Second.
    """

    name = "toy-mine"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        return Outcome()


@dataclass(frozen=True)
class Taken(Mine):
    """Has a built-in name."""

    name = "dead-code"


class _Fixed(Registry[Pass]):
    """A registry with given entries in place of installed ones."""

    def __init__(self, *entries: Entry) -> None:
        super().__init__("pass", "qcompiler.passes", Pass)  # type: ignore[type-abstract]
        self._entries = {entry.name: entry for entry in entries}


def test_session_classes_are_found_listed_and_forgotten() -> None:
    registry.register_pass(Mine)
    try:
        assert registry.find_pass("toy-mine") is Mine
        assert registry.passes()["toy-mine"] == "First line."
        registry.register_pass(Mine)
    finally:
        registry.PASSES.forget("toy-mine")
    with pytest.raises(RegistryError):
        registry.find_pass("toy-mine")


def test_a_session_class_cannot_take_a_registered_name() -> None:
    with pytest.raises(RegistryError, match="registered twice") as caught:
        registry.register_pass(Taken)
    assert "this session" in str(caught.value)
    assert "qcompiler.passes.dead_code:DeadCode" in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("no_such_module:X", "No module named"),
        ("qcompiler.pipeline.contract:Nothing", "Nothing"),
        ("pathlib:Path", "is no qcompiler.pipeline.contract.Pass"),
        ("qcompiler.pipeline.combinators:Sequential", "wrong name"),
    ],
)
def test_wrong_entries(reference: str, words: str) -> None:
    broken = _Fixed(Entry("odd", reference, "somebody 1.0"))
    with pytest.raises(RegistryError, match=r"somebody 1\.0") as caught:
        broken.find("odd")
    assert words in str(caught.value)
    assert list(broken.summaries()) == ["odd"]


@pytest.mark.parametrize("name", registry.PASSES.names())
def test_every_built_in_pass_loads_and_has_a_line(name: str) -> None:
    cls = registry.find_pass(name)
    assert cls.name == name
    doc = (cls.__doc__ or "").strip().splitlines()[0]
    assert registry.passes()[name] == doc


def test_listing_imports_no_pass(root: Path) -> None:
    code = (
        "import sys\n"
        "from qcompiler.pipeline import registry\n"
        "registry.passes()\n"
        "print([n for n in sys.modules if n.startswith('qcompiler.passes.calibrate')])\n"
        "print('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "False"]
