"""Tensor objects that nobody outside a program holds."""

from __future__ import annotations

import copy
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import UnreadableModelError
from qcompiler.ir.walk import all_graphs

LARGE_BYTES = 1 << 30
"""Weights in files above this are read anew whenever they are looked at, and nothing is kept."""


class FileTensor(ir.ExternalTensor):
    """A tensor of a large model in a file; in memory are only the arrays that somebody holds.

    onnx-ir's own maps the whole file for every tensor and keeps what was read of it, so a model
    is in memory as soon as each weight was looked at once. The file has to stay as it is.

    Raises:
        UnreadableModelError: On reading: the file has gone, or was written to since.
    """

    _written: tuple[int, int] | None = None

    @classmethod
    def of(cls, tensor: ir.ExternalTensor) -> FileTensor:
        """The same tensor, which knows the file as it is now."""
        made = cls(
            tensor.location,
            tensor.offset,
            tensor.length,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=tensor.name or "",
            doc_string=tensor.doc_string,
            metadata_props=dict(tensor.metadata_props),
            base_dir=tensor.base_dir,
        )
        if Path(made.path).is_file():  # else the first who reads it says why it cannot be
            made._written = _state(Path(made.path).stat())
        return made

    def numpy(self) -> npt.NDArray[Any]:
        """An array over the mapped bytes; types below a byte are unpacked into memory."""
        if self.dtype.bitwidth < 8 or self.size == 0:
            return self._unpacked()
        raw, kind = self._mapped(), np.dtype(self.dtype.numpy()).newbyteorder("<")
        return np.frombuffer(raw, kind).reshape(self.shape.numpy())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self.numpy().__array__(dtype)

    def tobytes(self) -> bytes:
        return b"" if self.size == 0 else bytes(self._mapped())

    def tofile(self, file: Any) -> None:
        self.require_unchanged()
        ir.ExternalTensor.tofile(self, file)

    def require_unchanged(self) -> None:
        """For those who read the file themselves.

        Raises:
            UnreadableModelError: The file has gone, or was written to since.
        """
        with self._opened() as file:
            self._require_unchanged(file)

    def _unpacked(self) -> npt.NDArray[Any]:
        """By a tensor that goes again: onnx-ir's keeps the array, and the map of the file."""
        if self.size:
            self.require_unchanged()
        return ir.ExternalTensor.numpy(copy.copy(self))

    def _mapped(self) -> memoryview:
        self._check_validity()
        self._check_path_containment()
        start = self.offset or 0
        skipped = start % mmap.ALLOCATIONGRANULARITY
        length = skipped + self.nbytes
        with self._opened() as file:
            self._require_unchanged(file)
            whole = mmap.mmap(
                file.fileno(), length, access=mmap.ACCESS_READ, offset=start - skipped
            )
        return memoryview(whole)[skipped:]

    def _opened(self) -> BinaryIO:
        try:
            return Path(self.path).open("rb")
        except OSError as error:
            raise self._lost("cannot be read any more", str(error)) from error

    def _require_unchanged(self, file: BinaryIO) -> None:
        if self._written not in (None, _state(os.fstat(file.fileno()))):
            raise self._lost("was written to", "its size or time is another than on loading")

    def _lost(self, what: str, why: str) -> UnreadableModelError:
        return UnreadableModelError(
            f"the external data file {self.location} {what}",
            where=f"initializer '{self.name}'",
            why=why,
            fix="weights of large models stay in their files: keep those until the compiled "
            "model is saved",
        )


def _state(found: os.stat_result) -> tuple[int, int]:
    """What differs as soon as somebody has written to a file."""
    return found.st_size, found.st_mtime_ns


def own_tensors(model: ir.Model) -> None:
    """Replaces tensor objects by private ones over the same data.

    Renaming a value renames its tensor, so a tensor shared with the user's object would change
    under the user. Tensors in a protobuf are read out, since every access there copies.
    External tensors stay memory-mapped, those of large models only while they are looked at.
    """
    stored = [
        value
        for graph in all_graphs(model)
        for value in graph.initializers.values()
        if value.const_value is not None
    ]
    large = is_large(sum(e.nbytes for e in map(_external, stored) if e is not None))
    for value in stored:
        external, tensor = _external(value) if large else None, value.const_value
        assert tensor is not None
        value.const_value = own_tensor(tensor) if external is None else FileTensor.of(external)


def is_large(nbytes: int) -> bool:
    """Whether so many bytes of weights are better read twice than kept."""
    return nbytes > LARGE_BYTES


def _external(value: ir.Value) -> ir.ExternalTensor | None:
    return value.const_value if isinstance(value.const_value, ir.ExternalTensor) else None


def own_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """A private tensor object over the same data; see `own_tensors`."""
    if not isinstance(tensor, ir.serde.TensorProtoTensor):
        return copy.copy(tensor)
    if tensor.dtype == ir.DataType.STRING:
        return ir.StringTensor(tensor.numpy(), shape=tensor.shape, name=tensor.name)
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)


def in_memory(model: ir.Model, initializers: bool = True) -> ir.Model:
    """The model, or a copy in which tensors that lie in files are views of the mapped bytes.

    `onnx_ir.external_data.load_to_model` closes the file's mapping, which a running session reads.

    Args:
        model: Not changed.
        initializers: These as well as the attributes of nodes.
    """
    if not any(isinstance(each, ir.ExternalTensor) for each in _tensors(model, initializers)):
        return model
    copied = model.clone()
    for graph in all_graphs(copied):
        for value in graph.initializers.values():
            if value.const_value is not None and initializers:
                value.const_value = mapped(value.const_value)
        for node in graph:
            for attribute in _of_tensors(node):
                tensor = mapped(attribute.as_tensor())
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, tensor)
    return copied


def _tensors(model: ir.Model, initializers: bool) -> Iterator[ir.TensorProtocol | None]:
    for graph in all_graphs(model):
        if initializers:
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
