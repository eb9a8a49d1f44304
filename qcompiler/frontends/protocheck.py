"""What is looked at in a ModelProto before anything is built from it: structure and files it names.

A file from elsewhere may be damaged or hostile. onnx-ir trusts it (the last of two weights with
one name wins, names may be bytes), so this comes first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.message import Message

from qcompiler.errors import UnreadableModelError

_EXPORT_AGAIN = "export or download the model again"
_DEEPEST = 100
"""Bodies inside bodies."""


def check_proto(proto: onnx.ModelProto, name: str, folder: Path) -> None:
    """Checks names, attributes, weights and external data of the graph, bodies and functions.

    Args:
        proto: Read, never changed.
        name: Of the model, for messages.
        folder: External data has to lie in it.

    Raises:
        UnreadableModelError: Two initializers have one name, an attribute has no type, a name is no
            UTF-8, bodies are nested too deep, or external data is missing, cut off or elsewhere.
    """
    files: dict[Path, int] = {}
    _check_names(proto, name)
    for owner, nodes, graph in _scopes(proto):
        if graph is not None:
            _check_unique(graph, name)
            for tensor in graph.initializer:
                _check_tensor(tensor, f"initializer '{tensor.name}'", folder, files)
        for node in nodes:
            for attribute in node.attribute:
                where = f"attribute '{attribute.name}' of {node.op_type} '{node.name}'{owner}"
                _check_attribute(attribute, where, name)
                for tensor in _tensors(attribute):
                    _check_tensor(tensor, where, folder, files)


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


def _check_attribute(attribute: onnx.AttributeProto, where: str, name: str) -> None:
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


def _check_tensor(
    tensor: onnx.TensorProto, where: str, folder: Path, files: dict[Path, int]
) -> None:
    """Values are there; external ones in a regular file below `folder`, links resolved."""
    if any(dim < 0 for dim in tensor.dims):
        raise UnreadableModelError(
            "a tensor has a negative size",
            where=where,
            why=f"{list(tensor.dims)}",
            fix=_EXPORT_AGAIN,
        )
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        if math.prod(tensor.dims) and not _has_values(tensor):
            raise UnreadableModelError("a tensor has no values", where=where, fix=_EXPORT_AGAIN)
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if location in ("", "*"):  # what onnx-ir writes for tensors that a session gets in memory
        raise UnreadableModelError(
            "a tensor has external data without a file", where=where, fix=_EXPORT_AGAIN
        )
    path = _inside(folder, location, where)
    if path not in files:
        if not _is_file(path):
            raise UnreadableModelError(
                f"the external data file {location} is missing",
                where=where,
                fix=f"put it beside the model, or load the model from a path ({path})",
            )
        files[path] = path.stat().st_size
    needed = _end(entries, tensor, where)
    if needed > files[path]:
        raise UnreadableModelError(
            f"the external data file {location} is cut off",
            where=where,
            why=f"it has {files[path]} bytes, the model needs {needed}",
            fix="download or export the model again",
        )


def _has_values(tensor: onnx.TensorProto) -> bool:
    """Whether any field holds values; onnx-ir takes zeros where none does."""
    return tensor.HasField("raw_data") or any(
        len(field)
        for field in (
            tensor.float_data,
            tensor.int32_data,
            tensor.int64_data,
            tensor.double_data,
            tensor.uint64_data,
            tensor.string_data,
        )
    )


def _inside(folder: Path, location: str, where: str) -> Path:
    """The file that `location` names, if it lies below the model's folder once links are resolved.

    Source of the rule: ONNX, "External Data": the location is relative to the model's folder.
    """
    try:
        home = folder.resolve()
        path = (home / location).resolve()
    except (ValueError, OSError, RuntimeError) as error:
        raise UnreadableModelError(
            "external data has an impossible path", where=where, why=str(error), fix=_EXPORT_AGAIN
        ) from error
    if Path(location).is_absolute() or not path.is_relative_to(home):
        raise UnreadableModelError(
            "external data lies outside the model's folder",
            where=where,
            why=f"it names {location!r}",
            fix="put the data beside the model, with a relative path and no link",
        )
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False


def _end(entries: dict[str, str], tensor: onnx.TensorProto, where: str) -> int:
    """The byte behind the tensor's last one.

    Raises:
        UnreadableModelError: Offset, length, type or shape cannot be.
    """
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or 0)
        if offset < 0 or length < 0:
            raise ValueError("a number is negative")
        wanted = _nbytes(tensor)
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableModelError(
            "the external data of a tensor is described wrongly",
            where=where,
            why=str(error),
            fix=_EXPORT_AGAIN,
        ) from error
    if length and length != wanted:
        raise UnreadableModelError(
            "the external data of a tensor has another size than its shape",
            where=where,
            why=f"{length} bytes for {wanted}",
            fix=_EXPORT_AGAIN,
        )
    return offset + wanted


def _nbytes(tensor: onnx.TensorProto) -> int:
    size = float(ir.DataType(tensor.data_type).itemsize)
    nbytes: int = math.ceil(math.prod(tensor.dims) * size)
    return nbytes
