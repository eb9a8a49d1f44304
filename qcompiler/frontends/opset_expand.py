"""Ops newer than `WORKING_OPSET` become the function that their definition in ONNX gives for them.

Attention, RotaryEmbedding, LinearAttention, ... are defined by a function of older ops, for the
attributes, operands and types of one node ("context-dependent function"). The body is inlined, and
what in it is too new is expanded or lowered like any other node.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from qcompiler.errors import UnsupportedOpsetError
from qcompiler.frontends.opset_down import schema
from qcompiler.frontends.opset_expansions import EXPANSIONS
from qcompiler.ir.origin import describe
from qcompiler.ir.program import WORKING_OPSET
from qcompiler.ir.walk import all_nodes

_DOMAIN = "qcompiler.definition"
_DEEPEST = 8
"""Functions inside functions; the deepest of ONNX 1.23 has two levels."""


def expand_newer_ops(model: ir.Model) -> bool:
    """Inlines the definition of every op that `WORKING_OPSET` has not; says whether there was one.

    Types and ranks have to be known as far as they can be. Ops without a definition stay: lowering
    refuses them.

    Raises:
        UnsupportedOpsetError: A definition needs a type or rank that is not known.
    """
    source = model.opset_imports.get("", WORKING_OPSET)
    for depth in range(_DEEPEST):
        calls = [node for node in all_nodes(model) if _is_newer(node, source)]
        if not calls:
            return depth > 0
        for index, node in enumerate(calls):
            definition = _definition(node, source, f"{node.op_type}_{depth}_{index}")
            definition.opset_imports[""] = source
            model.functions[definition.identifier()] = definition
            _call(node, definition)
        InlinePass()(model)
        model.functions.clear()
    return True


def _is_newer(node: ir.Node, source: int) -> bool:
    if source <= WORKING_OPSET or node.domain != "" or node.op_type in EXPANSIONS:
        return False
    if schema(node.op_type, WORKING_OPSET) is not None:
        return False
    new: Any = schema(node.op_type, source)
    return new is not None and bool(new.has_function or new.has_context_dependent_function)


def _definition(node: ir.Node, source: int, name: str) -> ir.Function:
    """The function that ONNX defines the op by, for this node.

    Raises:
        UnsupportedOpsetError: It depends on types or ranks that are unknown.
    """
    new: Any = schema(node.op_type, source)
    assert new is not None
    proto = onnx.FunctionProto()
    if new.has_function:
        proto.ParseFromString(new.get_function_with_opset_version(new.since_version))
    else:
        types = [_type_of(value) for value in node.inputs]
        call = ir.serde.serialize_node(node).SerializeToString()
        try:
            proto.ParseFromString(
                new.get_context_dependent_function_with_opset_version(
                    new.since_version, call, types
                )
            )
        except (RuntimeError, ValueError) as error:
            raise _unknown(node, str(error)) from error
    if not proto.node:
        raise _unknown(node, "a type or rank of its operands is unknown")
    produced = [name for node_ in proto.node for name in node_.output]
    # What the call leaves out, the body does not compute, yet lists: anything may stand for it.
    outputs = [name if name in produced else produced[-1] for name in proto.output]
    proto.output[:] = outputs
    proto.domain, proto.name = _DOMAIN, name
    _give_defaults(node, new, set(proto.attribute))
    return ir.serde.deserialize_function(proto)


def _give_defaults(node: ir.Node, new: Any, read: set[str]) -> None:
    """Writes out the defaults of attributes that a definition refers to."""
    for name in read - set(node.attributes):
        default = new.attributes[name].default_value
        if default.type != onnx.AttributeProto.UNDEFINED:
            node.attributes[name] = ir.serde.deserialize_attribute(default)


def _type_of(value: ir.Value | None) -> bytes:
    proto = onnx.TypeProto()
    if value is not None and value.type is not None:
        ir.serde.serialize_type_into(proto, from_=value.type)
        if value.shape is not None:
            ir.serde.serialize_shape_into(proto, from_=value.shape)
    return bytes(proto.SerializeToString())


def _call(node: ir.Node, definition: ir.Function) -> None:
    """Makes the node call its definition, which gives all outputs, also those left out here."""
    node.domain, node.op_type, node.overload = _DOMAIN, definition.name, ""
    node.version = None
    for name in set(node.attributes) - set(definition.attributes):
        node.attributes.pop(name)
    wanted = len(definition.outputs)
    if len(node.outputs) < wanted:
        node.resize_outputs(wanted)
    for index, value in enumerate(node.outputs):
        value.name = value.name or f"{definition.name}_{index}"
    while len(node.inputs) > len(definition.inputs):
        node.resize_inputs(len(node.inputs) - 1)


def _unknown(node: ir.Node, why: str) -> UnsupportedOpsetError:
    return UnsupportedOpsetError(
        f"{node.op_type} cannot be spelt in ops of opset {WORKING_OPSET}",
        where=describe(node),
        why=why,
        fix="give the model's inputs a type and a rank, or run ONNX's shape inference first",
    )
