"""The saved form: the Q/DQ graph as bytes and its plain tensors, read with `weights_only=True`.

Nothing in the file is a pickle of code or a packed weight: loading lowers the graph again, so one
file outlives torch's packed formats and gives equal bits in every process on the same engine.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.errors import ArtifactError
from qcompiler.execution.making import Making
from qcompiler.execution.packing import pack
from qcompiler.files.writing import replace_file
from qcompiler.ir.plan import Plan
from qcompiler.lowering.torch_fx.element_types import array_from, tensor_of

FORMAT = "qcompiler-torch-engines"
VERSION = 2
_AGAIN = "save it again with Compiled.save"


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds.

    Attributes:
        model: The placed graph.
        setting: Engine and CPU.
        convention: The calling convention of a torch source, None if flat.
        plan: Precision of every region, if there was a plan.
        source: What was compiled, in words.
        threads: Threads inside a kernel.
        making: Plan digest, calibration data, versions; empty in files of earlier versions.
    """

    model: ir.Model
    setting: Setting
    convention: str | None = None
    plan: Plan | None = None
    source: str = ""
    threads: int | None = None
    making: Making = field(default_factory=Making)


def save(path: Path, stored: Stored) -> None:
    """Writes the file atomically.

    Raises:
        ArtifactError: The folder is missing or cannot be written to.
    """
    graph, tensors = packed_tensors(stored.model)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "engine": stored.setting.engine,
        "vnni": stored.setting.vnni,
        "convention": stored.convention,
        "plan": None if stored.plan is None else stored.plan.to_json(),
        "source": stored.source,
        "threads": stored.threads,
        "made": stored.making.to_json(),
        "graph": graph,
        "tensors": tensors,
    }
    replace_file(path, lambda new: _write(content, new))


def _write(content: dict[str, Any], new: Path) -> None:
    """Through a file object: given a path, torch writes its name into the archive."""
    with new.open("wb") as file:
        torch.save(content, file)


def packed_tensors(model: ir.Model) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The graph as uint8 and its large constants by name."""
    packed = pack(model)
    tensors = {
        name: tensor_of(np.array(array, copy=True)) for name, array in packed.weights.items()
    }
    return torch.frombuffer(bytearray(packed.graph), dtype=torch.uint8), tensors


def load(path: Path) -> Stored:
    """Reads a saved artifact.

    Raises:
        ArtifactError: Missing, damaged, of another format, or made for VNNI where there is none.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":  # torch would advise to unpickle it
                raise ArtifactError(f"{path} was not saved by a torch engine target", fix=_AGAIN)
        content = torch.load(path, weights_only=True)
    except pickle.UnpicklingError as error:
        why = "it holds Python objects, which are not loaded, or is damaged"
        raise ArtifactError(f"cannot read {path}", why=why, fix=_AGAIN) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ArtifactError(f"cannot read {path}", why=first_line(error), fix=_AGAIN) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtifactError(f"{path} was not saved by a torch engine target", fix=_AGAIN)
    if content.get("version") != VERSION:
        raise ArtifactError(
            f"{path} has format version {content.get('version')}, this reads {VERSION}", fix=_AGAIN
        )
    setting = Setting(content["engine"], bool(content["vnni"]))
    _check_cpu(path, setting)
    making = Making.from_json(content.get("made"))
    plan = None if content["plan"] is None else Plan.from_json(content["plan"])
    if making.plan and (plan is None or plan.digest != making.plan):
        raise ArtifactError(f"{path} is damaged", why="its plan is not the one saved", fix=_AGAIN)
    model = unpacked_model(content["graph"], content["tensors"])
    making.check(model, path)
    return Stored(
        model,
        setting,
        content["convention"],
        plan,
        content["source"],
        content["threads"],
        making,
    )


def _check_cpu(path: Path, setting: Setting) -> None:
    """An artifact whose weights rely on VNNI must not run without it: sums would saturate (B9)."""
    if setting.vnni and setting.engine != "qnnpack" and not adapter.has_vnni():
        raise ArtifactError(
            f"{path} was compiled for a CPU with VNNI, and this one has none",
            why="int16 sums of 8-bit products would saturate silently",
            fix='compile with cpu="portable"',
        )


def unpacked_model(graph: torch.Tensor, tensors: dict[str, torch.Tensor]) -> ir.Model:
    """What `packed_tensors` took apart."""
    proto = onnx.ModelProto.FromString(graph.numpy().tobytes())
    model = ir.from_proto(proto)
    for name, tensor in tensors.items():
        held = model.graph.initializers[name]
        held.const_value = ir.Tensor(array_from(tensor, held.dtype), name=name)
    assert isinstance(model, ir.Model)
    return model


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)
