"""From later opsets down to `WORKING_OPSET`: most changes only added element types."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from qcompiler.frontends.opset_expansions import EXPANSIONS, too_new
from qcompiler.ir.nodecheck import legal_types
from qcompiler.ir.program import WORKING_OPSET
from qcompiler.ir.rewriter import Rewriter

Schema = onnx.defs.OpSchema


def lower_node(node: ir.Node, source: int, rewriter: Rewriter) -> None:
    """Makes one node legal at `WORKING_OPSET`, in place.

    Raises:
        UnsupportedOpsetError: The op, an attribute, an operand or an element type is newer.
    """
    new = schema(node.op_type, source)
    if new is None or new.since_version <= WORKING_OPSET:
        return
    if node.op_type in EXPANSIONS:
        EXPANSIONS[node.op_type](node, rewriter)
        return
    old = schema(node.op_type, WORKING_OPSET)
    if old is None:
        raise too_new(node, source, f"the op is new in opset {new.since_version}")
    _drop_defaults(node, old, new, rewriter)
    reason = _newer_part(node, old)
    if reason:
        raise too_new(node, source, reason)


def schema(op_type: str, opset: int) -> Schema | None:
    """The schema of an ONNX op at an opset; None if there is none."""
    try:
        found = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if found.deprecated else found


def _drop_defaults(node: ir.Node, old: Schema, new: Schema, rewriter: Rewriter) -> None:
    """Removes attributes that the old form does not have and that say what it does anyway."""
    for name in set(node.attributes) - set(old.attributes):
        declared = new.attributes.get(name)
        default = (
            None if declared is None else onnx.helper.get_attribute_value(declared.default_value)
        )
        value = node.attributes[name].value
        same = value == (default.decode() if isinstance(default, bytes) else default)
        if same or _says_nothing(node, name):
            rewriter.set_attribute(node, name, None)


def _says_nothing(node: ir.Node, name: str) -> bool:
    """Q/DQ-23: `output_dtype` of DQ and `precision` of Q, when they name the scale's type."""
    scale = node.inputs[1] if len(node.inputs) > 1 else None
    if scale is None or scale.dtype is None or name not in ("output_dtype", "precision"):
        return False
    return node.attributes[name].as_int() == scale.dtype.value


def _newer_part(node: ir.Node, old: Schema) -> str | None:
    """Why the node is not an instance of the old schema, if it is not."""
    attributes = set(node.attributes) - set(old.attributes)
    if attributes:
        return f"attribute {min(attributes)} is new"
    if len(node.inputs) > old.max_input or len(node.outputs) > old.max_output:
        return "it has more operands or outputs"
    pairs = [(old.inputs, value, i) for i, value in enumerate(node.inputs)]
    pairs += [(old.outputs, value, i) for i, value in enumerate(node.outputs)]
    for formals, value, index in pairs:
        if value is None or value.dtype is None or value.dtype == ir.DataType.UNDEFINED:
            continue
        formal = formals[min(index, len(formals) - 1)]
        if isinstance(value.type, ir.TensorType) and _tensor_name(value) not in legal_types(
            old, formal
        ):
            return f"element type {value.dtype.name.lower()} of '{value.name}' is new"
    return None


def _tensor_name(value: ir.Value) -> str:
    assert value.dtype is not None
    return f"tensor({value.dtype.name.lower()})"
