"""The target `onnxruntime`: Q/DQ ONNX for ONNX Runtime's CPU provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.backends.onnxruntime.artifact import OrtArtifact
from qcompiler.backends.onnxruntime.capabilities import TABLE
from qcompiler.backends.onnxruntime.costs import measure_conversions
from qcompiler.ir.program import Program
from qcompiler.target.capability import CapabilityTable
from qcompiler.target.contract import STATIC_PLACEMENT, ConversionCost, Target


@dataclass(frozen=True)
class OnnxRuntime(Target):
    """ONNX Runtime on CPU: u8 activations, s8 weights, int32 biases; dynamic, weight-only products.

    Attributes:
        threads: Threads inside one kernel; None leaves the choice to ONNX Runtime.
    """

    threads: int | None = None

    name: ClassVar[str] = "onnxruntime"
    placement: ClassVar[str] = (
        f"{STATIC_PLACEMENT},insert-dynamic-lstm,quantize-weight-blocks,avoid-skip-layer-norm"
    )

    @property
    def capabilities(self) -> CapabilityTable:
        return TABLE

    def conversion_cost(self) -> ConversionCost:
        return measure_conversions(self.threads)

    def lower(self, program: Program) -> OrtArtifact:
        return OrtArtifact(program, self, self.threads)
