"""The target `onednn`: the fastest engine for convolutional networks; fuses residual adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.backends.torch_engines.capabilities import BASE, FUSED_ADD_CONV
from qcompiler.backends.torch_engines.engine import TorchEngine
from qcompiler.target.capability import CapabilityTable


@dataclass(frozen=True)
class Onednn(TorchEngine):
    """oneDNN through torch's quantized operators."""

    name: ClassVar[str] = "onednn"
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    engine: ClassVar[str] = "onednn"
    table: ClassVar[CapabilityTable] = BASE.overlay((FUSED_ADD_CONV,))
