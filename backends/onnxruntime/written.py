"""The grid that a kernel of ONNX Runtime's own graph writes, against the one the program gives it.

Shown interior values cannot tell: a value that is an output keeps ONNX Runtime from merging pairs
around it, so what is compared then is not what runs otherwise. Its optimized graph does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.qdq import params_of
from qcompiler.ir.regions import Region
from qcompiler.ir.walk import constant, is_op, uses
from qcompiler.quantization.qspace import QParams

_SCALE_AT = {
    "QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7, "QLinearAdd": 6, "QLinearMul": 6,
    "QLinearConcat": 0, "QLinearSigmoid": 3, "QLinearLeakyRelu": 3, "QLinearSoftmax": 3,
    "QLinearAveragePool": 3, "QLinearGlobalAveragePool": 3, "QLinearWhere": 7,
}  # fmt: skip
"""Position of the output's scale; its zero point follows (contrib operator schemas)."""
_CLOSE = 1e-6
"""Relative rounding of a scale that is computed again in float32."""


def rewritten_outputs(
    regions: Sequence[Region], kernels: Mapping[str, Sequence[ir.Node]]
) -> dict[str, str]:
    """Regions whose kernel writes another scale or zero point than the program's, with both.

    Args:
        regions: Those of the lowered program.
        kernels: Nodes of the optimized graph by region key.
    """
    found = {}
    for region in regions:
        wanted = [params for node in _quantizing(region.output) if (params := params_of(node))]
        for node in kernels.get(region.key, ()):
            written = _written(node)
            if written is None or not wanted or any(_equal(each, *written) for each in wanted):
                continue
            scale, level = written
            found[region.key] = (
                f"{node.op_type} writes scale {scale:.6g} with zero at level {level}, the program "
                f"says {float(wanted[0].scale):.6g} and {_level(wanted[0])}"
            )
    return found


def _quantizing(value: ir.Value) -> Iterator[ir.Node]:
    """What quantizes a value, behind what only moves or clamps it as well."""
    for use in uses(value):
        if is_op(use.node, "QuantizeLinear") and use.idx == 0:
            yield use.node
        elif is_op(use.node, "Relu", "Clip") and use.idx == 0:
            yield from _quantizing(use.node.outputs[0])


def _written(node: ir.Node) -> tuple[float, int] | None:
    """Scale, and the zero point counted from the lowest integer, as 8-bit types are exchanged."""
    position = _SCALE_AT.get(node.op_type)
    if position is None or len(node.inputs) < position + 2:
        return None
    scale, zero = (constant(node.inputs[position + i]) for i in (0, 1))
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return float(scale.reshape(())), _from_lowest(zero)


def _from_lowest(zero: npt.NDArray[Any]) -> int:
    return int(zero.reshape(())) - int(np.iinfo(zero.dtype).min)


def _level(params: QParams) -> int:
    return _from_lowest(params.zero_point.astype(params.space.dtype.numpy()))


def _equal(params: QParams, scale: float, level: int) -> bool:
    close = abs(float(params.scale) - scale) <= _CLOSE * abs(scale)
    return close and _level(params) == level
