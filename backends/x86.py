"""The target `x86`: torch's default engine, which picks FBGEMM or oneDNN per layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.backends.torch_engines.engine import TorchEngine


@dataclass(frozen=True)
class X86(TorchEngine):
    """The mixed engine: it has the faults of oneDNN's convolutions."""

    name: ClassVar[str] = "x86"
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    engine: ClassVar[str] = "x86"
