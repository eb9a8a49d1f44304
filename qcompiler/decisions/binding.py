"""A placement's names joined with the nodes of one program."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from qcompiler.decisions.placement import OperandPlacement, Placement, RegionPlacement
from qcompiler.errors import LegalityError
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Operand, Region, written_by
from qcompiler.ir.walk import all_nodes
from qcompiler.target.capability import Implementation, Kernel


@dataclass(frozen=True, eq=False)
class Placed:
    """A region of a program and what was decided about it.

    Attributes:
        region: Its nodes in this program; absorbed ones that are gone are left out.
        decided: The decision.
    """

    region: Region
    decided: RegionPlacement

    @property
    def form(self) -> Implementation:
        return self.decided.form

    @property
    def quantized_operands(self) -> tuple[Operand, ...]:
        """The operands that the form reads as integers."""
        both = zip(self.region.activations, self.decided.activations, strict=True)
        return tuple(operand for operand, found in both if found.params is not None)

    @property
    def moves_integers(self) -> bool:
        """Whether it is data movement that is given integers, so no kernel of its own is left."""
        kinds = [operand.value.dtype for operand in self.region.activations]
        return any(kind is not None and not kind.is_floating_point() for kind in kinds)


def decided(program: Program) -> Placement:
    """The program's placement.

    Raises:
        LegalityError: Nothing is decided yet.
    """
    if program.placement is None:
        raise LegalityError(
            "nothing is decided about this program", fix="run resolve-placement first"
        )
    return program.placement


def bound_regions(program: Program, kernel: Kernel = Kernel.STATIC) -> list[Placed]:
    """The regions that run in a form of this kind, in graph order.

    Regions whose anchor is gone (taken apart by a pass that wrote them otherwise) are left out.

    Raises:
        LegalityError: Nothing is decided yet.
    """
    wanted = [each for each in decided(program).regions.values() if each.form.kernel is kernel]
    if not wanted:
        return []
    nodes = {node.name or "": node for node in all_nodes(program.model)}
    return [_bound(each, nodes) for each in wanted if each.nodes[0] in nodes]


def _bound(found: RegionPlacement, nodes: dict[str, ir.Node]) -> Placed:
    present = tuple(nodes[name] for name in found.nodes if name in nodes)
    region = Region(
        present,
        tuple(Operand(nodes[each.node], each.index) for each in found.activations),
        _operand(found.weight, nodes),
        _operand(found.bias, nodes),
        written_by(present[-1]),
    )
    return Placed(region, found)


def _operand(found: OperandPlacement | None, nodes: dict[str, ir.Node]) -> Operand | None:
    return None if found is None else Operand(nodes[found.node], found.index)
