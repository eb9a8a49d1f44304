"""The target `onnxruntime`: Q/DQ ONNX for ONNX Runtime's CPU provider."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qcompiler.backends.onnxruntime.artifact import OrtArtifact
from qcompiler.backends.onnxruntime.capabilities import TABLE
from qcompiler.backends.onnxruntime.costs import measure_conversions
from qcompiler.decisions.saturating import warn_of_saturation, without_saturation
from qcompiler.errors import ConfigurationError
from qcompiler.execution.stamp import is_onnx, options_for, restored_program
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.target.arithmetic import Arithmetic, Tolerance
from qcompiler.target.artifact import PROFILE_THREADS, ConversionCost
from qcompiler.target.capability import CapabilityTable, Implementation
from qcompiler.target.contract import STATIC_PLACEMENT, Restored, Target
from qcompiler.target.limits import require_threads
from qcompiler.target.processor import NATIVE, has_dot_products, require_cpu

_ARITHMETIC = Arithmetic(tolerances={"Sigmoid": Tolerance(ties=True)})
"""MlasComputeLogistic approximates: what is halfway between two steps goes either way."""


@dataclass(frozen=True)
class OnnxRuntime(Target):
    """ONNX Runtime on CPU: u8 activations, s8 weights, int32 biases; dynamic, weight-only products.

    Attributes:
        cpu: `native` (this machine), `vnni`, `avx2` or `portable` (any x86). Without VNNI, layers
            whose weights could saturate int16 sums get 7-bit weights, the others keep 8.
        threads: Threads inside one kernel; None leaves the choice to ONNX Runtime.
        accuracy_level: Of products with weights in blocks (MatMulNBits): 4 rounds activations to
            int8 within each block, which is faster; 1 computes with them in float32.

    Raises:
        ConfigurationError: An unknown `cpu` or level, or a number of threads that makes no sense.
    """

    threads: int | None = None
    cpu: str = NATIVE
    accuracy_level: int = 4

    name: ClassVar[str] = "onnxruntime"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    placement: ClassVar[str] = (
        f"{STATIC_PLACEMENT},merge-double-pairs,insert-dynamic-lstm,insert-dynamic-gru,"
        "insert-n-bit-products,insert-integer-lookups,insert-level-tables,"
        "quantize-weight-blocks{fusible=true},avoid-skip-layer-norm,reduce-by-product,"
        "write-all-axes,repeat-by-expand,lay-channels-last,keep-float,share-constants,dead-code"
    )

    def __post_init__(self) -> None:
        require_threads(self.name, self.threads)
        require_cpu(self.name, self.cpu)
        if type(self.accuracy_level) is not int or self.accuracy_level not in (1, 4):
            raise ConfigurationError(
                f"accuracy_level={self.accuracy_level!r} is none of ONNX Runtime's on a CPU",
                fix="give 4 (int8 activations within each block) or 1 (float32)",
            )

    @property
    def capabilities(self) -> CapabilityTable:
        return TABLE

    def implementations(self, region: Region) -> tuple[Implementation, ...]:
        """Legal forms; without VNNI, weights get 7 bits where 8 could saturate."""
        forms = super().implementations(region)
        if has_dot_products(self.cpu):
            return forms
        return without_saturation(region, forms)

    @property
    def arithmetic(self) -> Arithmetic:
        return _ARITHMETIC

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
        warn_of_saturation(program, target.cpu)
        return Restored(target, program, target.lower(program))

    def lower(self, program: Program) -> OrtArtifact:
        return OrtArtifact(program, self, self.threads)
