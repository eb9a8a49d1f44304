"""The target `executorch`: a `.pte` program whose layers run in XNNPACK."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qcompiler.backends.executorch.arithmetic import ARITHMETIC
from qcompiler.backends.executorch.capabilities import TABLE
from qcompiler.ir.program import Program
from qcompiler.target.arithmetic import Arithmetic
from qcompiler.target.capability import CapabilityTable
from qcompiler.target.contract import Restored, Target
from qcompiler.target.limits import require_whole

if TYPE_CHECKING:
    from qcompiler.backends.executorch.artifact import ExecuTorchArtifact

_LARGEST = 1 << 20
"""Of an axis: ExecuTorch plans memory for the product of all of them."""


@dataclass(frozen=True)
class ExecuTorch(Target):
    """ExecuTorch 1.5 with the XNNPACK delegate.

    Attributes:
        batch: Largest size of an open axis 0; memory is planned for it.
        length: Largest size of every other open axis.

    Raises:
        ConfigurationError: A size is not positive, or beyond what memory is planned for.
    """

    batch: int = 32
    length: int = 512

    name: ClassVar[str] = "executorch"
    packages: ClassVar[tuple[str, ...]] = ("executorch", "torch")
    has_texts: ClassVar[bool] = False
    placement: ClassVar[str] = (
        "insert-qdq,share-dequantized,quantize-weights,quantize-bias,insert-dynamic-quantization,dead-code"
    )

    def __post_init__(self) -> None:
        for name in ("batch", "length"):
            require_whole(self.name, name, getattr(self, name), 1, _LARGEST)

    @property
    def capabilities(self) -> CapabilityTable:
        return TABLE

    @property
    def arithmetic(self) -> Arithmetic:
        return ARITHMETIC

    def lower(self, program: Program) -> ExecuTorchArtifact:
        from qcompiler.backends.executorch.artifact import ExecuTorchArtifact

        return ExecuTorchArtifact(program, self)

    @classmethod
    def recognizes(cls, head: bytes) -> bool:
        return head[4:6] == b"ET"  # the flatbuffer's identifier, followed by its version

    @classmethod
    def restore(cls, path: Path) -> Restored:
        """Opens a `.pte` written by `Compiled.save`; it runs, and holds no graph to verify.

        Raises:
            ArtifactError: Not such a file, or damaged.
            ConfigurationError: The package `executorch` is not installed.
        """
        from qcompiler.backends.executorch import record
        from qcompiler.backends.executorch.runtime import require

        require()
        pte, kept = record.read(path)
        artifact = record.RestoredArtifact(pte, kept, record.signature_of(kept))
        target = cls(batch=kept["batch"], length=kept["length"])
        return Restored(target, record.opaque_program(kept), artifact)
