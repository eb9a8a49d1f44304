"""Tensor objects that nobody outside a program holds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from qcompiler.ir.walk import all_graphs


def own_tensors(model: ir.Model) -> None:
    """Replaces tensor objects by private ones over the same data.

    Renaming a value renames its tensor, so a tensor shared with the user's object would change
    under the user. Tensors in a protobuf are read out, since every access there copies.
    External tensors stay memory-mapped.
    """
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = own_tensor(value.const_value)


def own_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """A private tensor object over the same data; see `own_tensors`."""
    if not isinstance(tensor, ir.serde.TensorProtoTensor):
        return copy.copy(tensor)
    if tensor.dtype == ir.DataType.STRING:
        return ir.StringTensor(tensor.numpy(), shape=tensor.shape, name=tensor.name)
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)


def in_memory(model: ir.Model) -> ir.Model:
    """The model, or a copy in which tensors that lie in files are views of the mapped bytes.

    `onnx_ir.external_data.load_to_model` closes the file's mapping, which a running session reads.
    """
    if not any(isinstance(each, ir.ExternalTensor) for each in _tensors(model)):
        return model
    copied = model.clone()
    for graph in all_graphs(copied):
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = mapped(value.const_value)
        for node in graph:
            for attribute in _of_tensors(node):
                tensor = mapped(attribute.as_tensor())
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, tensor)
    return copied


def _tensors(model: ir.Model) -> Iterator[ir.TensorProtocol | None]:
    for graph in all_graphs(model):
        yield from (value.const_value for value in graph.initializers.values())
        for node in graph:
            yield from (attribute.as_tensor() for attribute in _of_tensors(node))


def _of_tensors(node: ir.Node) -> list[ir.Attr]:
    return [
        each
        for each in node.attributes.values()
        if each.type == ir.AttributeType.TENSOR and not each.is_ref()
    ]


def mapped(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """The tensor, as an array over the file's bytes if it lies in a file."""
    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)


def external_files(model: ir.Model) -> set[Path]:
    """Absolute paths of the files that weights of the model lie in."""
    return {
        Path(value.const_value.path).absolute()
        for graph in all_graphs(model)
        for value in graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    }
