"""What can be said about one node alone: its op, its element types, its Q/DQ parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import onnx
import onnx_ir as ir

from qcompiler.ir.qdqcheck import check_dequantize, check_quantize

Problem = tuple[str, str]
"""Rule, message."""


@dataclass(frozen=True)
class _Formal:
    """One formal parameter: its type variable and the element types it takes."""

    variable: str
    types: frozenset[str]
    variadic: bool
    same: bool
    optional: bool


@dataclass(frozen=True)
class _Form:
    """What a node of an op may look like at an opset; read once from ONNX's schema."""

    inputs: tuple[_Formal, ...]
    outputs: tuple[_Formal, ...]
    input_count: tuple[int, int]
    output_count: tuple[int, int]
    attributes: frozenset[str]
    required: frozenset[str]


@cache
def _form(op_type: str, opset: int) -> _Form | None:
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    if schema.deprecated:
        return None
    return _Form(
        tuple(_formal(each, legal_types(schema, each)) for each in schema.inputs),
        tuple(_formal(each, legal_types(schema, each)) for each in schema.outputs),
        (schema.min_input, schema.max_input),
        (schema.min_output, schema.max_output),
        frozenset(schema.attributes),
        frozenset(name for name, each in schema.attributes.items() if each.required),
    )


def legal_types(
    schema: onnx.defs.OpSchema, parameter: onnx.defs.OpSchema.FormalParameter
) -> frozenset[str]:
    """Types of an operand or output, such as `tensor(float)`.

    `parameter.types` says the same, but raises a TypeError in onnx 1.20.
    """
    for each in schema.type_constraints:
        if each.type_param_str == parameter.type_str:
            return frozenset(each.allowed_type_strs)
    return frozenset((parameter.type_str,))


def _formal(parameter: onnx.defs.OpSchema.FormalParameter, types: frozenset[str]) -> _Formal:
    options = onnx.defs.OpSchema.FormalParameterOption
    return _Formal(
        parameter.type_str,
        types,
        parameter.option == options.Variadic,
        parameter.is_homogeneous,
        parameter.option == options.Optional,
    )


def check_node(node: ir.Node, opset: int) -> Iterator[Problem]:
    """V05–V08 for one node. Ops of foreign domains are taken as they are."""
    if node.domain != "":
        return
    form = _form(node.op_type, opset)
    if form is None:
        yield "V05", f"there is no op {node.op_type} at opset {opset}"
        return
    yield from _check_counts(node, form)
    yield from _check_attributes(node, form)
    yield from _check_types(node, form)
    yield from _check_constants(node)
    if node.op_type == "QuantizeLinear":
        yield from check_quantize(node)
    elif node.op_type == "DequantizeLinear":
        yield from check_dequantize(node)


def takes(node: ir.Node, operands: Iterable[int], dtype: ir.DataType, opset: int) -> bool:
    """Whether ONNX defines a node's op on an element type, at these operands."""
    form = _form(node.op_type, opset) if node.domain == "" else None
    if form is None:
        return False
    formals = (form.inputs[min(each, len(form.inputs) - 1)] for each in operands)
    return all(_type_name(dtype) in formal.types for formal in formals)


def _check_counts(node: ir.Node, form: _Form) -> Iterator[Problem]:
    sides = (
        ("operands", node.inputs, form.input_count),
        ("outputs", node.outputs, form.output_count),
    )
    for what, values, (least, most) in sides:
        if not least <= len(values) <= most:
            yield "V05", f"{node.op_type} has {len(values)} {what}, legal are {least} to {most}"
    for index, formal in enumerate(form.inputs[: len(node.inputs)]):
        if node.inputs[index] is None and not formal.optional and not formal.variadic:
            yield "V05", f"operand {index} of {node.op_type} is missing"


def _check_attributes(node: ir.Node, form: _Form) -> Iterator[Problem]:
    for name in node.attributes:
        if name not in form.attributes:
            yield "V05", f"{node.op_type} has no attribute '{name}'"
    for name in form.required:
        if name not in node.attributes:
            yield "V05", f"{node.op_type} lacks the attribute '{name}'"


def _check_types(node: ir.Node, form: _Form) -> Iterator[Problem]:
    """Known element types are legal, and equal where the schema has one type variable."""
    bound: dict[str, tuple[ir.DataType, str | None]] = {}
    for values, formals in ((node.inputs, form.inputs), (node.outputs, form.outputs)):
        for index, value in enumerate(values):
            if value is None or not formals or not isinstance(value.type, ir.TensorType):
                continue
            formal = formals[min(index, len(formals) - 1)]
            dtype = value.type.dtype
            if dtype is ir.DataType.UNDEFINED:
                continue
            if _type_name(dtype) not in formal.types:
                yield "V06", f"{node.op_type} does not take {dtype.name.lower()} ('{value.name}')"
            elif formal.same:
                first, name = bound.setdefault(formal.variable, (dtype, value.name))
                if first != dtype:
                    yield "V06", _differ(node, name, first, value.name, dtype)


def _differ(
    node: ir.Node, name: str | None, one: ir.DataType, other: str | None, two: ir.DataType
) -> str:
    types = f"'{name}' is {one.name.lower()}, '{other}' is {two.name.lower()}"
    return f"{types}: {node.op_type} wants one type"


@cache
def _type_name(dtype: ir.DataType) -> str:
    return f"tensor({dtype.name.lower()})"


def _check_constants(node: ir.Node) -> Iterator[Problem]:
    """A constant operand is declared with the type and shape that its tensor has."""
    for value in node.inputs:
        tensor = None if value is None else value.const_value
        if tensor is None or value is None:
            continue
        if value.dtype is not None and value.dtype != tensor.dtype:
            both = f"declared {value.dtype.name.lower()}, holds {tensor.dtype.name.lower()}"
            yield "V06", f"constant '{value.name}' is {both}"
        if value.shape is not None and not _agree(value.shape, tuple(tensor.shape.numpy())):
            yield "V06", f"constant '{value.name}' is declared {value.shape}, holds {tensor.shape}"


def _agree(declared: ir.Shape, actual: tuple[int, ...]) -> bool:
    if len(declared) != len(actual):
        return False
    pairs = zip(declared, actual, strict=True)
    return all(one == two for one, two in pairs if isinstance(one, int))
