"""The target `openvino`: Q/DQ ONNX for OpenVINO's CPU plugin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qcompiler.backends.openvino.artifact import OpenVinoArtifact
from qcompiler.backends.openvino.capabilities import TABLE
from qcompiler.backends.openvino.edges import measure_edges
from qcompiler.decisions.saturating import warn_of_saturation, without_saturation
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
from qcompiler.target.processor import NATIVE, has_dot_products, require_cpu


@dataclass(frozen=True)
class OpenVino(Target):
    """OpenVINO on CPU: u8 activations, s8 weights per channel, float biases.

    Attributes:
        cpu: `native` (this machine), `vnni`, `avx2` or `portable` (any x86). Without VNNI, layers
            whose weights could saturate int16 sums get 7-bit weights, the others keep 8.
        threads: Threads of one inference; None leaves the choice to OpenVINO.

    Raises:
        ConfigurationError: An unknown `cpu`, or a number of threads that makes no sense.
    """

    threads: int | None = None
    cpu: str = NATIVE

    name: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    has_texts: ClassVar[bool] = False
    placement: ClassVar[str] = (
        "insert-qdq,share-dequantized,fold-qdq,float-movers,quantize-weights,quantize-bias,"
        "share-constants,dead-code"
    )

    def __post_init__(self) -> None:
        require_threads(self.name, self.threads)
        require_cpu(self.name, self.cpu)

    @property
    def capabilities(self) -> CapabilityTable:
        return TABLE

    def implementations(self, region: Region) -> tuple[Implementation, ...]:
        """Legal forms; without VNNI, weights get 7 bits where 8 could saturate."""
        forms = super().implementations(region)
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
        return OpenVinoArtifact(program, self, self.threads)
