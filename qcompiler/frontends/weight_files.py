"""Which files an ONNX file's weights lie in, before it is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from qcompiler.errors import UnreadableModelError
from qcompiler.files.reading import Door

_MODEL = Door("the model", UnreadableModelError)


def model_files(path: Path) -> list[Path]:
    """The file and those of its external data; the file alone if it cannot be read.

    Loading the model is what says why it cannot be.
    """
    try:
        _MODEL.require_file(path)
        with _MODEL.reading(path):
            proto = onnx.load(path, load_external_data=False)
            places = {_location(tensor) for tensor in _tensors(proto)} - {""}
    except UnreadableModelError:
        return [path]
    return [path, *(path.parent / each for each in sorted(places))]


def _location(tensor: onnx.TensorProto) -> str:
    found = {each.key: each.value for each in tensor.external_data}
    return str(found.get("location", ""))


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    pending = [proto.graph]
    nodes = [node for function in proto.functions for node in function.node]
    while pending or nodes:
        if pending:
            graph = pending.pop()
            yield from graph.initializer
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield attribute.t
            yield from attribute.tensors
            pending += [attribute.g, *attribute.graphs]
