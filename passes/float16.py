"""`float16-to-float32`: computes a float16 model in float32; inputs and outputs keep their types.

CPU engines have next to no float16 kernels: ONNX Runtime puts Casts around most nodes and runs
them in float32 anyway. Integer kernels read and write float32. Every value is at least as exact as
before: float32 holds all float16 numbers, and no result is rounded to 11 bits on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, all_nodes, is_op, uses
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

_HALF, _FULL = ir.DataType.FLOAT16, ir.DataType.FLOAT
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")
"""Integers that name an element type: of Cast, RandomNormal, EyeLike, QuantizeLinear, ..."""


@dataclass(frozen=True)
class Float16ToFloat32(Pass):
    """Makes every float16 value, constant and attribute float32; Casts at the model's borders.

    Targets that are fast in float16 keep it (`Target.runs_float16`).
    """

    name: ClassVar[str] = "float16-to-float32"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        model = program.model
        if context.target is not None and context.target.runs_float16:
            return Outcome()
        if not any(_is_half(value) and not _is_border(value) for value in _values(model)):
            return Outcome()
        if any(value.dtype is None for node in all_nodes(model) for value in node.outputs):
            infer_types(model)
        inputs = [value for value in program.graph.inputs if value.dtype is _HALF]
        constants = sum(_widen_constant(value, rewriter) for value in tuple(_constants(model)))
        outputs = [value for value in program.graph.outputs if value.dtype is _HALF]
        for node in all_nodes(model):
            _widen_attributes(node, rewriter)
        for value in _values(model):
            if value not in inputs:
                value.type = _wide(value.type)
        for value in inputs:
            _cast_input(value, rewriter)
        for value in dict.fromkeys(outputs):
            _cast_output(value, rewriter)
        rewriter.drop_unused_constants()
        details = {"constants": constants, "inputs": len(inputs), "outputs": len(outputs)}
        return Outcome(details=details)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in all_graphs(model):
        yield from graph.inputs
        yield from graph.initializers.values()
    for node in all_nodes(model):
        yield from node.outputs


def _constants(model: ir.Model) -> Iterator[ir.Value]:
    for graph in all_graphs(model):
        yield from graph.initializers.values()


def _is_half(value: ir.Value) -> bool:
    return value.dtype is _HALF or (
        value.const_value is not None and value.const_value.dtype is _HALF
    )


def _is_border(value: ir.Value) -> bool:
    """An input that is cast from float16 at once, or an output that is cast to it at the end."""
    producer = value.producer()
    if producer is None:
        return value.is_graph_input() and all(is_op(use.node, "Cast") for use in uses(value))
    source = producer.inputs[0] if is_op(producer, "Cast") else None
    wide = source is not None and source.dtype is _FULL
    return wide and value.is_graph_output() and not value.uses()


def _wide(kind: ir.TypeProtocol | None) -> ir.TypeProtocol | None:
    """The type with float32 for float16, inside sequences and optionals too."""
    if isinstance(kind, ir.TensorType):
        return ir.TensorType(_FULL) if kind.dtype is _HALF else kind
    if isinstance(kind, (ir.SequenceType, ir.OptionalType)):
        inner = _wide(kind.elem_type)
        assert inner is not None
        return type(kind)(inner)
    return kind


def _widen_constant(value: ir.Value, rewriter: Rewriter) -> int:
    """Puts a float32 constant in the place of a float16 one; programs share the old tensor."""
    tensor = value.const_value
    if tensor is None or tensor.dtype is not _HALF:
        return 0
    array = np.asarray(tensor.numpy(), np.float32)
    wide = rewriter.constant(array, value.name or "constant", value.graph)
    rewriter.replace_uses(value, wide)
    return 1


def _widen_attributes(node: ir.Node, rewriter: Rewriter) -> None:
    for name, attribute in tuple(node.attributes.items()):
        if attribute.type is ir.AttributeType.TENSOR and attribute.value.dtype is _HALF:
            array = np.asarray(attribute.value.numpy(), np.float32)
            rewriter.set_attribute(node, name, ir.Tensor(array, name=attribute.value.name))
        elif name in _TYPE_ATTRIBUTES and attribute.value == int(_HALF):
            rewriter.set_attribute(node, name, int(_FULL))


def _cast_input(value: ir.Value, rewriter: Rewriter) -> None:
    readers = list(uses(value))
    if not readers:
        return
    cast = rewriter.insert(
        "Cast",
        [value],
        graph=value.graph,
        attributes={"to": int(_FULL)},
        outputs=[f"{value.name}_float32"],
        dtype=_FULL,
        shape=value.shape,
    )
    rewriter.replace_uses(value, cast.outputs[0], only=readers)


def _cast_output(value: ir.Value, rewriter: Rewriter) -> None:
    """The output is cast, under its old name; inner readers go on with float32."""
    if value.dtype is _HALF:
        return  # an input that is an output
    readers = [use.node for use in uses(value)]
    cast = rewriter.insert(
        "Cast",
        [value],
        after=value.producer(),
        attributes={"to": int(_HALF)},
        outputs=[f"{value.name}_float16"],
        dtype=_HALF,
        shape=value.shape,
    )
    rewriter.replace_uses(value, cast.outputs[0], keep=[*readers, cast])
