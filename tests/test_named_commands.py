"""Every command that a page, or a benchmark's docstring, names: run elsewhere, or read here.

Lines of shell blocks that begin with `qcompiler` run in tests/test_docs.py. Benchmarks take
minutes, models and quiet machines: their options are held against their parsers. `pip install` runs
in `make test-matrix`, and `make` runs this.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from qcompiler.cli import app

ROOT = Path(__file__).resolve().parent.parent
HEADS = ("python -m benchmarks.", "qcompiler ", "pip install ", "make ", ".venv/bin/python -m ")
NOT_RUN = {
    "pip install": "make test-matrix does, into environments of their own",
    "make": "it runs the suite; that the targets exist is tested in test_docs.py",
    "pre-commit install": "it changes the checkout's hooks",
    "mkdocs": "make docs runs it",
}
FOR_WORDS = {
    "FOLDER": ".", "OUT": ".", "FILE": "out.json", "VENV/bin/python": "python", "SECONDS": "1",
    "COUNT": "1", "N": "1", "WORD": "conv", "SET": "none", "NAME": "ort_u8", "NAMES": "minilm_l6",
    "MODEL": "m.onnx", "DATA.npz": "d.npz", "TEXT": "dead-code", "NODE": "n", "COMMAND": "compile",
    "OTHER": "openvino", "ARTIFACT": "a.onnx", "CLASS": "wrong", "m.onnx": "m.onnx",
}  # fmt: skip
"""What stands for the words that a reader replaces."""


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def named(markdown: str) -> Iterator[str]:
    """Commands in shell blocks and between backquotes."""
    for block in re.findall(r"^```sh\n(.*?)^```", markdown, re.DOTALL | re.MULTILINE):
        yield from (line.partition("#")[0].strip() for line in block.splitlines() if line.strip())
    for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", markdown):
        if code.startswith(HEADS) or code in NOT_RUN:
            yield code


def benchmarks() -> list[Path]:
    files = sorted((ROOT / "benchmarks").glob("*.py"))
    return [path for path in files if "__main__" in path.read_text(encoding="utf-8")]


def lines_of(path: Path) -> list[str]:
    """The commands in a benchmark's docstring."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    quoted = re.findall(r"`(python -m benchmarks\.[^`]+)`", doc)
    shown = [line.strip() for line in doc.splitlines() if line.strip().startswith("python -m ")]
    return [*quoted, *shown]


def words_of(command: str) -> list[str]:
    """The words behind the module's name, what may be left out included, with values for names."""
    text = re.sub(r"\{\w+=\w+\}", "", command).replace("[", " ").replace("]", " ")
    words = [word.removesuffix("...").partition("|")[0] for word in shlex.split(text)]
    return [FOR_WORDS.get(word, word) for word in words if word]


class _Read(Exception):
    """The options were read, and nothing else has to be done."""


@pytest.fixture
def only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *given: Any, **more: Any) -> argparse.Namespace:
        read(self, *given, **more)
        raise _Read

    monkeypatch.setattr(argparse.ArgumentParser, read.__name__, stop)


def parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a benchmark read its options.

    Raises:
        SystemExit: It has no such options.
        ModuleNotFoundError: It needs something that is not installed.
    """
    _, _, module, *words = words_of(command)
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(_Read):
        importlib.import_module(module).main()


COMMANDS = sorted(
    {
        command
        for found in (
            *(named(path.read_text(encoding="utf-8")) for path in documents()),
            *map(lines_of, benchmarks()),
        )
        for command in found
    }
)
OF_BENCHMARKS = [c for c in COMMANDS if c.startswith("python -m benchmarks.") and ".NAME" not in c]


@pytest.mark.parametrize("command", OF_BENCHMARKS)
@pytest.mark.usefixtures("only_read")
def test_benchmarks_have_the_options_that_are_named(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        parse(command, monkeypatch)
    except ModuleNotFoundError as error:
        pytest.skip(f"{command} needs {error.name}, which is not installed")


@pytest.mark.usefixtures("only_read")
def test_an_option_that_is_not_there_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        parse("python -m benchmarks.startup --rums 20", monkeypatch)


@pytest.mark.parametrize("path", benchmarks(), ids=lambda path: path.stem)
def test_every_benchmark_says_how_it_is_run(path: Path) -> None:
    """`nncf_worker` is started by `openvino_nncf`, in another environment."""
    assert path.stem == "nncf_worker" or lines_of(path)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("qcompiler ")])
def test_the_command_line_has_what_is_named(command: str) -> None:
    read(words_of(command)[1:])


def read(words: Sequence[str]) -> None:
    """Looks the commands and options up."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and (commands := getattr(command, "commands", None)) and rest[0][0] != "-":
        assert rest[0] in commands
        command = commands[rest.pop(0)]
    options = {name for each in command.params for name in each.opts} | {"--help", "-h"}
    assert {word for word in rest if re.match(r"--?[a-z]", word)} <= options


@pytest.mark.parametrize(
    "words", [["compil"], ["inspect", "m.onnx", "--wy", "n"], ["plan", "shw", "p.json"]]
)
def test_a_word_that_is_not_there_is_noticed(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        read(words)


def test_extras_that_are_named_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {
        extra
        for command in COMMANDS
        if command.startswith("pip install")
        for group in re.findall(r"\[([\w,-]+)\]", command)
        for extra in group.split(",")
    }
    assert {"torch", "openvino"} <= found <= set(project["optional-dependencies"])


def test_no_other_kind_of_command_is_named() -> None:
    """What no test runs or reads has its reason above."""
    heads = (*(head.strip() for head in HEADS), *NOT_RUN)
    assert [c for c in COMMANDS if not c.startswith(heads)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "chain --nodes 200",
        "odd_inputs --list",
        "fuzz_import --minutes 0.02",
        "random_graphs --count 1 --targets onnxruntime --schemes int8",
        "peer_structures conv",
    ],
)
def test_a_small_run(command: str) -> None:
    """Others take a minute at least, a zoo, or an environment of their own."""
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(f"benchmarks.{command}")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
