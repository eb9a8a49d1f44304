"""`Entry`: an input and how it has to end; what is shared by the tables of inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.errors import QCompilerError

Array = npt.NDArray[Any]
Feed = dict[str, Array]
NOISE = 0.03
"""Noise-to-signal ratio of what is called right: 15 dB, which no wrong graph has."""
SHAPE = (2, 4)


@dataclass(frozen=True)
class Entry:
    """One input.

    Attributes:
        name: Kind of input and what is odd about it.
        run: Hands it to the package; called with an empty folder. Raises `AssertionError` where
            the result is wrong.
        refused: Class of the error that it ends in; None where the result has to be right.
        words: What the error's text names, as whole words: the file, value, node or option.
        heavy: Whether it may take seconds or much memory.
    """

    name: str
    run: Callable[[Path], Any]
    refused: type[QCompilerError] | None = None
    words: tuple[str, ...] = ()
    heavy: bool = False

    def failure(self, folder: Path) -> str | None:
        """What is wrong with how it ends; None if nothing is."""
        try:
            self.run(folder)
        except QCompilerError as error:
            return self._judged(error)
        except AssertionError as error:
            return f"wrong result: {error}"
        except BaseException as error:  # noqa: BLE001 - what is looked for
            return f"foreign {type(error).__name__}: {str(error)[:200]}"
        return None if self.refused is None else f"taken, {self.refused.__name__} expected"

    def _judged(self, error: QCompilerError) -> str | None:
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if self.refused is None:
            return f"refused: {told}"
        if not isinstance(error, self.refused):
            return f"not {self.refused.__name__}, {told}"
        missing = [word for word in self.words if not _names(str(error), word)]
        return f"does not name {missing}: {told}" if missing else None


def _names(text: str, word: str) -> bool:
    """Whether it stands there by itself: there is an x in every `fix`."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def table(kind: str, rows: Mapping[str, tuple[Any, ...]], make: Callable[..., Any]) -> list[Entry]:
    """Entries of one kind: each row is what `make` takes, the error's class, and its words."""
    entries = []
    for name, (given, *rest) in rows.items():
        refused, *words = rest or (None,)
        entries.append(Entry(f"{kind}: {name}", make(given), refused, tuple(words)))
    return entries


def base() -> onnx.ModelProto:
    """x[n,4] → MatMul 'product' → Relu 'last' → y."""
    chance = np.random.default_rng(0)
    return model(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
            helper.make_node("Relu", ["h"], ["y"], name="last"),
        ],
        {"w": chance.standard_normal((4, 4)).astype(np.float32)},
    )


def model(
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, Array | TensorProto] | None = None,
    *,
    inputs: Mapping[str, tuple[int, Any]] | None = None,
    outputs: Mapping[str, tuple[int, Any]] | None = None,
    opset: int = 18,
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> onnx.ModelProto:
    """A model; by default of one float input x[n,4] and one output y[n,4]."""
    first, last = (
        [helper.make_tensor_value_info(name, *rest) for name, rest in each.items()]
        for each in (inputs or {"x": (1, ["n", 4])}, outputs or {"y": (1, ["n", 4])})
    )
    held = [
        each if isinstance(each, TensorProto) else numpy_helper.from_array(each, name)
        for name, each in (weights or {}).items()
    ]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    graph = helper.make_graph(nodes, "g", first, last, held)
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def compiled(content: onnx.ModelProto | bytes, folder: Path) -> qc.Compiled:
    """From a file, in float, without data: import, verification and the engine's own checks."""
    path = folder / "m.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return qc.compile(path, scheme="float32", recipe="fast", budget=0)


def check_right(source: onnx.ModelProto, feeds: list[Feed], folder: Path, scheme: str) -> None:
    """Compiles it and compares with ONNX Runtime on the source.

    Raises:
        AssertionError: They differ.
    """
    path = folder / "m.onnx"
    onnx.save(source, path)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = qc.compile(path, calibration=feeds, scheme=scheme, recipe="fast", budget=0)
    for feed in feeds:
        for have, want in zip(found.run(feed), session.run(None, feed), strict=True):
            assert (have.shape, have.dtype) == (want.shape, want.dtype), (have.shape, want.shape)
            _check_near(have, want)


def _check_near(have: Array, want: Array) -> None:
    if want.dtype.kind not in "fc":
        np.testing.assert_array_equal(have, want)
        return
    one, other = want.astype(np.float64), have.astype(np.float64)
    finite = np.isfinite(one)
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    np.testing.assert_array_equal(one[np.isinf(one)], other[np.isinf(one)])
    error = np.square(one[finite] - other[finite]).sum()
    assert error <= NOISE * np.square(one[finite]).sum(), f"noise {error}"


def feeds(count: int = 3, shape: tuple[int, ...] = SHAPE) -> list[Feed]:
    """Drawn samples of input x."""
    chance = np.random.default_rng(1)
    return [{"x": chance.standard_normal(shape).astype(np.float32)} for _ in range(count)]
