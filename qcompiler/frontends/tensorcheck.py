"""What is looked at in the weights of a file: their values, or the file that holds them."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import onnx_ir as ir

from qcompiler.errors import UnreadableModelError

_EXPORT_AGAIN = "export or download the model again"


def check_tensor(
    tensor: onnx.TensorProto, where: str, folder: Path, files: dict[Path, int]
) -> None:
    """Whether its values are there; external ones in a regular file below `folder`.

    Args:
        tensor: Read, never changed.
        where: What it is of, for messages.
        folder: External data has to lie in it, links resolved.
        files: Sizes of the files seen so far; takes further ones.

    Raises:
        UnreadableModelError: Its size is negative, values are missing or of another number than
            its shape has, or its file is missing, cut off or elsewhere.
    """
    if any(dim < 0 for dim in tensor.dims):
        raise UnreadableModelError(
            "a tensor has a negative size",
            where=where,
            why=f"{list(tensor.dims)}",
            fix=_EXPORT_AGAIN,
        )
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external(tensor, where, folder, files)
    else:
        _check_values(tensor, where)


def _check_values(tensor: onnx.TensorProto, where: str) -> None:
    if math.prod(tensor.dims) and not _has_values(tensor):
        raise UnreadableModelError("a tensor has no values", where=where, fix=_EXPORT_AGAIN)
    texts, wanted = len(tensor.string_data), math.prod(tensor.dims)
    if tensor.data_type == onnx.TensorProto.STRING and texts != wanted:
        raise UnreadableModelError(
            "a tensor of strings has another size than its shape",
            where=where,
            why=f"{texts} strings for {wanted}",
            fix=_EXPORT_AGAIN,
        )


def _check_external(
    tensor: onnx.TensorProto, where: str, folder: Path, files: dict[Path, int]
) -> None:
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
