"""Errors fit a screen, and those that a user meets say what to do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import qcompiler.errors
from qcompiler.errors import ConfigurationError, LegalityError, QCompilerError, first_line
from qcompiler.ir.diagnostics import Diagnostic, Severity

NAMES = {
    name
    for name, each in vars(qcompiler.errors).items()
    if isinstance(each, type) and issubclass(each, QCompilerError)
}
INSIDE = (
    "qcompiler/decisions/placement.py", "qcompiler/decisions/rerounding.py",
    "qcompiler/decisions/roundings.py", "qcompiler/execution/integer", "qcompiler/quantization",
    "qcompiler/execution/timing.py", "qcompiler/execution/torch_source.py",
    "qcompiler/ir/requests.py", "qcompiler/ir/sizes.py", "qcompiler/ir/text.py",
    "qcompiler/ir/verifier.py", "qcompiler/lowering/torch_fx", "qcompiler/pipeline/instruments.py",
    "qcompiler/pipeline/pipeline.py", "qcompiler/report", "qcompiler/statistics",
    "qcompiler/target/arithmetic.py", "qcompiler/target/capability.py", "passes/equalization",
    "backends/onnxruntime/passes/dynamic_lstm.py",
)  # fmt: skip
"""What only other parts of the project call, or what catches its own errors."""


def _paths(root: Path) -> Iterator[Path]:
    """Source files below a root, each once."""
    for folder in ("qcompiler", "passes", "backends"):
        yield from (path for path in sorted((root / folder).rglob("*.py")) if not path.is_symlink())


def _without_a_fix(root: Path) -> Iterator[str]:
    for path in _paths(root):
        place = path.relative_to(root).as_posix()
        if place.startswith(INSIDE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            told = {each.arg for each in node.keywords} & {"fix", None}
            if node.func.id in NAMES and not told:
                yield f"{place}:{node.lineno}"


def test_what_a_user_may_meet_says_what_to_do(root: Path) -> None:
    assert list(_without_a_fix(root)) == []


def test_an_error_without_is_found(tmp_path: Path) -> None:
    """Negative control."""
    (tmp_path / "qcompiler").mkdir()
    told = 'def f(x):\n    raise FeedError("no")\ndef g(x):\n    raise FeedError("no", fix="yes")\n'
    (tmp_path / "qcompiler" / "a.py").write_text(told)
    assert list(_without_a_fix(tmp_path)) == ["qcompiler/a.py:2"]


@pytest.mark.parametrize("text", ["x" * 100_000, "line\n" * 5000])
def test_what_is_printed_of_a_value_fits_a_screen(text: str) -> None:
    told = str(ConfigurationError(f"begin {text} end", why=text, fix="do this"))
    assert told.startswith("begin")
    assert "end" in told
    assert told.endswith("to fix: do this")
    assert len(told.splitlines()) < 40
    assert len(told) < 4000


def test_findings_of_an_error_are_counted() -> None:
    found = [Diagnostic(Severity.INFO, "form", f"number {i}") for i in range(500)]
    told = str(LegalityError("none is legal", found))
    assert "number 0" in told
    assert told.endswith("and 488 more")
    assert "more" not in str(LegalityError("none is legal", found[:12]))


@pytest.mark.parametrize(
    ("said", "told"),
    [("", "ValueError"), (" \n\n", "ValueError"), ("\n why \nwhere", "why"), ("why", "why")],
)
def test_a_foreign_error_has_a_first_line_even_if_it_says_nothing(said: str, told: str) -> None:
    assert first_line(ValueError(said)) == told


def test_nobody_takes_the_first_of_no_lines(root: Path) -> None:
    """`str(error).splitlines()[0]` of an error without text ends a compilation."""
    found = [path for path in _paths(root) if "splitlines()[0]" in path.read_text("utf-8")]
    assert found == []
