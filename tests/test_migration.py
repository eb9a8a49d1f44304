"""Every call that the page on coming from other tools gives is one of ours, and runs."""

from __future__ import annotations

import ast
import fnmatch
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.ir.text import from_text
from qcompiler.pipeline.registry import engines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "migration.md"
NAMED = """
g (float[4,8] x) => (float[4,8] y) <float[8,8] v, float[8,8] w, float[8] b> {
  [sub] a = MatMul (x, v)
  [name] c = Gemm (a, w, b)
  [a] d = Add (c, x)
  [head] h = MatMul (d, v)
  ["head.it"] e = MatMul (h, v)
  ["glob.it"] y = Add (e, x) }"""


def calls() -> Iterator[str]:
    """What stands in backticks in the right columns and is Python of ours."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) == 4 and not line.startswith("| ---"):
            yield from (each for each in re.findall(r"`([^`]+)`", cells[2]) if _is_ours(each))


def _is_ours(text: str) -> bool:
    return text.startswith(("qc.", "compiled.")) or re.match(r"\w+=", text) is not None


CALLS = sorted(set(calls()))


def tree_of(text: str) -> ast.expr:
    """Options alone are those of `compile`; `budget=` names one without a value."""
    if re.match(r"\w+=", text):
        text = f"qc.compile(m, calibration=feeds, {re.sub('=$', '=...', text)})"
        if text.count("calibration=") > 1:
            text = text.replace("calibration=feeds, ", "", 1)
    return ast.parse(text, mode="eval").body


def _path(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    return [*_path(node.value), node.attr] if isinstance(node, ast.Attribute) else []


def _found(path: list[str]) -> Any:
    start: Any = {"qc": qc, "compiled": qc.Compiled}.get(path[0])
    for each in path[1:] if start is not None else ():
        start = getattr(start, each)
    return start


def test_there_are_calls_to_check() -> None:
    assert len(CALLS) > 30


@pytest.mark.parametrize("text", CALLS)
def test_names_and_options_are_ours(text: str) -> None:
    if "Stub" in text:
        pytest.importorskip("torch")
    check_names(text)


@pytest.mark.parametrize("text", ["qc.compile(m, no_such=1)", "no_such=1", "target='no_such'"])
def test_a_wrong_option_is_found(text: str) -> None:
    with pytest.raises(AssertionError):
        check_names(text)


def check_names(text: str) -> None:
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.Attribute) and _path(node)[:1] in (["qc"], ["compiled"]):
            assert _found(_path(node)) is not None
        if isinstance(node, ast.Call) and (called := _found(_path(node.func) or ["?"])):
            known = inspect.signature(called).parameters
            taken = any(each.kind is each.VAR_KEYWORD for each in known.values())
            given = {each.arg for each in node.keywords if each.arg}
            assert taken or given <= set(known), given - set(known)
        if isinstance(node, ast.keyword) and node.arg == "target":
            assert ast.literal_eval(node.value) in engines()


def _runs(text: str) -> bool:
    tree = tree_of(text)
    called = [_path(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    whole = not any(isinstance(n, ast.Constant) and n.value is ... for n in ast.walk(tree))
    return ["qc", "compile"] in called and whole


@pytest.mark.parametrize("text", [each for each in CALLS if _runs(each)])
def test_a_whole_call_compiles(text: str, tmp_path: Path) -> None:
    """On a network that has the nodes it names; other engines' calls run on ONNX Runtime."""
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((4, 8)).astype(np.float32)} for _ in range(2)]
    asked: dict[str, Any] = {}
    names = {
        "qc": _Compiling(asked, feeds),
        **dict.fromkeys(("m", "module"), from_text(NAMED)),
        **dict.fromkeys(("feeds", "loader"), feeds),
        "transform": dict,
        "validate": lambda run: 0.0,
        "out": tmp_path / "o.onnx",
        "target": "onnxruntime",
    }
    # operators that the network does not have stand for one that it has
    here = re.sub(r"op:(LSTM|Conv|Type)", "op:Gemm", text)
    eval(compile(ast.Expression(tree_of(here)), text, "eval"), names)
    plan = asked["plan"].precisions
    assert set(plan) == {"sub", "name", "a", "head", "head.it", "glob.it"}
    for pattern in asked.get("overrides", {}):
        keys = ["name"] if pattern == "op:Gemm" else fnmatch.filter(plan, pattern)
        keys = ["a", "glob.it"] if pattern == "op:Add" else keys
        if pattern.startswith("re:"):
            keys = [key for key in plan if re.fullmatch(pattern[3:], key)]
        assert keys
        assert {plan[key] for key in keys} == {"float32"}


class _Compiling:
    """`qc`, with the shortest search."""

    def __init__(self, asked: dict[str, Any], feeds: list[Any]) -> None:
        self._asked, self._feeds = asked, feeds

    def __getattr__(self, name: str) -> Any:
        return getattr(qc, name)

    def compile(self, model: Any, target: str = "onnxruntime", *rest: Any, **options: Any) -> Any:
        self._asked.update(options)
        own = {"recipe": "fast", "scheme": "int8"} | options
        if not rest:
            own.setdefault("calibration", self._feeds)
        found = qc.compile(model, "onnxruntime", *rest, **own)
        self._asked["plan"] = found.plan
        return found
