"""Files that appear whole or not at all: text and ONNX models."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir

from qcompiler.errors import ArtifactError

SINGLE_FILE_BYTES = 2_000_000_000
"""Weights above this go to a second file: a protobuf message ends at 2 GiB."""


def require_folder(path: Path) -> None:
    """Makes sure that the folder of a file to be written exists, before any work is done for it.

    Raises:
        ArtifactError: It does not.
    """
    if not path.parent.is_dir():
        raise ArtifactError(
            f"cannot write {path}", why=f"there is no folder {path.parent}", fix="create it first"
        )


def write_text(path: Path, text: str) -> None:
    """Writes a text file.

    Raises:
        ArtifactError: The folder does not exist or cannot be written to.
    """
    _appear(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_onnx(model: ir.Model, path: Path) -> None:
    """Writes an ONNX file; above `SINGLE_FILE_BYTES` the weights go to `<name>.data` beside it.

    Weights that lie in other files (external data of the source) are copied in.

    Raises:
        ArtifactError: The folder does not exist or cannot be written to.
    """
    copy = model.clone()
    large = weight_bytes(copy) > SINGLE_FILE_BYTES

    def write(temporary: Path) -> None:
        if large:
            ir.save(copy, temporary, external_data=f"{path.name}.data")
        else:
            ir.save(ir.external_data.load_to_model(copy), temporary)

    _appear(path, write)


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers, those of subgraphs included."""
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def _appear(path: Path, write: Callable[[Path], object]) -> None:
    """Writes in a folder beside the place, then renames what is in it, the named file last."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            write(Path(folder) / path.name)
            for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
                file.replace(path.with_name(file.name))
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}", why=error.strerror or str(error), fix="choose another folder"
        ) from error
