"""Source models that run where they come from: torch eagerly, ONNX on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt
import onnx
import onnx_ir as ir

from qcompiler.execution.onnx_source import OnnxSource
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed

Array = npt.NDArray[Any]


class Source(Protocol):
    """A source model that runs where it comes from."""

    @property
    def typed(self) -> bool:
        """Whether the types of its outputs are those of the model."""

    def run(self, feed: Feed) -> Sequence[Any]:
        """Outputs in signature order; raises LoweringError where it does not run."""

    def values(self, feed: Feed, names: Iterable[str]) -> Mapping[str, Array]:
        """Interior values by name, as far as they can be had."""

    def release(self) -> None:
        """Lets go of what running takes; the next run makes it anew."""


def reference_of(model: object, program: Program) -> Source:
    """The source ready to run: a torch model eagerly, an ONNX model as it is.

    Args:
        model: What the user gave.
        program: What the front end made of it; the reference where that was given, or where the
            source is laid out for another machine.

    Raises:
        LoweringError: Nothing here runs it.
    """
    if isinstance(model, Program):
        return OnnxSource(model.model)
    if program.provenance.misread:
        return OnnxSource(program.model)
    if isinstance(model, str | Path | onnx.ModelProto | ir.Model):
        return OnnxSource(model)
    from qcompiler.execution.torch_source import TorchSource

    return TorchSource(model, program.signature)  # type: ignore[arg-type]  # load took it
