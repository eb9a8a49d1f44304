"""ONNX files that appear whole or not at all, with their weights beside them above 2 GB."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from qcompiler.errors import ArtifactError, ConfigurationError
from qcompiler.files.locking import locked
from qcompiler.files.reading import cause
from qcompiler.files.writing import Stage, same_file, staged
from qcompiler.ir.tensors import external_files, in_memory

SINGLE_FILE_BYTES = 2_000_000_000
"""Weights above this go to a second file: a protobuf message ends at 2 GiB."""
_LONGEST_NAME = 255
"""Bytes of a file name that file systems take."""


def write_onnx(model: ir.Model, path: Path) -> None:
    """Writes an ONNX file; above `SINGLE_FILE_BYTES` the weights go to a file beside it.

    That file has a name of its own in each save, `<name>.<8 hex digits>.data`: the model that is
    there keeps its weights until the new one has taken its place. Weights that lie in other files
    (external data of the source) are copied in.

    Raises:
        ArtifactError: The folder does not exist or cannot be written to, or the graph has
            something that no ONNX file can hold.
        ConfigurationError: The file is one that the model's weights are read from.
    """
    _refuse_own_weights(model, path)
    large = weight_bytes(model) > SINGLE_FILE_BYTES
    held = in_memory(model, initializers=not large)  # in two files, they go from file to file
    if large and held is model:
        held = model.clone()  # onnx-ir puts other tensors into a model while it writes two files
    with staged(path) as stage:
        data = data_name(stage.real.name, stage.token) if large else None
        try:
            ir.save(held, stage.new, format="protobuf", external_data=data)
        except (ir.serde.SerdeError, ValueError) as error:
            raise ArtifactError(
                f"cannot write {path}",
                why=cause(error),
                fix="look at the folder: its permissions, and the room on the disk",
            ) from error
        _commit(stage, data)


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers, those of subgraphs included."""
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def data_name(model_name: str, token: str) -> str:
    """Name of the file that holds the weights of a model file."""
    name = f"{model_name}.{token}.data"
    if len(name.encode("utf-8", "surrogateescape")) <= _LONGEST_NAME and _is_text(model_name):
        return name
    short = hashlib.blake2b(model_name.encode(errors="replace"), digest_size=8).hexdigest()
    return f"{short}.{token}.data"


def _is_text(name: str) -> bool:
    """Whether a protobuf string can hold it; file names may be any bytes."""
    return not any("\ud800" <= each <= "\udfff" for each in name)


def _commit(stage: Stage, data: str | None) -> None:
    """Weights first, the model last, then what only the replaced model needed.

    Killed in between, the old model still has its own weights; whoever saves next clears up.
    """
    folder = stage.real.parent
    with locked(folder):
        if data is not None:
            (stage.folder / data).replace(folder / data)
        stage.commit()
        for old in list(_data_files(stage.real)):
            if old.name != data:
                old.unlink(missing_ok=True)


def _data_files(real: Path) -> Iterator[Path]:
    """Files that held the weights of this model file, now or before."""
    pattern = re.compile(re.escape(data_name(real.name, "0" * 8)).replace("0" * 8, "[0-9a-f]{8}"))
    return (each for each in real.parent.iterdir() if pattern.fullmatch(each.name))


def _refuse_own_weights(model: ir.Model, path: Path) -> None:
    for each in external_files(model):
        if same_file(each, path):
            raise ConfigurationError(
                f"{path} cannot be written: the weights of this model are read from it",
                fix="choose another path",
            )
