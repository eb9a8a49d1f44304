"""Imports go one way, and `import qcompiler` stays light (DESIGN: layout).

The rules are tables; `violations` applies them to one module's source text, so that the controls at
the end can feed it made-up modules.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"qcompiler": "qcompiler", "passes": "qcompiler.passes", "backends": "qcompiler.backends"}
LAYERS = (
    "version", "printable", "strict_json", "markup", "errors", "files", "quantization", "ir",
    "statistics", "frontends", "target", "decisions", "config", "config_file", "execution",
    "qtensor", "lowering", "pipeline", "calibration", "outputs", "measurement", "choices",
    "search", "report",
    "passes", "backends", "outcome", "debug", "compiled", "artifacts", "compile", "lint", "compare",
    "why", "qat", "distill", "points", "artifact_check", "bench", "testing", "demo", "cli",
    "__main__",
)  # fmt: skip
TYPE_ONLY_UPWARD = {
    ("qcompiler.errors", "qcompiler.ir.diagnostics"),
    ("qcompiler.ir.program", "qcompiler.decisions.absorbed"),  # what its source decided
    ("qcompiler.ir.program", "qcompiler.decisions.placement"),  # a program carries its decisions
    ("qcompiler.ir.program", "qcompiler.statistics.statistic"),  # and what was seen of its values
}
# These modules are imported only when a torch source or engine is used.
TORCH_AT_TOP = (
    "qcompiler.frontends.torch*",
    "qcompiler.execution.torch*",
    "qcompiler.lowering.torch_fx.*",
    "qcompiler.lowering.qat.*",
    "qcompiler.qat",
    "qcompiler.distill",
    "qcompiler.points",
    "qcompiler.backends.torch*",
    "qcompiler.backends.executorch.delegation",
    "qcompiler.backends.executorch.graph",
    "qcompiler.backends.executorch.partitioned",
    "qcompiler.backends.executorch.sizes",
)
NETWORKX = (
    "qcompiler.ir.*",
    "qcompiler.choices.*",
    "qcompiler.measurement.*",
    "qcompiler.decisions.scale_groups",
)
# One class per quantized engine of torch: thin files over a shared folder.
TORCH_FAMILY = {"fbgemm", "onednn", "qnnpack", "x86", "torch_engines"}
CONCRETE = ("qcompiler.passes.", "qcompiler.backends.")
BANNED_NAMES = {"utils", "util", "helpers", "helper", "misc", "common"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


@dataclass(frozen=True)
class Import:
    """One imported module: its name, its line, and the conditions it is imported under."""

    name: str
    line: int
    type_only: bool
    at_top: bool


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_in(tree: ast.AST, *, type_only: bool = False, at_top: bool = True) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(a.name, node.lineno, type_only, at_top) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = (base if node.module is None else f"{base}.{a.name}" for a in node.names)
            yield from (Import(name, node.lineno, type_only, at_top) for name in names)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports_in(
                node,
                type_only=type_only or is_type_checking(node),
                at_top=at_top and not inside,
            )


def layer_of(module: str) -> int | None:
    """Rank of a module of qcompiler; the package itself is the highest."""
    parts = module.split(".")
    if parts[0] != "qcompiler":
        return None
    if len(parts) == 1 or parts[1] not in LAYERS:
        return len(LAYERS)
    return LAYERS.index(parts[1])


def matches(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns)


def backend_of(module: str) -> str | None:
    """Which target a module belongs to: the file or folder under `backends`."""
    parts = module.split(".")
    if parts[:2] != ["qcompiler", "backends"] or len(parts) < 3:
        return None
    return "torch_engines" if parts[2] in TORCH_FAMILY else parts[2]


def judge_backends(module: str, item: Import) -> Iterator[str]:
    own, other = backend_of(module), backend_of(item.name)
    if own is not None and other is not None and own != other:
        yield f"imports {item.name}: a backend knows no other, move down what they share"


def judge_import(module: str, item: Import) -> Iterator[str]:
    own, other = layer_of(module), layer_of(item.name)
    assert own is not None
    if item.name.startswith("."):
        yield "relative import: write the whole name"
    if other is not None and other > own:
        allowed = item.type_only and any(
            module == m and item.name.startswith(n) for m, n in TYPE_ONLY_UPWARD
        )
        if not allowed:
            yield f"imports {item.name}, which is above it"
    if own not in map(LAYERS.index, ("passes", "backends")) and item.name.startswith(CONCRETE):
        yield f"imports the concrete {item.name}: go through the registry"
    root = item.name.split(".")[0]
    late = item.type_only or not item.at_top
    if root in {"torch", "torchvision"} and not late and not matches(module, TORCH_AT_TOP):
        yield "imports torch at the top"
    if root == "networkx" and not matches(module, NETWORKX):
        yield "imports networkx: ask qcompiler.ir instead"


def docstrings(tree: ast.AST) -> set[int]:
    """Ids of the constants that are docstrings: they may name anything."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def judge_text(module: str, tree: ast.AST) -> Iterator[str]:
    skip = docstrings(tree)
    concrete_allowed = module.startswith(("qcompiler.passes", "qcompiler.backends"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch.ao"):
            yield f"line {node.lineno}: uses torch.ao"
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) not in skip and "torch.ao" in node.value:
            yield f"line {node.lineno}: names torch.ao"
        if id(node) not in skip and node.value.startswith(CONCRETE) and not concrete_allowed:
            yield f"line {node.lineno}: names the concrete {node.value!r}"


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the docstring, which do not count: a public call may explain every argument."""
    first = node.body[0]
    return (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) else 0


def judge_sizes(source: str, tree: ast.AST) -> Iterator[str]:
    if (lines := source.count("\n")) > MAX_FILE_LINES:
        yield f"{lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines(node)
            if length > MAX_FUNCTION_LINES:
                yield f"{node.name} has {length} lines"


def violations(module: str, source: str) -> list[str]:
    tree = ast.parse(source)
    found = [*judge_text(module, tree), *judge_sizes(source, tree)]
    for item in imports_in(tree):
        for judge in (judge_import, judge_backends):
            found += [f"line {item.line}: {text}" for text in judge(module, item)]
        if item.name.startswith("torch.ao"):
            found.append(f"line {item.line}: imports torch.ao")
    if set(module.split(".")) & BANNED_NAMES:
        found.append("its name says nothing")
    return found


def modules() -> dict[str, Path]:
    """Every module by its real name; the links inside qcompiler/ are not followed."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT / folder)
            if folder == "qcompiler" and relative.parts[0] in {"passes", "backends"}:
                continue
            parts = [package, *relative.with_suffix("").parts]
            found[".".join(p for p in parts if p != "__init__")] = path
    return found


@pytest.mark.parametrize("module", modules())
def test_module_keeps_the_rules(module: str) -> None:
    assert violations(module, modules()[module].read_text(encoding="utf-8")) == []


def test_every_layer_of_the_tree_has_a_rank() -> None:
    present = {name.split(".")[1] for name in modules() if name.count(".") >= 1}
    assert present <= set(LAYERS)


@pytest.mark.parametrize("name", ["qcompiler", "qcompiler.passes", "qcompiler.backends"])
def test_import_leaves_torch_out(name: str, tmp_path: Path) -> None:
    code = (
        f"import sys, {name}; print(sorted(m for m in sys.modules if m.split('.')[0] == 'torch'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.strip() == "[]"


BAD = {
    "upward": ("qcompiler.ir.bad", "from qcompiler.pipeline.contract import Pass"),
    "upward, in a function": ("qcompiler.ir.bad", "def f():\n    import qcompiler.report"),
    "upward, type only": (
        "qcompiler.quantization.bad",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from qcompiler.ir import x",
    ),
    "the package from below": ("qcompiler.ir.bad", "import qcompiler"),
    "concrete pass": ("qcompiler.compile", "from qcompiler.passes.fold_qdq import FoldQdq"),
    "another backend": (
        "qcompiler.backends.openvino.bad",
        "def f():\n    from qcompiler.backends.tensorrt.gate import Gate",
    ),
    "concrete target, as text": ("qcompiler.cli.app", "NAME = 'qcompiler.backends.fbgemm:Fbgemm'"),
    "torch at the top": ("qcompiler.ir.bad", "import torch"),
    "torch in try": ("qcompiler.ir.bad", "try:\n    import torch\nexcept ImportError:\n    x = 1"),
    "torch.ao": ("qcompiler.frontends.torch", "from torch.ao import quantization"),
    "torch.ao attribute": ("qcompiler.frontends.torch", "def f(torch):\n    torch.ao.quantization"),
    "networkx": ("qcompiler.passes.bad", "import networkx as nx"),
    "relative": ("qcompiler.passes.bad", "from . import other"),
    "name": ("qcompiler.ir.utils", ""),
    "long file": ("qcompiler.ir.bad", "x = 1\n" * (MAX_FILE_LINES + 1)),
    "long function": ("qcompiler.ir.bad", "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
}  # fmt: skip
GOOD = {
    "lower": ("qcompiler.passes.good", "from qcompiler.ir.program import Program"),
    "lazy torch": ("qcompiler.ir.good", "def f():\n    import torch"),
    "torch front end": ("qcompiler.frontends.torch", "import torch"),
    "a pass names a pass": ("qcompiler.passes.good", "from qcompiler.passes.x import X"),
    "a backend names itself": (
        "qcompiler.backends.fbgemm",
        "from qcompiler.backends.torch_engines.engine import Engine",
    ),
    "long docstring": ("qcompiler.ir.good", 'def f():\n    """A' + "\n" * 80 + '    """\n'),
    "docstring": ("qcompiler.cli", '"""Never torch.ao."""'),
}


@pytest.mark.parametrize("case", BAD)
def test_checker_flags_a_bad_module(case: str) -> None:
    assert len(violations(*BAD[case])) >= 1


@pytest.mark.parametrize("case", GOOD)
def test_checker_lets_a_good_module_through(case: str) -> None:
    assert violations(*GOOD[case]) == []
