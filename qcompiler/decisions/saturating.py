"""Forms whose weights are right on processors that add pairs of 8-bit products in int16.

A layer keeps its 8 bits where no two of its weights can leave int16 together; otherwise it gets 7:
(64 + 64) · 255 stays below 2^15. Whatever order a kernel adds in, that is a proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qcompiler.decisions.roundings import nearest
from qcompiler.ir.optraits import weight_channel_axis
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.quantization.qspace import QSpace
from qcompiler.quantization.saturation import pair_saturation
from qcompiler.target.capability import Implementation, Kernel
from qcompiler.target.processor import AVX2, NATIVE, PORTABLE, has_dot_products

_RECURRENT = frozenset({"LSTM", "GRU"})
_BITS = 8


def without_saturation(
    region: Region, forms: Sequence[Implementation]
) -> tuple[Implementation, ...]:
    """The forms with weights of 7 bits where 8 could saturate.

    Dynamic forms of recurrent layers, whose several weights have no such proof, are left out.
    """
    found = []
    for form in forms:
        weight = form.weight
        summed = form.kernel is not Kernel.WEIGHT_ONLY and weight is not None
        if not summed or weight is None or weight.used_bits != _BITS:
            found.append(form)
        elif region.kind in _RECURRENT:
            continue
        elif _saturates(region, weight):
            found.append(replace(form, weight=replace(weight, bits=_BITS - 1)))
        else:
            found.append(form)
    return tuple(found)


def warn_of_saturation(program: Program, cpu: str, *, onednn: bool = False) -> None:
    """Says so of a saved program whose 8-bit weights the kernels of this processor may add wrongly.

    Args:
        program: As restored, with its plan.
        cpu: What it was compiled for.
        onednn: See `has_dot_products`.
    """
    quantized = program.plan is not None and set(program.plan.precisions.values()) - {FLOAT}
    if not quantized or cpu in (PORTABLE, AVX2) or has_dot_products(NATIVE, onednn=onednn):
        return
    told = f"the file was compiled for cpu={cpu!r} and this processor has no VNNI: layers with "
    told += "8-bit weights may saturate; compile with cpu='portable'"
    warnings = (*program.provenance.warnings, told)
    program.provenance = replace(program.provenance, warnings=warnings)


def _saturates(region: Region, space: QSpace) -> bool:
    """Whether two weights of one output channel can do it; yes where the weight is not known."""
    if region.weight is None:
        return False
    rounding = nearest(region.anchor, region.weight.value, space)
    if rounding is None:
        return True
    axis = weight_channel_axis(region.anchor)
    values = rounding.integers
    if axis is None:
        axis, values = 0, values.reshape(1, -1)
    return bool(pair_saturation(values, axis=axis, adjacent=False).any())
