"""The target `qnnpack`: torch's mobile engine; on x86 a correctness engine, slower than float."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from qcompiler.backends.torch_engines.capabilities import (
    ACTIVATION,
    BASE,
    ELEMENTWISE,
    FLOAT32,
    PAIR,
    PLANAR,
    UNIT_256,
    with_int32_bias,
)
from qcompiler.backends.torch_engines.engine import TorchEngine
from qcompiler.ir.regions import Region, RegionPattern
from qcompiler.quantization.qspace import S8_SYMMETRIC_PER_CHANNEL
from qcompiler.target.capability import (
    CapabilityTable,
    Implementation,
    OpCapability,
)

_ROOM = 1 - 2.0**-20
"""For the rounding of scales and of what is computed from them."""


def _sum_ratios(region: Region) -> tuple[float, float]:
    """Scale of an operand over that of the sum, as pytorch_qnnp_create_add_nc_q8 takes it."""
    del region
    return 2.0**-14 / _ROOM, 2.0**8 * _ROOM


_SIGMOID = OpCapability(RegionPattern("Sigmoid"), (UNIT_256,), (FLOAT32,))
_SUM = OpCapability(
    RegionPattern("Add", (ACTIVATION,)),
    (replace(ELEMENTWISE, ratios=_sum_ratios),),
    (FLOAT32, PAIR),
)
_POOLS = (BASE.narrowed("MaxPool", PLANAR),)


@dataclass(frozen=True)
class Qnnpack(TorchEngine):
    """QNNPACK: int32 bias, and per-channel ConvTranspose without groups."""

    name: ClassVar[str] = "qnnpack"
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    engine: ClassVar[str] = "qnnpack"
    table: ClassVar[CapabilityTable] = with_int32_bias(BASE).overlay((_SIGMOID, _SUM, *_POOLS))

    def _form(self, region: Region, form: Implementation) -> Implementation:
        if form.weight is not None and self._per_channel_transposed(region):
            return replace(form, weight=S8_SYMMETRIC_PER_CHANNEL)
        return form

    def _per_channel_transposed(self, region: Region) -> bool:
        ungrouped = region.anchor.attributes.get_int("group", 1) == 1
        return region.kind == "ConvTranspose" and ungrouped
