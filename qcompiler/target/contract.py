"""What a target is: a capability table, legality, lowering to an artifact that runs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import ArtifactError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.optraits import traits
from qcompiler.ir.origin import source_line
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region, find_regions
from qcompiler.ir.signature import Feed
from qcompiler.target.arithmetic import Arithmetic
from qcompiler.target.artifact import Artifact, ConversionCost
from qcompiler.target.capability import CapabilityTable, Implementation
from qcompiler.target.constraints import COMMON
from qcompiler.target.evidence import MEASURED, Evidence

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Restored:
    """What a saved artifact holds: for which target, what was lowered, and the artifact itself."""

    target: Target
    program: Program
    artifact: Artifact


STATIC_PLACEMENT = (
    "insert-qdq,quantize-stored-operands,fold-qdq,quantize-weights,quantize-bias,"
    "insert-dynamic-quantization,tie-embeddings,dead-code"
)
"""Passes from a planned program to explicit quantization, as pipeline text."""


@dataclass(frozen=True)
class Target(ABC):
    """A deployment runtime. Options are dataclass fields; facts are in `capabilities`.

    Class attributes:
        name: Name in the registry.
        packages: Whose versions decide which kernels there are, and how fast.
        placement: Pipeline text that makes a plan explicit for this target.
        knows_custom_operators: Whether files may end in operators that only the runtime knows:
            what depends on them is left as it is, and is no part of what is called here.
        runs_float16: Whether the engine has float16 kernels that are worth keeping; elsewhere
            float16 models are compiled in float32, with Casts at their inputs and outputs.
        has_texts: Whether its engine may have tensors of strings; False refuses them early.
        tolerance_lsb: Steps by which the engine's integers may differ from the integer reference.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    placement: ClassVar[str] = STATIC_PLACEMENT
    knows_custom_operators: ClassVar[bool] = False
    runs_float16: ClassVar[bool] = False
    has_texts: ClassVar[bool] = True
    tolerance_lsb: ClassVar[int] = 0

    @property
    def engine_version(self) -> str:
        """Versions of the engine's packages; measured times are kept by it."""
        found = []
        for package in self.packages:
            with suppress(PackageNotFoundError):
                found.append(f"{package} {version(package)}")
        return ", ".join(found)

    @property
    def most_threads(self) -> int:
        """Threads of its engine: as asked for, else one for each core."""
        return getattr(self, "threads", None) or os.cpu_count() or 1

    def single_threaded(self) -> Target:
        """The same target with one engine thread, for workers that share a machine."""
        one: dict[str, Any] = {each.name: 1 for each in fields(self) if each.name == "threads"}
        return replace(self, **one)

    @property
    @abstractmethod
    def capabilities(self) -> CapabilityTable:
        """What the runtime runs in which form."""

    @property
    def members(self) -> tuple[str, ...]:
        """Names of targets that this one stands for, of which the first is the yardstick.

        An engine is one target and has none.
        """
        return ()

    @property
    def yardstick(self) -> Target:
        """The target whose float is the reference of losses and times: itself.

        One that computes float values in a coarser type than the source names the one that does
        not, so that what the type alone loses and gains is measured, too.
        """
        return self

    @property
    def unsuited(self) -> str | None:
        """Why this processor gains nothing by its options; `cpu` leaves it out then."""
        return None

    @property
    def advice(self) -> str | None:
        """What who runs the file without qcompiler has to know, in a sentence."""
        return None

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages of the engine that are not installed."""
        return tuple(each for each in self.packages if not _is_installed(each))

    @property
    def arithmetic(self) -> Arithmetic:
        """How the engine's integers differ from ONNX Runtime's, for `verify`."""
        return Arithmetic()

    @property
    def preferred(self) -> str:
        """Precision that the scheme `auto` takes where nothing can be measured."""
        return "int8"

    @property
    def floats(self) -> tuple[ir.DataType, ...]:
        """Coarser types than the model's in which the target computes float values."""
        return ()

    @property
    def evidence(self) -> Evidence:
        """Where times and losses come from; `NOTHING` for a target that only writes files."""
        return MEASURED

    @abstractmethod
    def lower(self, program: Program) -> Artifact:
        """Turns a legal program (float or Q/DQ) into something the engine runs.

        Raises:
            LoweringError: An op has no lowering, or the engine refuses the result.
        """

    @classmethod
    def recognizes(cls, head: bytes) -> bool:
        """Whether a file that begins with these bytes may be an artifact that `restore` reads."""
        return False

    @classmethod
    def restore(cls, path: Path) -> Restored:
        """Reads what `Artifact.save` wrote.

        Raises:
            ArtifactError: The target cannot read artifacts, or this is none of its own.
        """
        raise ArtifactError(
            f"{path} cannot be read back",
            why=f"the target {cls.name} only writes files",
            fix="run the file with the target's own runtime",
        )

    def baseline(self, source: Program, model: object, feeds: Sequence[Feed]) -> Artifact:
        """What results must not be slower than: the source on this engine, in its best float form.

        Args:
            source: The program as the front end gave it.
            model: What the user gave; an eager module may be faster than its lowering.
            feeds: Samples to time with.

        Raises:
            LoweringError: See `lower`.
        """
        return self.yardstick.lower(source)

    def conversion_cost(self) -> ConversionCost | None:
        """What entering and leaving integers costs on this machine; None if it is not known."""
        return None

    def regions(self, program: Program) -> list[Region]:
        """The program's regions under this target's patterns.

        Ops that move indices, shapes or data that is quantized already are no candidates.
        """
        found = find_regions(program, self.capabilities.patterns)
        return [region for region in found if not moves_integers(region)]

    def implementations(self, region: Region) -> tuple[Implementation, ...]:
        """Legal quantized forms of the region; empty when it has to stay float."""
        row = self.capabilities.row(region.kind)
        if row is None or self.objections(region):
            return ()
        return row.fitting(region)

    def implementation(self, region: Region, precision: str) -> Implementation | None:
        """The form that a plan's precision names, None for float."""
        if precision == FLOAT:
            return None
        found = [each for each in self.implementations(region) if each.precision == precision]
        return found[0] if found else None

    def objections(self, region: Region) -> tuple[Diagnostic, ...]:
        """Every violated constraint of the region's row, or of all targets."""
        row = self.capabilities.row(region.kind)
        if row is None:
            return ()
        reasons = [(each, each.check(region)) for each in (*COMMON, *row.constraints)]
        return tuple(
            Diagnostic(
                Severity.INFO,
                each.name,
                reason,
                node=region.anchor.name,
                source=source_line(region.anchor),
                reference=each.reference or None,
            )
            for each, reason in reasons
            if reason is not None
        )

    def legality(self, program: Program) -> tuple[Diagnostic, ...]:
        """What the runtime would reject or run otherwise than meant in a placed program."""
        return ()


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def moves_integers(region: Region) -> bool:
    """Whether the region moves indices, shapes or data that is quantized already."""
    if not traits(region.anchor).shares_scale:
        return False
    read = region.activations or ((region.weight,) if region.weight is not None else ())
    kinds = [operand.value.dtype for operand in read]
    return any(kind is not None and not kind.is_floating_point() for kind in kinds)


def all_objections(target: Target, regions: Sequence[Region]) -> tuple[Diagnostic, ...]:
    """The objections to every region, in order."""
    return tuple(found for region in regions for found in target.objections(region))
