"""One small model for every op and every value of its attributes at the edge of what kernels take.

Nothing here knows a target. A `Case` (operators.py lists them) becomes a model of one operator
between two matrix products, so that integers reach it and leave it wherever the target has a form
for it. `judge` compiles it and gives what is wrong, as words. Every target owes an empty list:

- no exception, whatever the operator;
- the plan's integer regions are what the engine runs in integers (`kernels.missed`, `verify`);
- outputs are those of the float model within the noise of a few 8-bit layers;
- no rows give no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.errors import LegalityError
from qcompiler.target.contract import Target
from tests.oracle import unoptimized

Array = npt.NDArray[Any]
Feed = dict[str, Array]

_NOISE = 0.03
"""Noise to signal: three 8-bit products in a row with an operator between them lose about 1 %."""


@dataclass(frozen=True)
class Case:
    """One operator with its attributes and stored operands.

    Attributes:
        op: ONNX op.
        shape: Of what it reads; axis 0 is free where `batch`.
        attributes: Of the node.
        operands: Further inputs in order: arrays are stored, `X` is the data once more, `Y` other
            data of the same shape, `W` a computed value of that shape, None an omitted one.
        first: Where the data stands among the operands.
        outputs: How many outputs the node has.
        opset: Of the model.
        batch: Whether axis 0 is free, so that feeds may have no rows.
        inner: The operator reads the first product, and a second product reads it.
    """

    op: str
    shape: tuple[int, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    operands: tuple[Any, ...] = ()
    first: int = 0
    outputs: int = 1
    opset: int = 17
    batch: bool = True
    inner: bool = True

    def __str__(self) -> str:
        parts = [f"{name}={_brief(value)}" for name, value in self.attributes.items()]
        parts += [_brief(each) for each in self.operands]
        first = f" at {self.first}" if self.first else ""
        plain = "" if self.inner else " alone"
        shape = "x".join(map(str, self.shape))
        return f"{self.op}-{self.opset} {shape} {' '.join(parts)}{first}{plain}".strip()


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "x".join(map(str, value.shape)) or f"{value}"
    return str(value).replace(" ", "")


def model(case: Case) -> onnx.ModelProto:
    """X → MatMul → the operator → MatMul → y; without the products where `inner` is False."""
    data, other = ("a", "b") if case.inner else ("x", "x2")
    names = {"X": data, "Y": other, "W": "n"}
    inits: dict[str, Array] = {}
    nodes = []
    width = case.shape[-1]
    if case.inner:
        inits["head"], inits["side"] = _weight(width, width, 1), _weight(width, width, 2)
        nodes.append(helper.make_node("MatMul", ["x", "head"], ["a"], name="head"))
    inputs = ["" if each is None else each for each in _operands(case, inits, names)]
    if "b" in inputs:
        nodes.append(helper.make_node("MatMul", ["x", "side"], ["b"], name="side"))
    if "n" in inputs:
        nodes.append(helper.make_node("Neg", [data], ["n"], name="negated"))
    inputs.insert(case.first, data)
    outputs = [f"o{index}" for index in range(case.outputs)]
    nodes.append(helper.make_node(case.op, inputs, outputs, name="it", **case.attributes))
    free = [("n" if case.batch else case.shape[0]), *case.shape[1:]]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)]
    if "x2" in inputs:
        values.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, free))
    plain = _made(nodes, values, outputs, inits, case)
    found = in_float(plain, feed(case))
    ends = []
    for index, (name, array) in enumerate(zip(outputs, found, strict=True)):
        if case.inner and array.dtype == np.float32 and array.ndim >= 2 and array.shape[-1]:
            inits[f"tail{index}"] = _weight(array.shape[-1], 4, 3)
            nodes.append(
                helper.make_node("MatMul", [name, f"tail{index}"], [f"y{index}"], f"tail{index}")
            )
            ends.append(f"y{index}")
        else:
            ends.append(name)
    return _made(nodes, values, ends, inits, case)


def _operands(
    case: Case, inits: dict[str, Array], names: Mapping[str, str]
) -> Iterator[str | None]:
    for index, each in enumerate(case.operands):
        if isinstance(each, np.ndarray):
            inits[f"k{index}"] = each
            yield f"k{index}"
        else:
            yield None if each is None else names[each]


def _made(
    nodes: Sequence[onnx.NodeProto],
    values: Sequence[onnx.ValueInfoProto],
    ends: Sequence[str],
    inits: Mapping[str, Array],
    case: Case,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        values,
        [onnx.ValueInfoProto(name=name) for name in ends],
        [numpy_helper.from_array(array, name) for name, array in inits.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)])
    made.ir_version = 10
    inferred = onnx.shape_inference.infer_shapes(made, data_prop=True)
    types = {each.name: each for each in (*inferred.graph.output, *inferred.graph.value_info)}
    del made.graph.output[:]
    made.graph.output.extend(types[name] for name in ends)
    return made


def _weight(rows: int, columns: int, seed: int) -> Array:
    values = np.random.default_rng(seed).standard_normal((rows, columns))
    return np.asarray(values / np.sqrt(max(rows, 1)), np.float32)


def feed(case: Case, seed: int = 0, rows: int | None = None) -> Feed:
    """Normal inputs; `rows` along axis 0 if given."""
    rng = np.random.default_rng(seed)
    shape = case.shape if rows is None else (rows, *case.shape[1:])
    found = {"x": rng.standard_normal(shape).astype(np.float32)}
    if not case.inner and "Y" in case.operands:
        found["x2"] = rng.standard_normal(shape).astype(np.float32)
    return found


def in_float(source: onnx.ModelProto, given: Feed) -> list[Array]:
    """Outputs of the float model, by ONNX Runtime without its optimizer."""
    return unoptimized(source, given)


def judge(case: Case, target: Target, scheme: str = "int8") -> tuple[list[str], qc.Compiled | None]:
    """What is wrong with the case on this target, and what was compiled (None if nothing was).

    A scheme that no region of the model has is refused by LegalityError; that is right.
    """
    source = model(case)
    feeds = [feed(case, seed) for seed in range(3)]
    try:
        compiled = qc.compile(source, target, feeds, scheme=scheme, recipe="fast")
    except LegalityError as error:
        return ([] if "no region" in str(error) else [f"refused: {error}"]), None
    except Exception as error:  # noqa: BLE001 - any is a finding
        return [f"{type(error).__name__}: {error}"], None
    return [*_disagreements(compiled), *_differences(case, source, compiled, feeds)], compiled


def _disagreements(compiled: qc.Compiled) -> Iterator[str]:
    """Plan, engine graph and integer reference against each other."""
    for key, why in compiled.kernels.missed.items():
        yield f"planned in integers and run in float: {key}, {why}"
    checked = compiled.verify()
    if not checked.ok:
        yield checked.text()


def _differences(
    case: Case, source: onnx.ModelProto, compiled: qc.Compiled, feeds: Sequence[Feed]
) -> Iterator[str]:
    """Results against those of the float model."""
    for given in feeds[:1]:
        for wanted, found in zip(in_float(source, given), compiled.run(given), strict=True):
            yield from _difference(wanted, np.asarray(found))
    if not case.batch:
        return
    nothing = feed(case, rows=0)
    try:
        shapes = [each.shape for each in in_float(source, nothing)]
    except Exception:  # noqa: BLE001 - the float model itself takes no empty batch
        return
    try:
        found = [np.asarray(each) for each in compiled.run(nothing)]
    except Exception as error:  # noqa: BLE001 - any is a finding
        yield f"no rows: {type(error).__name__}: {str(error)[:200]}"
        return
    if [each.shape for each in found] != shapes:
        yield f"no rows: shapes {[each.shape for each in found]}, should be {shapes}"


def _difference(wanted: Array, found: Array) -> Iterator[str]:
    if wanted.shape != found.shape or wanted.dtype != found.dtype:
        yield f"output is {found.dtype}{found.shape}, should be {wanted.dtype}{wanted.shape}"
    elif wanted.dtype == np.float32:
        signal = float(np.square(wanted.astype(np.float64)).sum())
        error = float(np.square(wanted.astype(np.float64) - found).sum())
        if not error <= _NOISE * signal:
            yield f"noise is {error:.2g} of a signal of {signal:.2g}"
