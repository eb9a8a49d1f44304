"""The target `onnx-reference`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from qcompiler.execution.saving import weight_bytes, write_onnx
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import all_nodes
from qcompiler.target.artifact import Artifact, KernelCount
from qcompiler.target.capability import CapabilityTable
from qcompiler.target.contract import Target


@dataclass(frozen=True)
class OnnxReference(Target):
    """The ONNX reference evaluator: slow, all float, good for comparing with."""

    name = "onnx-reference"

    @property
    def capabilities(self) -> CapabilityTable:
        """No rows: every region stays float."""
        return CapabilityTable(())

    def lower(self, program: Program) -> ReferenceArtifact:
        return ReferenceArtifact(program.model)


class ReferenceArtifact(Artifact):
    """A model in the reference evaluator."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._evaluator = ReferenceEvaluator(ir.to_proto(model))

    def run(self, feed: Feed) -> list[npt.NDArray[Any]]:
        return [np.asarray(output) for output in self._evaluator.run(None, feed)]

    def save(self, path: Path) -> None:
        write_onnx(self._model, path)

    @property
    def nbytes(self) -> int:
        return weight_bytes(self._model)

    def kernels(self) -> KernelCount:
        return KernelCount(ops=Counter(node.op_type for node in all_nodes(self._model)))
