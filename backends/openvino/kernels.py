"""Counting what OpenVINO really runs in integers, from its executable graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from qcompiler.decisions.binding import bound_regions
from qcompiler.execution.openvino.session import RuntimeLayer
from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.target.artifact import KernelCount
from qcompiler.target.contract import Target

_INTEGER = frozenset({"u8", "i8"})
_HEAVY = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "Subgraph"})
_SUFFIXES = ("/", "_original")
"""What OpenVINO appends to names when it splits or rewires a layer."""


def count_kernels(program: Program, target: Target, layers: Sequence[RuntimeLayer]) -> KernelCount:
    """Finds the weighted regions of the plan in OpenVINO's executable graph.

    A region is integer if a convolution or product made from its anchor runs in u8 or i8;
    elementwise regions are fused into others there and not looked for. Simulated forms are listed
    by themselves.
    """
    integer, missed, simulated = [], {}, []
    placed = bound_regions(program) if program.placement is not None else []
    for each in placed:
        region = each.region
        if each.form.simulated:
            simulated.append(region.key)
            continue
        if region.kind not in LINEAR or region.anchor.graph is not program.graph:
            continue  # OpenVINO's graph does not show the bodies of If and Loop
        precisions = {layer.precision for layer in layers if _made_from(layer, region)}
        if precisions & _INTEGER:
            integer.append(region.key)
        else:
            seen = ", ".join(sorted(precisions)) or "no layer of its own"
            missed[region.key] = f"OpenVINO runs it as {seen}"
    ops = Counter(f"{layer.kind}:{layer.precision}" for layer in layers)
    return KernelCount(tuple(integer), missed, dict(ops), tuple(simulated))


def _made_from(layer: RuntimeLayer, region: Region) -> bool:
    if layer.kind not in _HEAVY:
        return False
    names = [region.anchor.name or "", region.anchor.outputs[0].name or ""]
    return any(_stems(layer.origins, name) for name in names if name)


def _stems(origins: Iterable[str], name: str) -> bool:
    return any(
        origin == name or any(origin.startswith(name + suffix) for suffix in _SUFFIXES)
        for origin in origins
    )
