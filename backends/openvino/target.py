"""The target `openvino`: Q/DQ ONNX for OpenVINO's CPU plugin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qcompiler.backends.openvino.artifact import OpenVinoArtifact
from qcompiler.backends.openvino.capabilities import TABLE
from qcompiler.backends.openvino.edges import measure_edges
from qcompiler.execution.openvino.faults import findings
from qcompiler.execution.stamp import options_for, restored_program
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.program import Program
from qcompiler.target.capability import CapabilityTable
from qcompiler.target.contract import PROFILE_THREADS, ConversionCost, Restored, Target
from qcompiler.target.limits import require_threads


@dataclass(frozen=True)
class OpenVino(Target):
    """OpenVINO on CPU: u8 activations, s8 weights per channel, float biases.

    Attributes:
        threads: Threads of one inference; None leaves the choice to OpenVINO.

    Raises:
        ConfigurationError: A number of threads that makes no sense.
    """

    threads: int | None = None

    name: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    placement: ClassVar[str] = (
        "insert-qdq,share-dequantized,fold-qdq,float-movers,quantize-weights,quantize-bias,dead-code"
    )

    def __post_init__(self) -> None:
        require_threads(self.name, self.threads)

    @property
    def capabilities(self) -> CapabilityTable:
        return TABLE

    def conversion_cost(self) -> ConversionCost:
        return measure_edges(self.threads or PROFILE_THREADS)

    def legality(self, program: Program) -> tuple[Diagnostic, ...]:
        return findings(program)

    @classmethod
    def restore(cls, path: Path) -> Restored:
        """Opens an ONNX file as `Compiled.save` wrote it, called as its source was.

        Raises:
            ConfigurationError: What runs it is not installed.
            LoweringError: It refuses the file.
        """
        program, stamp = restored_program(path)
        target = cls(**options_for(cls, stamp))
        return Restored(target, program, target.lower(program))

    def lower(self, program: Program) -> OpenVinoArtifact:
        return OpenVinoArtifact(program, self, self.threads)
