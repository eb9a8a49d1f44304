"""Bytes that are no model, texts that are no UTF-8, and names that nobody would give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from benchmarks.odd.edits import Edit, put
from benchmarks.odd.entry import Entry, base, compiled, model, table
from qcompiler.errors import ModelError, UnreadableModelError

N = helper.make_node
_LEFT = 8
"""Places at which a file is cut off, and at which bytes are put in."""


def entries() -> list[Entry]:
    """All made from one small network; names are legal, however odd."""
    texts = {name: (edit, UnreadableModelError, "UTF-8") for name, edit in _TEXTS.items()}
    return [
        *table("text", texts, _undecodable),
        *table("bytes", _bytes(), lambda content: lambda folder: compiled(content, folder)),
        *table("name", {repr(name)[:24]: (name,) for name in _NAMES}, _named),
    ]


def _undecodable(edit: Edit) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        changed = base()
        edit(changed)
        compiled(changed.SerializeToString().replace(b"QQQQ", b"\xff\xfe\xc0\xaf"), folder)

    return run


def _named(name: str) -> Callable[[Path], Any]:
    """All names of a right model begin with it."""

    def run(folder: Path) -> None:
        x, w, h, y = (name + each for each in "xwhy")
        nodes = [N("MatMul", [x, w], [h], name=name + "n"), N("Relu", [h], [y], name=name + "m")]
        ends = ({x: (1, ["n", 4])}, {y: (1, ["n", 4])})
        weights = {w: np.eye(4, dtype=np.float32)}
        found = compiled(model(nodes, weights, inputs=ends[0], outputs=ends[1]), folder)
        np.testing.assert_array_equal(found.run(np.ones((1, 4), np.float32))[0], np.ones((1, 4)))
        str(found.report)

    return run


_NAMES = (
    "",
    " ",
    "a/b/",
    "../../",
    "a:0/",
    "é重😀",
    "\x1b[31m",
    "\0",
    "\u202e",
    "a\nb",
    "'",
    '"',
    "<b>",
    "n" * 5000,
    "%s",
    "{x}",
    "qcompiler.",
    "0",
    "-",
    "CON",
)


_TEXTS: dict[str, Edit] = {
    "name of a node": put("graph.node[0].name", "QQQQ"),
    "op": put("graph.node[0].op_type", "QQQQ"),
    "domain": put("graph.node[0].domain", "QQQQ"),
    "operand": put("graph.node[0].input[0]", "QQQQ"),
    "result": put("graph.node[0].output[0]", "QQQQ"),
    "input": put("graph.input[0].name", "QQQQ"),
    "output": put("graph.output[0].name", "QQQQ"),
    "weight": put("graph.initializer[0].name", "QQQQ"),
    "graph": put("graph.name", "QQQQ"),
    "producer": put("producer_name", "QQQQ"),
    "documentation": put("doc_string", "QQQQ"),
    "metadata": lambda m: helper.set_model_props(m, {"k": "QQQQ"}),
    "opset": put("opset_import[1].domain", "QQQQ"),
}


def _bytes() -> dict[str, tuple[Any, ...]]:
    good = base().SerializeToString()
    size = len(good)
    rows: dict[str, tuple[Any, ...]] = {
        f"cut off after {at}/{_LEFT}": (good[: size * at // _LEFT], ModelError, "m.onnx")
        for at in range(_LEFT)
    }
    rows |= {
        f"zeros at {at}/{_LEFT}": (
            good[: size * at // _LEFT] + bytes(9) + good[size * at // _LEFT :],
            ModelError,
            "m.onnx",
        )
        for at in range(_LEFT)
    }
    others = {
        "a text": b"hello",
        "a number": b"1",
        "a zip": b"PK\3\4" + bytes(40),
        "a pickle": b"\x80\4N.",
        "an OpenVINO file": b'<?xml version="1.0"?><net/>',
        "JSON": b'{"irVersion": 8}',
        "noise": np.random.default_rng(0).bytes(4000),
        "one field that never ends": b"\x08" + b"\xff" * 40,
        "a length beyond the file": b"\x08\x08\x3a\xff\xff\xff\xff\x07",
        "groups inside groups": b"\x0b" * 5000,
        "graphs inside graphs": b"\x3a\x7f" * 3000,
    }
    return rows | {name: (each, ModelError, "m.onnx") for name, each in others.items()}
