"""When two float runs of a program count as equal: rounding, not numbers out of the hat."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import all_nodes
from qcompiler.measurement.loss import output_losses
from qcompiler.measurement.slices import OutputSlices

Array = npt.NDArray[Any]


_FLOAT_NSR = 1e-6
"""60 dB: a thousand times the rounding of float32 (2^-24, about 1e-7 of a number), squared."""
_STEPS = 32
"""How many roundings of coarser types may add up, in standard deviations."""
_SHAKEN = 1e-6
_COARSE = {ir.DataType.FLOAT16: 2.0**-11, ir.DataType.BFLOAT16: 2.0**-8} | dict.fromkeys(
    (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2,
     ir.DataType.UINT2), 2.0**-8,
)  # fmt: skip
"""Relative rounding of types that a source may compute in, quantized ones included.

Engines round activations to 8 bits in front of weights of 8 bits and fewer (MatMulNBits)."""


def rounding(program: Program, floats: Collection[ir.DataType] = ()) -> float:
    """Noise-to-signal ratio up to which two float runs of a program count as equal.

    Args:
        program: What is run.
        floats: Coarser types that the target computes floats in.
    """
    kinds = set(floats) | {value.dtype for value in program.graph.initializers.values()}
    kinds |= set(program.provenance.computed)
    kinds |= {output.dtype for node in all_nodes(program.model) for output in node.outputs}
    coarse = max((_COARSE.get(kind, 0.0) for kind in kinds if kind is not None), default=0.0)
    return max(_FLOAT_NSR, (_STEPS * coarse) ** 2)


def float_losses(
    wanted: Sequence[Sequence[Any]],
    found: Sequence[Sequence[Any]],
    slices: Sequence[OutputSlices] | None,
) -> list[float]:
    """Loss by output; where the source is not finite, anything is right."""
    if any(len(a) != len(b) for a, b in zip(wanted, found, strict=True)):
        return [float("inf")] * len(wanted[0])
    pairs = [
        [where_finite(y, q) for y, q in zip(a, b, strict=True)]
        for a, b in zip(wanted, found, strict=True)
    ]
    left = [[pair[0] for pair in sample] for sample in pairs]
    right = [[pair[1] for pair in sample] for sample in pairs]
    return output_losses(left, right, slices)


def float_loss(
    wanted: Sequence[Sequence[Any]],
    found: Sequence[Sequence[Any]],
    slices: Sequence[OutputSlices] | None,
) -> float:
    """Loss of the output that differs most, see `float_losses`."""
    return max(float_losses(wanted, found, slices), default=0.0)


def where_finite(wanted: Any, got: Any) -> tuple[Any, Any]:
    """Both with zeros where the first is not finite."""
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind != "f":
        return wanted, got
    finite = np.isfinite(wanted)
    if finite.all() or np.shape(got) != wanted.shape:
        return wanted, got
    return np.where(finite, wanted, 0), np.where(finite, got, 0)


def shaken(feed: Feed) -> Feed:
    """The feed with float inputs changed in about their last three bits."""
    generator = np.random.default_rng(0)
    return {
        name: (array * (1 + _SHAKEN * generator.standard_normal(array.shape))).astype(array.dtype)
        if isinstance(array, np.ndarray) and array.dtype.kind == "f"
        else array
        for name, array in feed.items()
    }
