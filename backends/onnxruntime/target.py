"""The target `onnxruntime`: Q/DQ ONNX for ONNX Runtime's CPU provider."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qcompiler.backends.onnxruntime.artifact import OrtArtifact
from qcompiler.backends.onnxruntime.capabilities import TABLE
from qcompiler.backends.onnxruntime.costs import measure_conversions
from qcompiler.execution.stamp import is_onnx, options_for, restored_program
from qcompiler.ir.program import Program
from qcompiler.target.capability import CapabilityTable
from qcompiler.target.contract import (
    PROFILE_THREADS,
    STATIC_PLACEMENT,
    ConversionCost,
    Restored,
    Target,
)
from qcompiler.target.limits import require_threads


@dataclass(frozen=True)
class OnnxRuntime(Target):
    """ONNX Runtime on CPU: u8 activations, s8 weights, int32 biases; dynamic, weight-only products.

    Attributes:
        threads: Threads inside one kernel; None leaves the choice to ONNX Runtime.

    Raises:
        ConfigurationError: A number of threads that makes no sense.
    """

    threads: int | None = None

    name: ClassVar[str] = "onnxruntime"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    placement: ClassVar[str] = (
        f"{STATIC_PLACEMENT},insert-dynamic-lstm,insert-dynamic-gru,insert-n-bit-products,"
        "insert-integer-lookups,insert-level-tables,quantize-weight-blocks{fusible=true},avoid-skip-layer-norm,keep-float,dead-code"
    )

    def __post_init__(self) -> None:
        require_threads(self.name, self.threads)

    @property
    def capabilities(self) -> CapabilityTable:
        return TABLE

    def conversion_cost(self) -> ConversionCost:
        return measure_conversions(self.threads or PROFILE_THREADS)

    @classmethod
    def recognizes(cls, head: bytes) -> bool:
        return is_onnx(head)

    @classmethod
    def restore(cls, path: Path) -> Restored:
        """Opens the ONNX file as it is; a torch source's is called as its module was."""
        program, stamp = restored_program(path)
        target = cls(**options_for(cls, stamp))
        return Restored(target, program, target.lower(program))

    def lower(self, program: Program) -> OrtArtifact:
        return OrtArtifact(program, self, self.threads)
