"""The target `cpu`: whichever installed engine runs a model fastest on this processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.errors import ConfigurationError, LoweringError
from qcompiler.ir.program import Program
from qcompiler.target.artifact import Artifact
from qcompiler.target.capability import CapabilityTable
from qcompiler.target.contract import Target
from qcompiler.target.limits import require_threads
from qcompiler.target.processor import NATIVE, require_cpu

ENGINES = ("onnxruntime", "openvino", "openvino{base=bf16}", "fbgemm", "onednn")


@dataclass(frozen=True)
class Cpu(Target):
    """The fastest of the installed engines, each compared with ONNX Runtime's float.

    Attributes:
        engines: Targets as they are written, of which the first is the yardstick.
        threads: Threads inside one kernel; None leaves the choice to the engine.
        cpu: What engines may rely on: `native`, `vnni`, `avx2` or `portable`.

    Raises:
        ConfigurationError: No engines, one twice, an unknown `cpu`, or a number of threads that
            makes no sense.
    """

    engines: tuple[str, ...] = ENGINES
    threads: int | None = None
    cpu: str = NATIVE

    name: ClassVar[str] = "cpu"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def __post_init__(self) -> None:
        require_threads(self.name, self.threads)
        require_cpu(self.name, self.cpu)
        if not self.engines or len(set(self.engines)) < len(self.engines):
            raise ConfigurationError(
                f"cpu cannot try the engines {list(self.engines)}", fix="name each of them once"
            )
        if self.name in self.engines:
            raise ConfigurationError("cpu is no engine", fix="name engines, such as openvino")

    @property
    def members(self) -> tuple[str, ...]:
        return self.engines

    @property
    def capabilities(self) -> CapabilityTable:
        """None of its own: each engine has a table."""
        return CapabilityTable(())

    def lower(self, program: Program) -> Artifact:
        raise LoweringError(
            "cpu is no engine: nothing can be lowered for it",
            fix=f"name one of {', '.join(self.engines)}",
        )
