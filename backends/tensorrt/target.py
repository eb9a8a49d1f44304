"""The target `tensorrt`: explicit Q/DQ ONNX that NVIDIA's parser takes as strongly typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import onnx_ir as ir

from qcompiler.backends.tensorrt.artifact import TensorRTArtifact
from qcompiler.backends.tensorrt.base_type import with_base_type
from qcompiler.backends.tensorrt.capabilities import (
    FP8_TABLE,
    INT8_TABLE,
    weight_only,
)
from qcompiler.backends.tensorrt.gpus import GPUS
from qcompiler.backends.tensorrt.lint import Fix, fix, lint
from qcompiler.backends.tensorrt.lint.run import Model
from qcompiler.backends.tensorrt.roofline import Roofline
from qcompiler.errors import ConfigurationError, LoweringError
from qcompiler.execution.stamp import options_for, restored_program
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.tail import without_tail
from qcompiler.target.artifact import ConversionCost
from qcompiler.target.capability import CapabilityTable, Implementation, Kernel
from qcompiler.target.contract import Restored, Target
from qcompiler.target.evidence import Evidence, stand_in
from qcompiler.target.explicit_qdq import deconvolution
from qcompiler.target.limits import require_whole

Precision = Literal["int8", "fp8", "int4-weights"]
Base = Literal["float32", "fp16", "bf16"]
StandIn = Literal["auto", "onnxruntime", "openvino"]
_COMPILED = {"int8": "Int8", "fp8": "FP8", "int4-weights": "Int4"}
_LOWEST = {"int8": 75, "fp8": 89, "int4-weights": 80}
_BLOCKS = (64, 128)


_BASES: Mapping[str, tuple[ir.DataType, ...]] = {
    "float32": (), "fp16": (ir.DataType.FLOAT16,), "bf16": (ir.DataType.BFLOAT16,),
}  # fmt: skip
"""Coarser types than float32 in which everything that is not quantized is computed, by base."""


@dataclass(frozen=True)
class TensorRT(Target):
    """TensorRT with explicit quantization: symmetric, float biases, no Q behind weighted ops.

    Attributes:
        precision: `int8`; `fp8` (E4M3, compute capability 89 and more); `int4-weights`.
        base: Type of what is not quantized; casts stand in the graph.
        compute_capability: SM number of the GPU, such as 86.
        block: Block size of int4 weights, 64 or 128.
        deconvolution: Quantize ConvTranspose too (TensorRT-RTX compiles it in float anyway).
        stand_in: What runs the file here, as the graph says: `onnxruntime` without optimizations,
            or `openvino`, which is faster; `auto` is OpenVINO for int8 beside float32 where it is
            installed.

    Raises:
        ConfigurationError: A precision that the GPU does not have, or a wrong block size.
    """

    precision: Precision = "int8"
    base: Base = "float32"
    compute_capability: int = 86
    block: int = 128
    deconvolution: bool = False
    stand_in: StandIn = "auto"

    name: ClassVar[str] = "tensorrt"
    packages: ClassVar[tuple[str, ...]] = ("tensorrt-rtx",)
    knows_custom_operators: ClassVar[bool] = True
    runs_float16: ClassVar[bool] = True
    has_texts: ClassVar[bool] = False
    placement: ClassVar[str] = (
        "insert-qdq,fold-qdq,float-movers,quantize-weights,quantize-bias,"
        "quantize-weight-blocks,share-constants,dead-code"
    )

    def __post_init__(self) -> None:
        if self.precision not in _COMPILED:
            raise ConfigurationError(
                f"TensorRT has no precision {self.precision!r}", fix=f"one of {list(_COMPILED)}"
            )
        if self.base not in _BASES:
            raise ConfigurationError(
                f"{self.base!r} is no base type of TensorRT", fix=f"one of {list(_BASES)}"
            )
        require_whole(self.name, "compute_capability", self.compute_capability, 1, 999)
        if self.compute_capability < _LOWEST[self.precision]:
            raise ConfigurationError(
                f"{self.precision} needs compute capability {_LOWEST[self.precision]}",
                where=f"compute_capability={self.compute_capability}",
                fix="choose int8, or a newer GPU",
            )
        if self.block not in _BLOCKS:
            raise ConfigurationError(
                f"block size {self.block} is not documented", fix=f"one of {_BLOCKS}"
            )

    @property
    def capabilities(self) -> CapabilityTable:
        if self.precision == "int4-weights":
            return weight_only(self.block)
        table = INT8_TABLE if self.precision == "int8" else FP8_TABLE
        if self.base == "bf16":
            table = table.overlay(without=("MaxPool",))  # lint, COMMUTING: not in bfloat16
        return table.overlay([deconvolution(table)]) if self.deconvolution else table

    @property
    def preferred(self) -> str:
        return self.precision

    @property
    def roofline(self) -> Roofline | None:
        """The model of the GPU, None for a compute capability without one."""
        gpu = GPUS.get(self.compute_capability)
        return None if gpu is None else Roofline(gpu, self.base)

    @property
    def floats(self) -> tuple[ir.DataType, ...]:
        return _BASES[self.base]

    @property
    def evidence(self) -> Evidence:
        model = self.roofline
        if model is None:
            return stand_in()
        return stand_in(f"a roofline model of SM {self.compute_capability} ({model.gpu.name})")

    def conversion_cost(self) -> ConversionCost | None:
        model = self.roofline
        return None if model is None else model.conversion

    @property
    def compiled_type(self) -> str:
        """How TensorRT-RTX names the quantized type in its layer list."""
        return _COMPILED[self.precision]

    @property
    def kernel(self) -> Kernel:
        """How the quantized forms of this precision compute."""
        return self.capabilities.forms[0].kernel

    def implementations(self, region: Region) -> tuple[Implementation, ...]:
        """A product with a stored weight quantizes it; only one without has two activations."""
        forms = super().implementations(region)
        if region.kind != "MatMul":
            return forms
        stored = region.weight is not None
        return tuple(form for form in forms if (form.weight is not None) is stored)

    def legality(self, program: Program) -> tuple[Diagnostic, ...]:
        return lint(program.model, self.compute_capability)

    def lint(self, model: Model) -> tuple[Diagnostic, ...]:
        """Findings about any ONNX file or model, the worst first; see `tensorrt.lint`."""
        return lint(model, self.compute_capability)

    def fix(self, model: Model) -> tuple[ir.Model, tuple[Fix, ...]]:
        """A copy with every rewrite that keeps the function, and what was done."""
        return fix(model)

    @classmethod
    def restore(cls, path: Path) -> Restored:
        """Opens an ONNX file as `Compiled.save` wrote it, called as its source was.

        Raises:
            ConfigurationError: What runs it is not installed.
            LoweringError: It refuses the file.
        """
        program, stamp = restored_program(path)
        program = without_tail(program)
        target = cls(**options_for(cls, stamp))
        return Restored(target, program, target.lower(program))

    def lower(self, program: Program) -> TensorRTArtifact:
        rejected = [d for d in self.legality(program) if d.severity is Severity.ERROR]
        if rejected:
            raise LoweringError(
                f"TensorRT would reject this graph in {len(rejected)} places",
                where=rejected[0].node,
                why="; ".join(str(each) for each in rejected[:3]),
                fix=rejected[0].hint,
            )
        return TensorRTArtifact(program, with_base_type(program.model, self.base), self)
