"""Text form of a program, in ONNX's own text syntax: golden tests are text in → pass → text out.

Own printer, because `onnx.printer` rounds floats to eight digits (a float32 needs nine) and prints
every weight; the text is read back by `onnx.parser`. Names that are no identifiers are quoted.
Syntax: https://onnx.ai/onnx/repo-docs/Syntax.html
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from qcompiler.errors import UnreadableModelError
from qcompiler.ir.naming import make_names_unique
from qcompiler.ir.program import WORKING_OPSET, Program, Provenance
from qcompiler.ir.requests import MARK, RANGE, Request
from qcompiler.ir.signature import signature_of
from qcompiler.ir.tensors import own_tensors

Array = npt.NDArray[Any]

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z")
_HEADER = f'<ir_version: 10, opset_import: ["" : {WORKING_OPSET}, "qcompiler" : 1]>\n'
_INLINE = frozenset(
    {
        ir.DataType.FLOAT,
        ir.DataType.DOUBLE,
        ir.DataType.BOOL,
        ir.DataType.INT8,
        ir.DataType.UINT8,
        ir.DataType.INT16,
        ir.DataType.UINT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
    }
)
"""Element types whose values the parser reads back exactly."""


def to_text(program: Program, *, inline: int = 8) -> str:
    """The program as text: same program, same text.

    Constants above `inline` elements are elided to dtype and shape; `from_text` takes or draws
    their values. Metadata is left out.
    """
    model = program.model
    imports = ", ".join(
        f'"{name}" : {model.opset_imports[name]}' for name in sorted(model.opset_imports)
    )
    head = f"<\n   ir_version: {model.ir_version},\n   opset_import: [{imports}]\n>\n"
    asked = "".join(f"{_request(program, each)}\n" for each in program.requests)
    return head + _graph(model.graph, inline, "") + "\n" + asked


def _request(program: Program, request: Request) -> str:
    """The line of a request, with the range that was seen."""
    seen = program.observations.get(request.value) if request.kind == RANGE else None
    if seen is None or not seen.count:
        return request.line()
    return f"{request.line()} saw [{seen.low:.9g}, {seen.high:.9g}]"


def from_text(text: str, weights: Mapping[str, Array] | None = None) -> Program:
    """Reads a program; nothing is converted, but nodes without a name get one.

    Args:
        text: ONNX text. Lines that begin with `# observe` are requests, others with `#` comments.
            The `<ir_version …>` header may be left out and then says `WORKING_OPSET`.
        weights: Arrays of values that are declared but not given. Missing ones are drawn from
            their name: the same name gives the same weight in every program and process.

    Raises:
        UnreadableModelError: A syntax error, or a weight of another shape than declared.
    """
    asked = [line for line in text.splitlines() if line.lstrip().startswith(MARK)]
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    body = "\n".join(lines).strip()
    if not body.startswith("<"):
        body = _HEADER + body
    try:
        proto = onnx.parser.parse_model(body)
    except onnx.parser.ParseError as error:
        message = error.args[0]
        why = message.decode() if isinstance(message, bytes) else str(message)
        raise UnreadableModelError("this is not ONNX text", why=why) from error
    _fill_weights(proto.graph, dict(weights or {}), _roles(proto.graph))
    model = ir.from_proto(proto)
    own_tensors(model)
    make_names_unique(model)
    requests = dict.fromkeys(map(Request.from_line, asked))
    return Program(model, signature_of(model), Provenance("text"), requests)


def node_line(node: ir.Node) -> str:
    """One node as a line of text, without its subgraphs' bodies."""
    return _node(node, None, "").strip()


def _graph(graph: ir.Graph, inline: int, indent: str) -> str:
    inputs = ", ".join(_declaration(value) for value in graph.inputs)
    outputs = ", ".join(_declaration(value) for value in graph.outputs)
    held = sorted(graph.initializers.values(), key=lambda value: not _is_inline(value, inline))
    constants = ", ".join(_constant(value, inline) for value in held)
    lines = [f"{_name(graph.name or 'graph')} ({inputs}) => ({outputs})"]
    if constants:
        lines.append(f"{indent}   <{constants}>")
    lines.append(f"{indent}{{")
    lines += [_node(node, inline, indent + "   ") for node in graph]
    return "\n".join([*lines, f"{indent}}}"])


def _node(node: ir.Node, inline: int | None, indent: str) -> str:
    outputs = ", ".join(_name(value.name) for value in node.outputs)
    inputs = ", ".join('""' if value is None else _name(value.name) for value in node.inputs)
    given = sorted(node.attributes.values(), key=lambda attribute: attribute.name)
    attributes = ", ".join(_attribute(attribute, inline, indent) for attribute in given)
    domain = f"{node.domain}." if node.domain else ""
    options = f" <{attributes}>" if attributes else ""
    label = f"[{_name(node.name)}] " if node.name else ""
    return f"{indent}{label}{outputs} = {domain}{node.op_type}{options} ({inputs})"


def _name(name: str | None) -> str:
    if not name:
        return '""'
    return name if _IDENTIFIER.match(name) else f'"{name}"'


def _declaration(value: ir.Value) -> str:
    return f"{_type(value)} {_name(value.name)}".strip()


def _type(value: ir.Value) -> str:
    if value.dtype is None or not isinstance(value.type, ir.TensorType):
        return ""
    if value.shape is None:
        return f"{value.dtype.name.lower()}[]"
    dims = ",".join(_dim(dim) for dim in value.shape)
    return value.dtype.name.lower() + (f"[{dims}]" if dims else "")


def _dim(dim: int | ir.SymbolicDim) -> str:
    if isinstance(dim, int):
        return str(dim)
    return "?" if dim.value is None else _name(dim.value)


def _is_inline(value: ir.Value, inline: int) -> bool:
    """Whether the values are printed; those come first, which is the order the parser keeps."""
    tensor = value.const_value
    return tensor is not None and tensor.size <= inline and tensor.dtype in _INLINE


def _constant(value: ir.Value, inline: int) -> str:
    tensor = value.const_value
    if tensor is None:
        return _declaration(value)
    dims = ",".join(str(dim) for dim in tensor.shape.numpy())
    head = f"{tensor.dtype.name.lower()}{f'[{dims}]' if dims else ''} {_name(value.name)}"
    if not _is_inline(value, inline):
        return head
    return f"{head} = {{{_elements(tensor.numpy())}}}"


def _elements(array: Array) -> str:
    return ", ".join(_number(element) for element in array.reshape(-1))


def _number(value: Any) -> str:
    if isinstance(value, np.bool_ | bool):
        return str(int(value))
    return str(value) if isinstance(value, np.generic) else repr(value)


def _attribute(attribute: ir.Attr, inline: int | None, indent: str) -> str:
    name, value, kind = attribute.name, attribute.value, attribute.type
    if kind == ir.AttributeType.GRAPH:
        body = "..." if inline is None else _graph(attribute.as_graph(), inline, indent + "   ")
        return f"{name}: graph = {body}"
    if kind == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        dims = ",".join(str(dim) for dim in tensor.shape.numpy())
        shape = f"[{dims}]" if dims else ""
        return (
            f"{name}: tensor = {tensor.dtype.name.lower()}{shape} {{{_elements(tensor.numpy())}}}"
        )
    if kind in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
        return f"{name}: {kind.name.lower()} = [{', '.join(_literal(each) for each in value)}]"
    return f"{name}: {kind.name.lower()} = {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(np.float32(value)) if isinstance(value, float) else str(value)


def _protos(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _protos(attribute.g)


_ROLES: dict[tuple[str, int], str] = {
    ("QuantizeLinear", 1): "positive",
    ("QuantizeLinear", 2): "zero",
    ("DequantizeLinear", 1): "positive",
    ("DequantizeLinear", 2): "zero",
    ("BatchNormalization", 4): "positive",
}
"""Operands that only some values make sense for."""


def _roles(graph: onnx.GraphProto) -> dict[str, str]:
    return {
        name: _ROLES[node.op_type, index]
        for each in _protos(graph)
        for node in each.node
        for index, name in enumerate(node.input)
        if (node.op_type, index) in _ROLES
    }


def _fill_weights(
    graph: onnx.GraphProto, weights: dict[str, Array], roles: Mapping[str, str]
) -> None:
    """Makes an initializer of every value that is declared but not produced."""
    for each in _protos(graph):
        produced = {name for node in each.node for name in node.output}
        produced |= {tensor.name for tensor in each.initializer}
        for info in list(each.value_info):
            if info.name in produced:
                continue
            tensor_type = info.type.tensor_type
            shape = tuple(dim.dim_value for dim in tensor_type.shape.dim)
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor_type.elem_type)
            array = weights.get(info.name)
            if array is None:
                array = draw(info.name, shape, dtype, roles.get(info.name, ""))
            if array.shape != shape:
                raise UnreadableModelError(
                    f"weight '{info.name}' is declared {shape} and given {array.shape}"
                )
            proto = ir.to_proto(ir.Tensor(array.astype(dtype), name=info.name))
            each.initializer.append(proto)
            each.value_info.remove(info)


def draw(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, role: str = "") -> Array:
    """A weight made from its name: normal over the root of its fan-in, or small integers."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    kind = np.dtype(dtype)
    if role == "zero":
        return np.zeros(shape, kind)
    if kind == np.bool_:
        return generator.random(shape) < 0.5
    if kind.kind in "iu" and kind.itemsize == 1:
        limits = np.iinfo(kind)
        return generator.integers(max(limits.min, -127), limits.max + 1, shape).astype(kind)
    if kind.kind in "iu":
        return generator.integers(0, 4, shape).astype(kind)
    values = generator.standard_normal(shape) / np.sqrt(max(1.0, float(np.prod(shape[1:]))))
    if role == "positive":
        values = np.abs(values) + 0.1
    return np.asarray(values, dtype=kind)
