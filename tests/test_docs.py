"""Every ```python block of the documentation runs, in order, one namespace per file.

A block whose info string says `no-run: REASON` is only compiled; one that says `needs: MODULE`
runs where the extra with that module is installed, and where it is not, the test is skipped with
the reason after the other blocks ran. Blocks see what a reader has at hand: what `qcompiler demo`
writes, model.onnx and data.npz, in the working folder, and the names `model` and `feeds`. Lines of
shell blocks that begin with `qcompiler` run as well, in order, one folder per file.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from typer.testing import CliRunner

from qcompiler.cli import app
from qcompiler.config import RECIPES
from qcompiler.demo.digits import Batch
from qcompiler.demo.run import write_files
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.registry import PASSES

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```\s*$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?P<path>[^)#\s]+)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: The first word of the info string.
        skipped: Why it is never run, or None.
        needs: The module of an extra that it takes, or None.
        line: Its first line in the document.
        text: What is in it.
    """

    language: str
    skipped: str | None
    line: int
    text: str
    needs: str | None = None

    @property
    def absent(self) -> bool:
        """Whether the extra that it takes is not installed."""
        return self.needs is not None and importlib.util.find_spec(self.needs) is None


def blocks(markdown: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(markdown):
        language, _, rest = match["info"].strip().partition(" ")
        skipped = rest.partition("no-run")[2].lstrip(": ").strip() if "no-run" in rest else None
        needs = re.search(r"needs: (\w+)", rest)
        line = markdown.count("\n", 0, match.start("body")) + 1
        found.append(Block(language, skipped, line, match["body"], needs and needs[1]))
    return found


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def python_blocks(path: Path) -> list[Block]:
    return [b for b in blocks(path.read_text(encoding="utf-8")) if b.language == "python"]


def compiled_block(path: Path, block: Block) -> CodeType:
    """The code object, with the line numbers of the document for its errors."""
    tree = ast.increment_lineno(ast.parse(block.text), block.line - 1)
    return compile(tree, str(path), "exec", dont_inherit=True)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_feeds: list[dict[str, Batch]]
) -> dict[str, object]:
    """The namespace and working folder that a reader of the documents has."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    module = ModuleType("reader_of_the_documents")  # classes look their own module up
    monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(module).update(model="model.onnx", feeds=digits_feeds)
    monkeypatch.setattr(PASSES, "_session", {})  # what a page registers is gone behind it
    return vars(module)


def test_the_page_of_options_counts_the_passes_of_every_recipe() -> None:
    """They were three and ten there when they had become five and twelve."""
    words = "none one two three four five six seven eight nine ten eleven twelve thirteen".split()
    lines = (ROOT / "docs" / "options.md").read_text(encoding="utf-8").splitlines()
    for name, recipe in RECIPES.items():
        (row,) = [line.split(" | ") for line in lines if line.startswith(f"| `{name}` |")]
        gains = [Variant(text).accuracy.gains for text in recipe.variants]
        assert row[3].startswith(words[gains.count("loss")])
        rewrites = gains.count("latency")
        assert f"{words[rewrites]} rewrite" in row[3] or not rewrites


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_python_blocks_run(path: Path, reader: dict[str, object]) -> None:
    run_blocks(path, python_blocks(path), reader)


def run_blocks(path: Path, found: list[Block], namespace: dict[str, object]) -> None:
    """Runs the blocks in order; skips, with the reason, once all that can run here did."""
    for block in found:
        code = compiled_block(path, block)
        if block.skipped is None and not block.absent:
            exec(code, namespace)
    absent = {f"line {b.line} needs {b.needs}, which is not installed" for b in found if b.absent}
    if absent:
        pytest.skip(f"{name_of(path)}: {'; '.join(sorted(absent))}")


def commands(path: Path) -> list[list[str]]:
    """The words of every `qcompiler` line in a shell block of a page."""
    shells = [b for b in blocks(path.read_text(encoding="utf-8")) if b.language == "sh"]
    lines = [line for block in shells for line in block.text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("qcompiler ")]


@pytest.mark.parametrize("path", [p for p in documents() if commands(p)], ids=name_of)
def test_commands_run(path: Path, reader: dict[str, object]) -> None:
    for words in commands(path):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{shlex.join(words)}: {done.output} {done.exception!r}"


def test_commands_are_found() -> None:
    assert ["demo", "-o", "demo"] in commands(ROOT / "docs" / "install.md")
    assert len(commands(ROOT / "docs" / "cli.md")) > 10


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_a_block_that_is_not_run_says_why(path: Path) -> None:
    silent = [b.line for b in python_blocks(path) if b.skipped is not None and len(b.skipped) < 10]
    assert silent == []


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_links_lead_to_files(path: Path) -> None:
    targets = [match["path"] for match in LINK.finditer(path.read_text(encoding="utf-8"))]
    assert [t for t in targets if not (path.parent / t).exists()] == []


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_shows_the_two_commands(command: str) -> None:
    shown = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert any(command in block.text for block in shown if block.language in {"sh", "console"})


def test_readme_has_an_example_that_runs() -> None:
    runnable = [b for b in python_blocks(ROOT / "README.md") if b.skipped is None]
    assert any("qc.compile(" in block.text for block in runnable)


@pytest.mark.parametrize("word", ["TODO", "TBD", "FIXME", "lorem"])
@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_nothing_is_left_to_be_written(path: Path, word: str) -> None:
    assert not re.search(rf"\b{word}\b", path.read_text(encoding="utf-8"), re.IGNORECASE)


def test_make_targets_that_are_named_exist() -> None:
    rules = re.findall(
        r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    texts = [path.read_text(encoding="utf-8") for path in documents()]
    named = {n for text in texts for n in re.findall(r"`make ([a-z][\w-]*)", text)}
    assert named <= set(rules)


SAMPLE = """
```python
x = 1
```
```python no-run: needs a GPU that is not here
y = 2
```
```sh
z
```
```python needs: no_such_module
raise RuntimeError
```
"""


def test_blocks_are_found_with_their_lines() -> None:
    first, second, third, fourth = blocks(SAMPLE)
    assert (first.language, first.skipped, first.line, first.text) == ("python", None, 3, "x = 1\n")
    assert second.skipped == "needs a GPU that is not here"
    assert third.language == "sh"
    assert (fourth.needs, fourth.absent) == ("no_such_module", True)


def test_a_block_without_its_extra_is_skipped_with_the_reason() -> None:
    found = [block for block in blocks(SAMPLE) if block.language == "python"]
    namespace: dict[str, object] = {}
    with pytest.raises(pytest.skip.Exception, match="needs no_such_module, which is not installed"):
        run_blocks(ROOT / "made-up.md", found, namespace)
    assert namespace["x"] == 1


def test_a_block_with_its_extra_runs() -> None:
    block = Block("python", None, 1, "raise KeyError\n", needs="json")
    with pytest.raises(KeyError):
        run_blocks(ROOT / "made-up.md", [block], {})


def test_a_failing_block_fails_with_the_line_of_the_document() -> None:
    block = Block("python", None, 41, "a = 1\nraise KeyError\n")
    with pytest.raises(KeyError) as caught:
        exec(compiled_block(Path("made-up.md"), block), {})
    assert caught.traceback[-1].lineno + 1 == 42


def test_a_block_that_is_no_python_does_not_compile() -> None:
    with pytest.raises(SyntaxError):
        compiled_block(Path("made-up.md"), Block("python", "only compiled", 1, "a ="))
