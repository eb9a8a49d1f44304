"""Legal models and values that are rare: right results, or an error that says what is lacking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import qcompiler as qc
from benchmarks.odd.entry import Entry, Feed, base, check_right, feeds, model
from qcompiler.errors import CalibrationError, ModelError, QCompilerError

N = helper.make_node
_F = np.float32
_EYE = np.eye(4, dtype=_F)
SCHEMES = ("int8", "auto")


def entries() -> list[Entry]:
    """Weights, element types, ranks, chains that explode."""
    found = [
        Entry(f"weights of {name}, {scheme}", _of_weight(value, scheme))
        for name, value in _WEIGHTS.items()
        for scheme in ("dynamic", "auto")
    ]
    found += [
        Entry(f"{name}, {scheme}", _of(build, scheme))
        for name, build in _MODELS.items()
        for scheme in SCHEMES
    ]
    found += [
        Entry(f"samples: {name}", _calibrated(given), refused, tuple(words))
        for name, (given, refused, *words) in _SAMPLES.items()
    ]
    return found + [
        Entry(f"bomb: {name}", _loaded(build), refused, heavy=True)
        for name, (build, refused) in _BOMBS.items()
    ]


def _of_weight(value: float | np.floating[Any], scheme: str) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        weight = np.random.default_rng(0).standard_normal((4, 4)).astype(_F)
        weight[1, 2] = value
        source = model([N("MatMul", ["x", "w"], ["y"], name="product")], {"w": weight})
        check_right(source, feeds(), folder, scheme)

    return run


_WEIGHTS = {
    "one zero": 0.0,
    "one denormal": 1e-42,
    "one tiny": 1e-30,
    "one minus zero": -0.0,
    "one large": 100.0,
}


def _of(
    build: Callable[[], tuple[onnx.ModelProto, list[Feed]]], scheme: str
) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        source, given = build()
        try:
            check_right(source, given, folder, scheme)
        except qc.errors.LegalityError:
            if scheme != "int8":  # which may have nothing to work on
                raise

    return run


def _chance(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).standard_normal(shape).astype(_F)


def _element(kind: int) -> Callable[[], tuple[onnx.ModelProto, list[Feed]]]:
    """A product whose operand comes in another element type."""

    def build() -> tuple[onnx.ModelProto, list[Feed]]:
        nodes = [N("Cast", ["x"], ["f"], to=1), N("MatMul", ["f", "w"], ["y"])]
        source = model(nodes, {"w": _EYE}, inputs={"x": (kind, ["n", 4])})
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        return source, [{"x": np.arange(8).reshape(2, 4).astype(dtype)}] * 2

    return build


def _rank(count: int) -> Callable[[], tuple[onnx.ModelProto, list[Feed]]]:
    def build() -> tuple[onnx.ModelProto, list[Feed]]:
        shape = (1,) * (count - 2) + (2, 4) if count > 1 else (4,)[: count or None]
        nodes = [N("MatMul", ["x", "w"], ["y"])]
        ends = {"x": (1, shape)}
        return model(nodes, {"w": _EYE}, inputs=ends, outputs={"y": (1, shape)}), feeds(2, shape)

    return build


def _sized(rows: int, inner: int, columns: int) -> Callable[[], tuple[onnx.ModelProto, list[Feed]]]:
    """Products with sizes of zero and one."""

    def build() -> tuple[onnx.ModelProto, list[Feed]]:
        ends = ({"x": (1, [rows, inner])}, {"y": (1, [rows, columns])})
        nodes = [N("MatMul", ["x", "w"], ["y"])]
        source = model(nodes, {"w": _chance(inner, columns)}, inputs=ends[0], outputs=ends[1])
        return source, feeds(2, (rows, inner))

    return build


def _op(op: str, **attributes: Any) -> Callable[[], tuple[onnx.ModelProto, list[Feed]]]:
    """An op between two products."""

    def build() -> tuple[onnx.ModelProto, list[Feed]]:
        nodes = [
            N("MatMul", ["x", "w"], ["h"]),
            N(op, ["h"], ["o"], **attributes),
            N("MatMul", ["o", "w"], ["y"]),
        ]
        return model(nodes, {"w": _chance(4, 4)}, opset=21), feeds()

    return build


def _control() -> tuple[onnx.ModelProto, list[Feed]]:
    return base(), feeds()


def _opset(number: int) -> Callable[[], tuple[onnx.ModelProto, list[Feed]]]:
    def build() -> tuple[onnx.ModelProto, list[Feed]]:
        source = base()
        source.opset_import[0].version = number
        return source, feeds()

    return build


_MODELS: dict[str, Callable[[], tuple[onnx.ModelProto, list[Feed]]]] = {
    "nothing odd (control)": _control,
    **{
        f"input of {TensorProto.DataType.Name(kind)}": _element(kind)
        for kind in (2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)
    },
    **{f"rank {count}": _rank(count) for count in (1, 2, 5, 8)},
    **{
        f"product of {s}": _sized(*s)
        for s in ((1, 1, 1), (0, 4, 4), (2, 4, 0), (2, 0, 4), (3, 4, 1), (1, 4, 7))
    },
    **{
        f"{op} between products": _op(op)
        for op in (
            "Identity",
            "Neg",
            "Abs",
            "Softmax",
            "HardSwish",
            "Erf",
            "Sign",
            "Floor",
            "Tanh",
            "Elu",
            "Selu",
            "Softplus",
            "Mish",
        )
    },
    **{f"opset {number} compiled": _opset(number) for number in (7, 9, 11, 13, 23)},
}


def _calibrated(given: Callable[[], Any]) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        path = folder / "m.onnx"
        onnx.save(base(), path)
        qc.compile(path, calibration=given(), scheme="int8", recipe="fast", budget=0)

    return run


def _with(value: float) -> Callable[[], list[Feed]]:
    def build() -> list[Feed]:
        given = feeds()
        given[1]["x"][0, 2] = value
        return given

    return build


_SAMPLES: dict[str, tuple[Any, ...]] = {
    "right ones (control)": (feeds, None),
    "none": (list, QCompilerError, "calibration"),
    "NaN": (_with(np.nan), CalibrationError, "x"),
    "a rank too many": (lambda: feeds(2, (1, 2, 4)), QCompilerError, "x"),
    "a rank too few": (lambda: feeds(2, (4,)), QCompilerError, "x"),
    "another width": (lambda: feeds(2, (2, 5)), QCompilerError, "x"),
    "another name": (lambda: [{"z": feeds()[0]["x"]}], QCompilerError, "z"),
    "strings": (lambda: [{"x": np.asarray([["a"] * 4])}], QCompilerError, "x"),
    "objects": (lambda: [{"x": np.asarray([[None] * 4])}], QCompilerError, "x"),
    "complex numbers": (lambda: [{"x": np.ones((2, 4), complex)}], QCompilerError, "x"),
    "None": (lambda: [None], QCompilerError, "x"),
    "a number": (lambda: 3, QCompilerError, "calibration"),
    "a dict": (lambda: feeds()[0], QCompilerError, "calibration"),
    "a text": (lambda: "nowhere.npz", QCompilerError, "nowhere.npz"),
    "a set of names": (lambda: {"x"}, QCompilerError, "x"),
    "without rows": (lambda: feeds(2, (0, 4)), None),
    "a constant": (lambda: [{"x": np.zeros((2, 4), _F)}] * 3, None),
    "the other byte order": (lambda: [{"x": feeds()[0]["x"].astype(">f4")}] * 2, None),
    "doubles": (lambda: [{"x": feeds()[0]["x"].astype(np.float64)}] * 2, None),
}


def _loaded(build: Callable[[], onnx.ModelProto]) -> Callable[[Path], Any]:
    def run(folder: Path) -> None:
        path = folder / "m.onnx"
        onnx.save(build(), path)
        qc.compile(path, scheme="float32", recipe="fast", budget=0)

    return run


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
    return model(nodes, {"b0": np.ones(2, _F)})


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
