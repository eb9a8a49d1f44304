"""Handing a model to ONNX Runtime without copying its weights.

The graph is serialised with its large initializers marked as external; the arrays go along beside
it and the session reads them in place (`SessionOptions.add_external_initializers`). So the 2 GB
limit of protobuf does not apply, and memory-mapped weights stay memory-mapped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.files.reading import cause
from qcompiler.ir.tensors import in_memory
from qcompiler.ir.views import with_initializers
from qcompiler.ir.walk import is_read

Array = npt.NDArray[Any]
INLINE_BYTES = 1024
"""Smaller initializers stay in the graph: shapes and axes are read by shape inference."""
IN_MEMORY = "in-memory"
"""Placeholder for the file name of weights that are handed over in memory."""
PLAIN = frozenset(
    {
        ir.DataType.FLOAT,
        ir.DataType.DOUBLE,
        ir.DataType.FLOAT16,
        ir.DataType.INT8,
        ir.DataType.UINT8,
        ir.DataType.INT16,
        ir.DataType.UINT16,
        ir.DataType.INT32,
        ir.DataType.UINT32,
        ir.DataType.INT64,
    }
)


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A graph as bytes and its large weights beside it. Picklable.

    Attributes:
        graph: Serialised `ModelProto` in which the names of `weights` are external.
        weights: Initializers by name, C-contiguous, shared with the source model.
        folder: Of the files that further external initializers lie in; None if there are none.
        filed: Bytes of these.
        scratch: What removes the folder when nobody has this any more, if it is a temporary one.
    """

    graph: bytes
    weights: Mapping[str, Array] = field(default_factory=dict)
    folder: Path | None = None
    filed: int = 0
    scratch: object = None

    @cached_property
    def digest(self) -> str:
        """Identifies graph and weights; 16 hex digits."""
        total = hashlib.blake2b(self.graph, digest_size=8)
        for name in sorted(self.weights):
            total.update(name.encode())
            total.update(self.weights[name].reshape(-1).view(np.uint8).data)
        return total.hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes of graph and weights."""
        return len(self.graph) + sum(each.nbytes for each in self.weights.values()) + self.filed


def pack_proto(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The graph as a proto with external weights, and the weights; the model is not changed.

    Raises:
        LoweringError: The graph has something that no ONNX file can hold, or a weight's file
            cannot be read.
    """
    try:
        return _packed(in_memory(model))  # ONNX Runtime opens no files for a model given as bytes
    except Exception as error:  # onnx-ir, numpy and protobuf each raise their own
        raise LoweringError(
            "the graph cannot be written as ONNX",
            where=f"graph '{model.graph.name}'",
            why=cause(error),
            fix="check the model with onnx.checker.check_model",
        ) from error


def _packed(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, Array]]:
    weights: dict[str, Array] = {}
    kept = []
    for name, value in model.graph.initializers.items():
        if not (is_read(value) or value.is_graph_input()):
            continue  # ONNX Runtime drops it as it loads, and then misses what lies beside
        tensor = value.const_value
        if tensor is not None and tensor.dtype in PLAIN and tensor.nbytes >= INLINE_BYTES:
            weights[name] = np.ascontiguousarray(tensor.numpy())
            value = _external(value, tensor)  # noqa: PLW2901 - stands in for it
        kept.append(value)
    return ir.serde.serialize_model(with_initializers(model, kept)), weights


def _external(value: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
    """A value that says that its tensor lies elsewhere."""
    shape = ir.Shape(tensor.shape.numpy())
    placeholder = ir.ExternalTensor(
        IN_MEMORY, 0, tensor.nbytes, tensor.dtype, shape=shape, name=value.name or ""
    )
    return ir.Value(
        name=value.name,
        shape=value.shape,
        type=value.type,
        doc_string=value.doc_string,
        const_value=placeholder,
        metadata_props=dict(value.metadata_props),
    )


def pack(model: ir.Model) -> PackedModel:
    """The model ready for a session; O(nodes) plus small initializers."""
    proto, weights = pack_proto(model)
    return PackedModel(proto.SerializeToString(), weights)


def unpack(packed: PackedModel) -> ir.Model:
    """The model again, with its weights in memory; the inverse of `pack`."""
    model = ir.serde.deserialize_model(onnx.ModelProto.FromString(packed.graph))
    for name, array in packed.weights.items():
        model.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    return model
