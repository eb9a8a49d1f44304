"""A model as a session of this process is given it: large weights by file.

ONNX Runtime copies what it is given beside a graph, and types that numpy does not have stand in the
graph itself, which is parsed and copied, and ends at 2 GiB. What lies in a file it maps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from qcompiler.execution.packing import INLINE_BYTES, PLAIN, PackedModel, pack_proto
from qcompiler.files.scratch import lasting_scratch
from qcompiler.ir.tensors import FileTensor
from qcompiler.ir.views import with_initializers
from qcompiler.ir.walk import is_read

SPILLED_BYTES = 1 << 28
"""Weights in the graph itself that are written to a file first."""
_LEAST_BYTES = 1 << 20
_DATA = "weights.data"


def pack_for_session(model: ir.Model, extra_outputs: Sequence[str] = ()) -> PackedModel:
    """The model for a session, which opens it again where it is profiled or optimized anew.

    Args:
        model: Not changed.
        extra_outputs: Values that become outputs besides the model's own.

    Raises:
        LoweringError: See `pack_proto`; or the place for temporary files is full.
        UnreadableModelError: A file of a large source has changed.
    """
    scratch, filed = _spilled(model)
    filed = filed or _filed(model)
    proto, weights = pack_proto(_without(model, filed) if filed else model)
    present = {output.name for output in proto.graph.output}
    added = [name for name in extra_outputs if name not in present]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in added)
    if not filed:
        return PackedModel(proto.SerializeToString(), weights)
    proto.graph.initializer.extend(_entry(name, tensor) for name, tensor in filed.items())
    (folder,) = {Path(each.base_dir or ".").absolute() for each in filed.values()}
    nbytes = sum(each.nbytes for each in filed.values())
    return PackedModel(proto.SerializeToString(), weights, folder, nbytes, scratch)


def _filed(model: ir.Model) -> Mapping[str, ir.ExternalTensor]:
    """What lies in the files of a large source, if these are in one folder.

    Raises:
        UnreadableModelError: These have changed.
    """
    found = {
        name: tensor
        for name, tensor in _read_ones(model).items()
        if isinstance(tensor, FileTensor) and tensor.nbytes >= INLINE_BYTES
    }
    if len({each.base_dir for each in found.values()}) != 1:
        return {}
    for each in found.values():
        each.require_unchanged()
    return found


def _spilled(
    model: ir.Model,
) -> tuple[tempfile.TemporaryDirectory[str] | None, Mapping[str, ir.ExternalTensor]]:
    """What would stand in the graph itself, in a file of its own if it is much."""
    found = {
        name: tensor
        for name, tensor in _read_ones(model).items()
        if tensor.dtype not in PLAIN
        and tensor.dtype is not ir.DataType.STRING
        and tensor.nbytes >= _LEAST_BYTES
        and not isinstance(tensor, FileTensor)
    }
    if sum(each.nbytes for each in found.values()) <= SPILLED_BYTES:
        return None, {}
    stored = {}
    with lasting_scratch() as scratch, (Path(scratch.name) / _DATA).open("wb") as file:
        for name, tensor in found.items():
            start, shape = file.tell(), ir.Shape(tensor.shape.numpy())
            file.write(tensor.tobytes())
            stored[name] = ir.ExternalTensor(
                _DATA,
                start,
                tensor.nbytes,
                tensor.dtype,
                shape=shape,
                name=name,
                base_dir=scratch.name,
            )
    return scratch, stored


def _read_ones(model: ir.Model) -> Mapping[str, ir.TensorProtocol]:
    """Initializers of the main graph that something reads."""
    return {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and is_read(value) and not value.is_graph_input()
    }


def _without(model: ir.Model, names: Container[str]) -> ir.Model:
    kept = [value for name, value in model.graph.initializers.items() if name not in names]
    return with_initializers(model, kept)


def _entry(name: str, tensor: ir.ExternalTensor) -> onnx.TensorProto:
    proto: onnx.TensorProto = ir.serde.serialize_tensor(tensor)
    proto.name = name
    return proto
