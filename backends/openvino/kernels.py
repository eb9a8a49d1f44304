"""Counting what OpenVINO really runs in integers, from its executable graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from qcompiler.decisions.binding import bound_regions
from qcompiler.execution.openvino.session import RuntimeLayer
from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.walk import is_op
from qcompiler.target.artifact import KernelCount
from qcompiler.target.contract import Target

_INTEGER = frozenset({"u8", "i8", "u4", "i4"})
_HEAVY = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "Subgraph"})
_SUFFIXES = ("/", "_original")
"""What OpenVINO appends to names when it splits or rewires a layer."""


def count_kernels(program: Program, target: Target, layers: Sequence[RuntimeLayer]) -> KernelCount:
    """Finds the weighted regions of the plan in OpenVINO's executable graph.

    A region is integer if a convolution or product made from its anchor runs in u8 or i8;
    elementwise regions are fused into others there and not looked for. Simulated forms are listed
    by themselves.
    """
    integer: list[str] = []
    missed: dict[str, str] = {}
    simulated: list[str] = []
    nameless: list[Region] = []
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
        elif precisions:
            missed[region.key] = f"OpenVINO runs it as {', '.join(sorted(precisions))}"
        else:
            nameless.append(region)
    unnamed = _unnamed(program, layers) if nameless else []
    for kinds in dict.fromkeys(_kinds(each) for each in nameless):
        alike = [each.key for each in nameless if _kinds(each) == kinds]
        if len(alike) == sum(layer.kind in kinds for layer in unnamed):
            integer += alike
        else:
            missed |= dict.fromkeys(alike, "OpenVINO runs it as no layer of its own")
    ops = Counter(f"{layer.kind}:{layer.precision}" for layer in layers)
    return KernelCount(tuple(integer), missed, dict(ops), tuple(simulated))


_KINDS = {"Conv": ("Convolution",), "ConvTranspose": ("Deconvolution",)}


def _kinds(region: Region) -> tuple[str, ...]:
    return _KINDS.get(region.kind, ("FullyConnected", "MatMul"))


def _unnamed(program: Program, layers: Sequence[RuntimeLayer]) -> list[RuntimeLayer]:
    """Integer kernels under no weighted op's name: a Sub behind one turns its scale's sign.

    Each comes from a weighted region, so as many of them as regions are missing are those.
    """
    weighted = [node for node in program.graph if is_op(node, *LINEAR)]
    held = [name for node in weighted for name in (node.name, *(v.name for v in node.outputs))]
    names = [name for name in held if name]
    return [
        layer
        for layer in layers
        if layer.precision in _INTEGER and not any(_stems(layer.origins, name) for name in names)
    ]


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
