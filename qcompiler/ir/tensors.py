"""Tensor objects that nobody outside a program holds."""

from __future__ import annotations

import copy

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
