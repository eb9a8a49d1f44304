"""Files to write that are files to read, or each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from qcompiler.errors import ConfigurationError
from qcompiler.files.writing import check_destination, same_file


def check_outputs(outputs: Mapping[str, Path], inputs: Mapping[str, Iterable[Path]]) -> None:
    """Makes sure, before any work, that all outputs can be written and destroy nothing.

    Args:
        outputs: Files to write, by what the user calls them.
        inputs: Files that are read, by what they are.

    Raises:
        ConfigurationError: An output is an input or another output, by whatever path or link.
        ArtifactError: An output cannot be written, see `check_destination`.
    """
    seen: dict[str, Path] = {}
    for name, path in outputs.items():
        refuse_inputs(name, path, inputs)
        for other, taken in seen.items():
            if same_file(path, taken):
                raise ConfigurationError(
                    f"{name} and {other} are the same file, {path}", fix="give each its own"
                )
        check_destination(path)
        seen[name] = path


def refuse_inputs(name: str, path: Path, inputs: Mapping[str, Iterable[Path]]) -> None:
    """Makes sure that a file to write is none that is read.

    Raises:
        ConfigurationError: It is one.
    """
    for what, files in inputs.items():
        if any(same_file(path, each) for each in files):
            raise ConfigurationError(
                f"{name} would overwrite {what}, {path}", fix="choose another path"
            )
