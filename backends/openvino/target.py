"""The target `openvino`: Q/DQ ONNX for OpenVINO's CPU plugin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import onnx_ir as ir

from qcompiler.backends.openvino.artifact import OpenVinoArtifact
from qcompiler.backends.openvino.capabilities import TABLE, in_whole_blocks
from qcompiler.backends.openvino.edges import measure_edges
from qcompiler.decisions.saturating import warn_of_saturation, without_saturation
from qcompiler.errors import ConfigurationError
from qcompiler.execution.openvino.findings import findings
from qcompiler.execution.openvino.float_faults import mended
from qcompiler.execution.openvino.probe import is_risky, probe
from qcompiler.execution.openvino.session import available
from qcompiler.execution.stamp import options_for, restored_program
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.signature import Feed
from qcompiler.target.artifact import PROFILE_THREADS, Artifact, ConversionCost
from qcompiler.target.capability import CapabilityTable, Implementation
from qcompiler.target.contract import Restored, Target
from qcompiler.target.limits import require_threads
from qcompiler.target.processor import NATIVE, has_dot_products, native_bfloat16, require_cpu

Base = Literal["float32", "bf16"]
_HINTS = {"float32": "f32", "bf16": "bf16"}


@dataclass(frozen=True)
class OpenVino(Target):
    """OpenVINO on CPU: u8 activations, s8 weights per channel, float biases.

    Attributes:
        cpu: `native` (this machine), `vnni`, `avx2` or `portable` (any x86). Without VNNI, layers
            whose weights could saturate int16 sums get 7-bit weights, the others keep 8.
        threads: Threads of one inference; None leaves the choice to OpenVINO.
        base: Type in which values are computed that are not quantized: `float32`, or `bf16`, which
            is about twice as fast on processors that have it and keeps 8 bits of each number.
            Losses and times refer to float32.

    Raises:
        ConfigurationError: An unknown `cpu` or `base`, or a number of threads that makes no sense.
    """

    threads: int | None = None
    cpu: str = NATIVE
    base: Base = "float32"

    name: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    has_texts: ClassVar[bool] = False
    placement: ClassVar[str] = (
        "insert-qdq,share-dequantized,fold-qdq,float-movers,quantize-weights,quantize-bias,"
        "quantize-weight-blocks,share-constants,dead-code"
    )

    def __post_init__(self) -> None:
        require_threads(self.name, self.threads)
        require_cpu(self.name, self.cpu)
        if self.base not in _HINTS:
            raise ConfigurationError(
                f"{self.base!r} is no base type of OpenVINO", fix=f"one of {', '.join(_HINTS)}"
            )

    @property
    def yardstick(self) -> OpenVino:
        return replace(self, base="float32")

    @property
    def floats(self) -> tuple[ir.DataType, ...]:
        return (ir.DataType.BFLOAT16,) if self.base == "bf16" else ()

    @property
    def unsuited(self) -> str | None:
        if self.base == "float32" or (self.cpu == NATIVE and native_bfloat16()):
            return None
        return "the processor has no products of bfloat16 numbers"

    @property
    def hint(self) -> str:
        """OpenVINO's `INFERENCE_PRECISION_HINT`."""
        return _HINTS[self.base]

    @property
    def advice(self) -> str | None:
        if self.base == "float32" and not native_bfloat16():
            return None  # OpenVINO's default on such processors
        told = "computes in bfloat16 what is not quantized" if self.base == "float32" else ""
        return f"run the file with INFERENCE_PRECISION_HINT={self.hint}, as it was measured" + (
            f"; by default OpenVINO {told} on processors like this one" if told else ""
        )

    @property
    def capabilities(self) -> CapabilityTable:
        return TABLE

    def implementations(self, region: Region) -> tuple[Implementation, ...]:
        """Legal forms; without VNNI, weights get 7 bits where 8 could saturate."""
        coarse = self.base == "bf16"
        forms = in_whole_blocks(region, super().implementations(region), pairs=coarse)
        if has_dot_products(self.cpu, onednn=True):
            return forms
        return without_saturation(region, forms)

    def conversion_cost(self) -> ConversionCost:
        return measure_edges(self.threads or PROFILE_THREADS)

    def baseline(self, source: Program, model: object, feeds: Sequence[Feed]) -> Artifact:
        """The source on OpenVINO; run first where it can kill nobody if it may kill a process."""
        if feeds and available() and is_risky(source.model):
            probe(mended(source).model, feeds[0])
        return super().baseline(source, model, feeds)

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
        warn_of_saturation(program, target.cpu, onednn=True)
        return Restored(target, program, target.lower(program))

    def lower(self, program: Program) -> OpenVinoArtifact:
        return OpenVinoArtifact(program, self, self.threads, self.hint)
