"""Standalone files for programs that do without qcompiler: TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch.jit._trace import TracerWarning

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.artifact import TorchArtifact
from qcompiler.errors import ArtifactError, first_line
from qcompiler.files.writing import replace_file
from qcompiler.ir.signature import Feed

ENGINE_FILE = "engine.txt"
"""Extra file that names the engine; torch packs for the current engine when it loads."""


def save_torchscript(artifact: TorchArtifact, path: Path, feed: Feed) -> tuple[str, ...]:
    """Traces the module on one feed and writes a TorchScript archive, atomically.

    Shapes that the graph computes from its inputs become those of `feed`. The traced module is
    compared with the original, bit by bit, before anything is written.

    Returns:
        What tracing had to fix, in torch's words; empty when other shapes may be fed.

    Raises:
        ArtifactError: The module cannot be traced (control flow), or the trace differs.
    """
    inputs = artifact.tensors(feed)
    engine = artifact.setting.engine
    with warnings.catch_warnings(record=True) as heard, torch.no_grad():
        warnings.simplefilter("always")
        expected = artifact.call(*inputs)
        try:
            with adapter.engine_scope(engine):
                traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                    artifact.module, tuple(inputs), check_trace=False
                )
                again = traced(*inputs)
        except RuntimeError as error:
            raise ArtifactError(
                "the module cannot be traced for TorchScript",
                why=first_line(error),
                fix="use Compiled.save, which keeps the graph",
            ) from error
    if not all(torch.equal(a, b) for a, b in zip(expected, again, strict=True)):
        raise ArtifactError(
            "the traced module gives other results than the original",
            fix="save it as the target's own artifact, and report this with the model",
        )
    extra = {ENGINE_FILE: engine}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        replace_file(path, lambda new: traced.save(str(new), _extra_files=extra))
    fixed = (w for w in heard if issubclass(w.category, TracerWarning))
    return tuple(dict.fromkeys(first_line(w.message) for w in fixed))
