"""The lowered form for TensorRT: an ONNX file, and a named stand-in that runs it here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import onnx_ir as ir

from qcompiler.backends.tensorrt.gate import WORDING, Gate, GateResult, available
from qcompiler.backends.tensorrt.lint.run import float_nodes
from qcompiler.backends.tensorrt.roofline import modelled
from qcompiler.backends.tensorrt.stand_in import open_stand_in
from qcompiler.decisions.binding import Placed, bound_regions
from qcompiler.execution.saving import weight_bytes, write_onnx
from qcompiler.execution.stamp import stamped
from qcompiler.files.scratch import scratch_folder
from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.signature import Feed, arrays_of
from qcompiler.ir.tail import with_tail
from qcompiler.target.artifact import Artifact, CostSample, KernelCount
from qcompiler.target.capability import Kernel

if TYPE_CHECKING:
    from qcompiler.backends.tensorrt.target import TensorRT


class TensorRTArtifact(Artifact):
    """A strongly typed Q/DQ ONNX model for `trtexec --stronglyTyped`.

    TensorRT itself needs a GPU. `run` executes the file on a stand-in (see `stand_in`), which
    says nothing about speed or accuracy on a GPU.

    Args:
        program: The placed program; regions and plan are read from it.
        model: What is saved and run: `program.model`, or a copy in a 16-bit base type.
        target: Options of the compilation.

    Raises:
        LoweringError: The stand-in refuses the model.
    """

    def __init__(self, program: Program, model: ir.Model, target: TensorRT) -> None:
        self._program = program
        self._model = model
        self._target = target
        self._stand_in = open_stand_in(target, program, model)
        self._gate: GateResult | None = None

    @property
    def model(self) -> ir.Model:
        """The model as it is saved, custom operators behind it included."""
        return with_tail(self._model, self._program.tail)

    def run(self, feed: Feed) -> list[npt.NDArray[Any]]:
        return self._stand_in.run(feed)

    @property
    def stand_in(self) -> str:
        return self._stand_in.name

    def profile(self, feeds: Sequence[Feed]) -> CostSample | None:
        """Seconds by the target's roofline model, for the largest feed; nothing is measured."""
        roofline = self._target.roofline
        if roofline is None or not feeds:
            return None
        largest = max(feeds, key=lambda feed: sum(a.size for _, a in arrays_of(feed)))
        return modelled(self._program, self._target, roofline, largest)

    @property
    def nbytes(self) -> int:
        return weight_bytes(self.model)

    def save(self, path: Path) -> None:
        write_onnx(stamped(self.model, self._target, self._program), path)

    def gate(self) -> GateResult:
        """What NVIDIA's parser and ahead-of-time builder say; asked once.

        Custom operators behind the network are left out: their plugins are not here.

        Raises:
            ConfigurationError: The TensorRT-RTX wheels are not installed.
            LoweringError: The builder did not answer in time.
        """
        if self._gate is None:
            with scratch_folder() as folder:
                path = folder / "model.onnx"
                write_onnx(self._model, path)
                with Gate(self._target.compute_capability) as gate:
                    self._gate = gate.check(path)
        return self._gate

    def statement(self) -> str:
        """What may be claimed about this file, in one sentence."""
        if not available():
            return "checked by qcompiler's TensorRT lint; NVIDIA's builder is not installed"
        result = self.gate()
        if not result.built:
            return f"TensorRT-RTX refused it: {(result.errors or ('no reason given',))[0]}"
        counts = []
        placed = self._weighted()
        for kinds, word in ((("Conv", "ConvTranspose"), "convolutions"),
                            (("MatMul", "Gemm"), "matmuls")):  # fmt: skip
            names = [each.region.anchor.name or "" for each in placed if each.region.kind in kinds]
            done = sum(result.runs_in(name, self._target.compiled_type) for name in names)
            counts.append(f"{done} of {len(names)} {word}")
        return f"{WORDING}; {counts[0]} and {counts[1]} compiled with " + (
            f"{self._target.compiled_type} inputs"
            if self._target.kernel is Kernel.STATIC
            else f"{self._target.compiled_type} weights"
        )

    def kernels(self) -> KernelCount:
        """Weighted regions by the type they were compiled for (predicted without the wheels)."""
        if not available():
            return self._predicted()
        result = self.gate()
        wanted = self._target.compiled_type

        def miss(region: Region) -> str | None:
            name = region.anchor.name or ""
            if result.runs_in(name, wanted):
                return None
            found = result.layers.get(name, "nothing")
            return f"TensorRT-RTX compiled it for {found}" if result.built else "refused"

        ops = Counter(
            f"{layer.kind}:{layer.computes_in}" for layer in result.compiled if layer.inputs
        )
        return self._count(miss, dict(ops))

    def _predicted(self) -> KernelCount:
        floats = float_nodes(self._model, self._target.compute_capability)

        def miss(region: Region) -> str | None:
            return "the lint expects float" if region.anchor.name in floats else None

        return self._count(miss, {})

    def _count(self, miss: Callable[[Region], str | None], ops: dict[str, int]) -> KernelCount:
        integer, missed = [], {}
        for each in self._weighted():
            reason = miss(each.region)
            if reason is None:
                integer.append(each.region.key)
            else:
                missed[each.region.key] = reason
        return KernelCount(tuple(integer), missed, ops)

    def _weighted(self) -> list[Placed]:
        """The weighted regions that the plan quantizes."""
        if self._program.placement is None:
            return []
        kernel = self._target.kernel
        placed = bound_regions(self._program, kernel)
        return [each for each in placed if each.region.kind in LINEAR]
