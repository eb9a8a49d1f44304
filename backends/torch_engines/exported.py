"""torch.export through one custom operator that holds the whole program in plain tensors.

torch.export takes neither quantized tensors nor packed weights, so the exported graph has a single
call, `qcompiler::torch_engine`; the program is lowered when it is first run. A reader must import
this module before `torch.export.load`, and inputs keep the shapes of the example.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.artifact import TorchArtifact
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower
from qcompiler.backends.torch_engines.store import packed_tensors, unpacked_model
from qcompiler.files.writing import replace_file
from qcompiler.frontends.torch_alone import one_at_a_time
from qcompiler.ir.signature import Feed

_LOWERED: dict[tuple[int, str, bool], tuple[Any, Tensor]] = {}
"""Module by address of the graph's bytes, which are kept alive beside it."""


@torch.library.custom_op("qcompiler::torch_engine", mutates_args=())
def torch_engine(
    inputs: Sequence[Tensor], graph: Tensor, tensors: Sequence[Tensor], about: str
) -> list[Tensor]:
    """Runs a saved program.

    Args:
        inputs: In signature order.
        graph: The Q/DQ graph, serialised, as uint8.
        tensors: Its large constants, in the order of `about["names"]`.
        about: JSON: engine, vnni, names, and shape and dtype of every output.
    """
    facts = json.loads(about)
    key = (graph.data_ptr(), facts["engine"], facts["vnni"])
    if key not in _LOWERED:
        model = unpacked_model(graph, dict(zip(facts["names"], tensors, strict=True)))
        setting = Setting(facts["engine"], facts["vnni"])
        _LOWERED[key] = (lower(model, setting).module, graph)
    with adapter.engine_scope(facts["engine"]), torch.no_grad():
        outputs = _LOWERED[key][0](*inputs)
    given = {each.data_ptr() for each in inputs}
    return [each.clone() if each.data_ptr() in given else each for each in outputs]


@torch_engine.register_fake
def _shapes(
    inputs: Sequence[Tensor], graph: Tensor, tensors: Sequence[Tensor], about: str
) -> list[Tensor]:
    del graph, tensors
    return [
        inputs[0].new_empty(shape, dtype=getattr(torch, dtype))
        for shape, dtype in json.loads(about)["outputs"]
    ]


class ExportableProgram(torch.nn.Module):
    """A program as plain buffers and one custom call; `torch.export.export` takes it."""

    program: Tensor

    def __init__(self, artifact: TorchArtifact, feed: Feed) -> None:
        super().__init__()
        graph, tensors = packed_tensors(artifact.model)
        self.register_buffer("program", graph)
        self._count = len(tensors)
        for index, tensor in enumerate(tensors.values()):
            self.register_buffer(f"tensor_{index}", tensor)
        outputs = artifact.run(feed)
        self._about = json.dumps(
            {
                "engine": artifact.setting.engine,
                "vnni": artifact.setting.vnni,
                "names": list(tensors),
                "outputs": [(list(each.shape), each.dtype.name) for each in outputs],
            }
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The program's outputs."""
        tensors = [getattr(self, f"tensor_{index}") for index in range(self._count)]
        return tuple(torch_engine(list(inputs), self.program, tensors, self._about))


def save_exported(artifact: TorchArtifact, path: Path, feed: Feed) -> None:
    """Writes a `.pt2` file for `torch.export.load`, atomically.

    Raises:
        ArtifactError: The folder is missing or cannot be written to.
    """
    module = ExportableProgram(artifact, feed)
    with one_at_a_time():
        exported = torch.export.export(module, tuple(artifact.tensors(feed)))
    replace_file(path, lambda new: _save(exported, new))


def _save(exported: torch.export.ExportedProgram, new: Path) -> None:
    with new.open("wb") as file:
        torch.export.save(exported, file)
