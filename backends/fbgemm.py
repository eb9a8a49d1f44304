"""The target `fbgemm`: torch's kernels for servers; exact, with the bias added in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.backends.torch_engines.engine import TorchEngine


@dataclass(frozen=True)
class Fbgemm(TorchEngine):
    """FBGEMM. Depthwise layers get 7-bit weights on any CPU (fault B1)."""

    name: ClassVar[str] = "fbgemm"
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    engine: ClassVar[str] = "fbgemm"
