"""Small models that ask for much: memory, time, or nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.odd.entry import Entry, compiled, model
from qcompiler.errors import ModelError, QCompilerError

N = helper.make_node
_EYE = np.eye(4, dtype=np.float32)


def entries() -> list[Entry]:
    """Chains that explode, and what is large but can be done."""
    return [
        Entry(f"bomb: {name}", _compiled(build), refused, heavy=True)
        for name, (build, refused) in _BOMBS.items()
    ]


def _compiled(build: Callable[[], onnx.ModelProto]) -> Callable[[Path], Any]:
    return lambda folder: compiled(build(), folder)


def _int64(*values: int) -> TensorProto:
    return helper.make_tensor("", TensorProto.INT64, [len(values)], values)


def _grown(op: str, *operands: TensorProto, **attributes: Any) -> Callable[[], onnx.ModelProto]:
    """One op that makes 2⁴⁰ elements of a few, reduced to one number that is added."""

    def build() -> onnx.ModelProto:
        weights = {f"k{i}": each for i, each in enumerate(operands)}
        for name, each in weights.items():
            each.name = name
        nodes = [
            N(op, list(weights), ["big"], **attributes),
            N("Cast", ["big"], ["float"], to=1),
            N("ReduceMax", ["float"], ["one"], keepdims=0),
            N("MatMul", ["x", "w"], ["h"]),
            N("Add", ["h", "one"], ["y"]),
        ]
        return model(nodes, {"w": _EYE, **weights})

    return build


def _doubling() -> onnx.ModelProto:
    nodes = [N("Concat", [f"b{i}"] * 2, [f"b{i + 1}"], axis=0) for i in range(40)]
    nodes += [N("ReduceMax", ["b40"], ["m"], keepdims=0), N("Add", ["x", "m"], ["y"])]
    return model(nodes, {"b0": np.ones(2, np.float32)})


def _functions(twice: bool) -> Callable[[], onnx.ModelProto]:
    def build() -> onnx.ModelProto:
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        found = [
            helper.make_function("own", "F40", ["a"], ["o"], [N("Relu", ["a"], ["o"])], opsets)
        ]
        for level in range(40):
            called = f"F{level + 1}"
            nodes = [N(called, ["a"], ["t" if twice else "o"], domain="own")]
            nodes += [N(called, ["t"], ["o"], domain="own")] if twice else []
            found.append(helper.make_function("own", f"F{level}", ["a"], ["o"], nodes, opsets))
        return model([N("F0", ["x"], ["y"], domain="own")], functions=tuple(found))

    return build


def _wide(op: str) -> Callable[[], onnx.ModelProto]:
    def build() -> onnx.ModelProto:
        many = 100_000
        if op == "Split":
            names = [f"s{i}" for i in range(many)]
            node = N("Split", ["x"], names, axis=0, num_outputs=many)
            nodes = [node, N("MatMul", ["s0", "w"], ["y"])]
            return model(nodes, {"w": _EYE}, inputs={"x": (1, [many, 4])})
        if op == "Concat":
            nodes = [N("Concat", ["x"] * many, ["c"], axis=0), N("MatMul", ["c", "w"], ["y"])]
            return model(nodes, {"w": _EYE})
        node = N("Constant", [], ["k"], value_floats=[1.0] * 1_000_000)
        last = [N("ReduceMax", ["k"], ["m"], keepdims=0), N("Add", ["x", "m"], ["y"])]
        return model([node, *last])

    return build


_HUGE = 2**20
_BOMBS: dict[str, tuple[Callable[[], onnx.ModelProto], type[QCompilerError] | None]] = {
    "a chain of Concats that doubles": (_doubling, QCompilerError),
    "functions that call twice": (_functions(True), ModelError),
    "functions that call once (control)": (_functions(False), None),
    "ConstantOfShape": (_grown("ConstantOfShape", _int64(_HUGE, _HUGE)), QCompilerError),
    "Expand": (_grown("Expand", _int64(1), _int64(_HUGE, _HUGE)), QCompilerError),
    "Tile": (_grown("Tile", _int64(1), _int64(2**40)), QCompilerError),
    "Range": (
        _grown("Range", *(helper.make_tensor("", 7, [], [v]) for v in (0, 2**40, 1))),
        QCompilerError,
    ),
    "Pad": (_grown("Pad", _int64(1), _int64(0, 2**40)), QCompilerError),
    "OneHot": (
        _grown(
            "OneHot", _int64(*range(1000)), helper.make_tensor("", 7, [], [2**32]), _int64(0, 1)
        ),
        QCompilerError,
    ),
    "Split into 100 000": (_wide("Split"), None),
    "Concat of 100 000": (_wide("Concat"), None),
    "an attribute of a million numbers": (_wide("Constant"), None),
}
