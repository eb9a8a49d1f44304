"""What is looked at in a ModelProto before anything is built from it: structure and files it names.

A file from elsewhere may be damaged or hostile. onnx-ir trusts it (the last of two weights with
one name wins, names may be bytes), so this comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.message import Message

from qcompiler.errors import UnreadableModelError
from qcompiler.frontends.tensorcheck import check_tensor

_EXPORT_AGAIN = "export or download the model again"
_NEWEST = 2**31 - 1
"""Above every version of an operator."""
_DEEPEST = 100
"""Bodies inside bodies."""
_ELEMENT_TYPES = frozenset(map(int, ir.DataType))


def check_proto(proto: onnx.ModelProto, name: str, folder: Path) -> None:
    """Checks names, arities, attributes, weights, external data of graph, bodies and functions.

    Args:
        proto: Read, never changed.
        name: Of the model, for messages.
        folder: External data has to lie in it.

    Raises:
        UnreadableModelError: Two initializers or inputs have one name, a domain has two versions,
            there is no output, a value has an unknown element type, a node has too few or too many
            operands or results, an attribute has no type or is a function's outside of one, a name
            is no UTF-8, bodies are nested too deep, or external data is missing, cut off or
            elsewhere.
    """
    files: dict[Path, int] = {}
    _check_names(proto, name)
    _check_ends(proto, name)
    for owner, nodes, graph in _scopes(proto):
        if graph is not None:
            _check_unique(graph, name)
            _check_types(graph, name)
            for tensor in graph.initializer:
                check_tensor(tensor, f"initializer '{tensor.name}' of {name}", folder, files)
        for node in nodes:
            place = f"{node.op_type} '{node.name}'{owner}"
            _check_arity(node, place, name)
            for attribute in node.attribute:
                where = f"attribute '{attribute.name}' of {place}"
                _check_attribute(attribute, where, name, in_function=bool(owner))
                for tensor in _tensors(attribute):
                    check_tensor(tensor, f"{where} in {name}", folder, files)


Scope = tuple[str, Iterable[onnx.NodeProto], onnx.GraphProto | None]


def _scopes(proto: onnx.ModelProto) -> Iterator[Scope]:
    """The graph, the functions and every body in them: (owner, nodes, graph or None)."""
    pending: list[tuple[Scope, int]] = [(("", proto.graph.node, proto.graph), 0)]
    pending += [((f" in function '{f.name}'", f.node, None), 0) for f in proto.functions]
    while pending:
        scope, depth = pending.pop()
        yield scope
        if depth > _DEEPEST:
            raise UnreadableModelError(
                f"bodies are nested more than {_DEEPEST} deep", fix=_EXPORT_AGAIN
            )
        owner, nodes, _ = scope
        for node in nodes:
            for attribute in node.attribute:
                bodies = [attribute.g] if attribute.HasField("g") else []
                bodies += attribute.graphs
                pending += [((owner, body.node, body), depth + 1) for body in bodies]


def _check_names(message: Any, name: str) -> None:
    """Protobuf hands out a string that is no UTF-8 as bytes; nobody downstream expects them."""
    for field, value in message.ListFields():
        repeated = (value,) if isinstance(value, str | bytes | Message) else value
        if field.type == field.TYPE_STRING:
            for text in repeated:
                if isinstance(text, bytes):
                    raise UnreadableModelError(
                        f"{name} holds text that is no UTF-8",
                        where=f"field {field.full_name}: {text!r}"[:200],
                        fix=_EXPORT_AGAIN,
                    )
        elif field.type == field.TYPE_MESSAGE:
            for each in repeated:
                if not isinstance(each, onnx.TensorProto):
                    _check_names(each, name)
                elif isinstance(each.name, bytes):
                    raise UnreadableModelError(
                        f"{name} holds a weight whose name is no UTF-8",
                        where=repr(each.name)[:200],
                        fix=_EXPORT_AGAIN,
                    )


def _check_ends(proto: onnx.ModelProto, name: str) -> None:
    """Outputs, names of inputs, and the versions of operator sets."""
    if not proto.graph.output:
        raise UnreadableModelError(f"{name} has no outputs", fix="name the values to compute")
    for each, count in Counter(end.name for end in proto.graph.input).items():
        if count > 1:
            raise UnreadableModelError(f"{name} has {count} inputs '{each}'", fix=_EXPORT_AGAIN)
    versions: dict[str, int] = {}
    for opset in proto.opset_import:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        if versions.setdefault(domain, opset.version) != opset.version:
            raise UnreadableModelError(
                f"{name} imports two versions of the opset of domain '{domain}'",
                why=f"{versions[domain]} and {opset.version}: operators differ between them",
                fix=_EXPORT_AGAIN,
            )


def _check_arity(node: onnx.NodeProto, where: str, name: str) -> None:
    """Operands and results as many as any version of the operator takes."""
    limits = _arity(node.op_type, "" if node.domain == "ai.onnx" else node.domain)
    for held, (least, most), what in zip(
        (len(node.input), len(node.output)), limits, ("operands", "results"), strict=False
    ):
        if not least <= held <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise UnreadableModelError(
                f"a node of {name} has {held} {what}",
                where=where,
                why=f"{node.op_type} has {wanted}",
                fix=_EXPORT_AGAIN,
            )


@cache
def _arity(op_type: str, domain: str) -> tuple[tuple[int, int], ...]:
    """Least and most operands, then results, over all versions; nothing for unknown operators."""
    schemas = list(_versions(op_type, domain))
    if not schemas:
        return ()
    return (
        (min(each.min_input for each in schemas), max(each.max_input for each in schemas)),
        (min(each.min_output for each in schemas), max(each.max_output for each in schemas)),
    )


def _versions(op_type: str, domain: str) -> Iterator[onnx.defs.OpSchema]:
    """Every version of an operator that ONNX defines, the newest first; to list all takes 5 ms."""
    version = _NEWEST
    while version > 0 and onnx.defs.has(op_type, version, domain):
        schema = onnx.defs.get_schema(op_type, version, domain)
        yield schema
        version = schema.since_version - 1


def _check_unique(graph: onnx.GraphProto, name: str) -> None:
    seen: set[str] = set()
    for tensor in graph.initializer:
        if tensor.name in seen:
            raise UnreadableModelError(
                f"{name} has two initializers of one name",
                where=f"initializer '{tensor.name}'",
                why="runtimes disagree on which of them counts",
                fix="remove one of them",
            )
        seen.add(tensor.name)


def _check_types(graph: onnx.GraphProto, name: str) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type.elem_type
        if kind not in _ELEMENT_TYPES:
            raise UnreadableModelError(
                f"{name} has a value of an unknown element type",
                where=f"value '{value.name}'",
                why=f"{kind} is none of ONNX",
                fix=_EXPORT_AGAIN,
            )


def _check_attribute(
    attribute: onnx.AttributeProto, where: str, name: str, in_function: bool
) -> None:
    if attribute.ref_attr_name and not in_function:
        raise UnreadableModelError(
            f"{name} has an attribute that is a function's, outside of a function",
            where=where,
            fix=_EXPORT_AGAIN,
        )
    if attribute.type == onnx.AttributeProto.UNDEFINED and not attribute.ref_attr_name:
        raise UnreadableModelError(
            f"{name} has an attribute without a type", where=where, fix=_EXPORT_AGAIN
        )


def _tensors(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for each in (*sparse, *attribute.sparse_tensors):
        yield from (each.values, each.indices)
