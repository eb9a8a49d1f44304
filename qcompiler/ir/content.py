"""What a graph computes, as a digest: of its nodes and of every weight that they read.

Equal for every way to store one graph: in which order nodes and weights stand, whether weights lie
inside or in a file beside it, in which field of the protobuf, and what is written of it besides
(documentation, metadata, shapes of values, names of nodes, weights that nothing reads).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from qcompiler.ir.walk import is_read

_SIZE = 16
_ONNX = ("", "ai.onnx")
"""Both name the same domain."""


def content_digest(model: ir.Model) -> str:
    """Digest of graph and weights, in hex. One pass over the weights, none of which is copied.

    Args:
        model: Values of one graph have unique names, as every ONNX file has them.
    """
    functions = (_function(each) for each in model.functions.values())
    opsets = _opsets(model.graph.opset_imports)
    return _hash(_graph(model.graph), opsets, _set(functions)).hex()


def tensor_digest(tensor: ir.TensorProtocol) -> bytes:
    """Of type, shape and elements; these in the layout of `TensorProto.raw_data`."""
    total = hashlib.blake2b(_text(tensor.dtype.name, *map(str, tensor.shape)), digest_size=_SIZE)
    if tensor.dtype == ir.DataType.STRING:
        total.update(_text(*tensor.numpy().reshape(-1)))
    elif tensor.dtype.bitwidth < 8:  # numpy has a byte for each
        total.update(tensor.tobytes())
    else:
        total.update(np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data)
    return total.digest()


def _function(function: ir.Function) -> bytes:
    defaults = _set(_attribute(each) for each in function.attributes.values())
    opsets = _opsets(function.opset_imports)
    return _hash(_text(*function.identifier()), defaults, opsets, _graph(function.graph))


def _opsets(imports: Mapping[str, int]) -> bytes:
    versions = {_domain(name): version for name, version in imports.items()}
    return _set(_text(name, str(version)) for name, version in versions.items())


def _graph(graph: ir.Graph) -> bytes:
    ends = [
        _text(*(f"{value.name}:{value.dtype}" for value in values))
        for values in (graph.inputs, graph.outputs)
    ]
    weights = (
        _weight(value)
        for value in graph.initializers.values()
        if is_read(value) or value.is_graph_input()
    )
    return _hash(*ends, _set(weights), _set(_nodes(graph)))


def _nodes(nodes: Iterable[ir.Node]) -> Iterable[bytes]:
    for node in nodes:
        inputs = [None if value is None else value.name for value in node.inputs]
        while inputs and not inputs[-1]:
            inputs.pop()
        outputs = [value.name for value in node.outputs]
        kind = _text(_domain(node.domain), node.op_type, node.overload)
        attributes = _set(_attribute(each) for each in node.attributes.values())
        yield _hash(kind, _text(*inputs), _text(*outputs), attributes)


def _attribute(attribute: ir.Attr) -> bytes:
    name = _text(attribute.name, attribute.type.name, attribute.ref_attr_name)
    return _hash(name, b"" if attribute.is_ref() else _value(attribute.type, attribute.value))


def _value(kind: ir.AttributeType, value: Any) -> bytes:
    match kind:
        case ir.AttributeType.FLOAT | ir.AttributeType.FLOATS:
            return np.asarray(value, "<f4").tobytes()
        case ir.AttributeType.INT | ir.AttributeType.INTS:
            return np.asarray(value, "<i8").tobytes()
        case ir.AttributeType.TENSOR:
            return tensor_digest(value)
        case ir.AttributeType.TENSORS:
            return _hash(*(tensor_digest(each) for each in value))
        case ir.AttributeType.GRAPH:
            return _graph(value)
        case ir.AttributeType.GRAPHS:
            return _hash(*(_graph(each) for each in value))
        case ir.AttributeType.STRINGS:
            return _text(*value)
        case ir.AttributeType.STRING:
            return _text(value)
    return _text(str(value))


def _weight(value: ir.Value) -> bytes:
    tensor = value.const_value
    return _hash(_text(value.name), b"" if tensor is None else tensor_digest(tensor))


def _domain(name: str) -> str:
    return "" if name in _ONNX else name


def _set(parts: Iterable[bytes]) -> bytes:
    """Of parts whose order says nothing."""
    return _hash(*sorted(parts))


def _text(*parts: str | bytes | None) -> bytes:
    return _hash(*(b"" if each is None else _encoded(each) for each in parts))


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")


def _hash(*parts: bytes) -> bytes:
    """Of parts that keep their borders."""
    total = hashlib.blake2b(digest_size=_SIZE)
    for each in parts:
        total.update(len(each).to_bytes(8, "little"))
        total.update(each)
    return total.digest()
