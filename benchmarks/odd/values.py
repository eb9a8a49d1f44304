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
from qcompiler.errors import CalibrationError, QCompilerError

N = helper.make_node
_F = np.float32
_EYE = np.eye(4, dtype=_F)
SCHEMES = ("int8", "auto")


def entries() -> list[Entry]:
    """Weights, element types, ranks, sizes, ops, opsets and samples."""
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
    return found


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
    "None": (lambda: [None], QCompilerError, "feed 0"),
    "a number": (lambda: 3, QCompilerError, "calibration"),
    "a dict": (lambda: feeds()[0], QCompilerError, "calibration"),
    "a text": (lambda: "nowhere.npz", QCompilerError, "nowhere.npz"),
    "a set of names": (lambda: {"x"}, QCompilerError, "x"),
    "without rows": (lambda: feeds(2, (0, 4)), None),
    "a constant": (lambda: [{"x": np.zeros((2, 4), _F)}] * 3, None),
    "the other byte order": (lambda: [{"x": feeds()[0]["x"].astype(">f4")}] * 2, None),
    "doubles": (lambda: [{"x": feeds()[0]["x"].astype(np.float64)}] * 2, None),
}
