"""`Region`: nodes that a target runs as one kernel, found anew from the target's patterns.

A pattern is an anchor op and the epilogues that the kernel can absorb, in order, each optional:
Conv + Relu, MatMul + bias Add + Relu, Conv + residual Add + Relu. An interior value must have one
user and not be a graph output, or the region ends before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import onnx_ir as ir

from qcompiler.ir.indices import size_values
from qcompiler.ir.kept import is_kept_float
from qcompiler.ir.optraits import activation_positions, bias_of, traits, weight_of
from qcompiler.ir.products import is_row, product_rank
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_graphs, is_op, is_stored, rank, sole_user, values_of_constants


class Stage(Enum):
    """What an epilogue node does with the anchor's result."""

    BIAS_ADD = "bias add"
    RESIDUAL_ADD = "residual add"
    ACTIVATION = "activation"


@dataclass(frozen=True)
class Epilogue:
    """One optional absorbed step.

    Attributes:
        stage: What it does.
        ops: ONNX ops that may do it.
        condition: Extra test on the node; None accepts every one.
    """

    stage: Stage
    ops: frozenset[str]
    condition: Callable[[ir.Node], bool] | None = None


@dataclass(frozen=True)
class RegionPattern:
    """An anchor op and what its kernel absorbs behind it, in order.

    Attributes:
        anchor: The op.
        epilogues: What may follow it.
        tables: Whether an anchor without activations is a region, too: a look-up in a stored table.
    """

    anchor: str
    epilogues: tuple[Epilogue, ...] = ()
    tables: bool = False


@dataclass(frozen=True)
class Operand:
    """One input position of one node."""

    node: ir.Node
    index: int

    @property
    def value(self) -> ir.Value:
        value = self.node.inputs[self.index]
        assert value is not None
        return value


@dataclass(frozen=True, eq=False)
class Region:
    """A set of nodes that runs as one kernel. Regions compare by identity.

    Attributes:
        nodes: The anchor, then the absorbed nodes in order.
        activations: Operands computed at run time, the residual operand last; none of a look-up.
        weight: The stored weight operand (constant, or constant behind Q/DQ).
        bias: The stored bias operand (of the anchor or of a bias Add).
        output: The last node's first output that is not omitted (of an LSTM it can be `Y_h`).
        fixed: Activations that follow from constants alone. Only legality asks for them: a region
            that is bound to a placement has none.
    """

    nodes: tuple[ir.Node, ...]
    activations: tuple[Operand, ...]
    weight: Operand | None
    bias: Operand | None
    output: ir.Value
    fixed: frozenset[ir.Value] = frozenset()

    @property
    def computed(self) -> tuple[Operand, ...]:
        """Activations that depend on an input."""
        return tuple(each for each in self.activations if each.value not in self.fixed)

    @property
    def anchor(self) -> ir.Node:
        return self.nodes[0]

    @property
    def kind(self) -> str:
        """The anchor's op."""
        return self.anchor.op_type

    @property
    def key(self) -> str:
        """Stable name: that of the anchor node, which no pass changes."""
        return self.anchor.name or ""

    @property
    def ops(self) -> str:
        """The nodes' ops in order, as `Conv+Add+Relu`."""
        return "+".join(node.op_type for node in self.nodes)

    @property
    def activation_node(self) -> ir.Node | None:
        """The absorbed activation function, if there is one."""
        last = self.nodes[-1]
        return last if len(self.nodes) > 1 and traits(last).unary else None

    def __str__(self) -> str:
        return f"{self.ops} '{self.key}'"


def find_regions(program: Program, patterns: Sequence[RegionPattern]) -> list[Region]:
    """All regions of the program, subgraphs included, in graph order; each node in one at most.

    Arithmetic on sizes and indices is none (see `size_values`), nor what follows from constants
    alone: engines compute that when they load a model. A node that a rewrite needs in float is in
    none, and ends a region before it.
    """
    table: Mapping[str, RegionPattern] = {pattern.anchor: pattern for pattern in patterns}
    taken: set[ir.Node] = set()
    sizes, stored = size_values(program), values_of_constants(program.model)
    regions = []
    for graph in all_graphs(program.model):
        for node in graph:
            if node in taken or not is_op(node, *table) or is_kept_float(node):
                continue
            region = _grow(node, table[node.op_type], taken, stored)
            if region is None or region.output in sizes:
                continue
            if region.computed or not region.activations:
                taken.update(region.nodes)
                regions.append(region)
    return regions


def _grow(
    anchor: ir.Node, pattern: RegionPattern, taken: set[ir.Node], stored: set[ir.Value]
) -> Region | None:
    positions = activation_positions(anchor)
    look_up = pattern.tables and weight_of(anchor) is not None
    if not (positions or look_up) or not anchor.outputs:
        return None
    nodes = [anchor]
    activations = [Operand(anchor, position) for position in positions]
    bias = _operand(anchor, traits(anchor).bias, bias_of(anchor))
    for epilogue in pattern.epilogues:
        user = sole_user(nodes[-1].outputs[0])
        if user is None or user in taken or user.graph is not anchor.graph or is_kept_float(user):
            break
        extra = _absorb(user, nodes[-1].outputs[0], epilogue, anchor)
        if extra is None:
            continue
        if epilogue.stage is Stage.BIAS_ADD:
            if bias is not None:
                continue
            bias = extra
        elif epilogue.stage is Stage.RESIDUAL_ADD:
            activations.append(extra)
        nodes.append(user)
    weight = _operand(anchor, traits(anchor).weight, weight_of(anchor))
    fixed = frozenset(each.value for each in activations) & stored
    output = written_by(nodes[-1])
    return Region(tuple(nodes), tuple(activations), weight, bias, output, fixed)


def written_by(node: ir.Node) -> ir.Value:
    """The first output that exists. An omitted one has no name, and nothing may ask for it."""
    first = node.outputs[0]
    return first if first.name else next((each for each in node.outputs if each.name), first)


def _absorb(user: ir.Node, value: ir.Value, epilogue: Epilogue, anchor: ir.Node) -> Operand | None:
    """The operand that absorbing `user` brings along (itself for activations), None if it cannot.

    Both operands of an Add being the same value is no residual.
    """
    if not is_op(user, *epilogue.ops):
        return None
    if epilogue.condition is not None and not epilogue.condition(user):
        return None
    if epilogue.stage is Stage.ACTIVATION:
        return Operand(user, 0) if user.inputs[0] is value else None
    others = [i for i, operand in enumerate(user.inputs) if operand is not value]
    if len(others) != 1:
        return None
    other = user.inputs[others[0]]
    if epilogue.stage is Stage.BIAS_ADD:
        return Operand(user, others[0]) if _is_bias(other, anchor, product_rank(anchor)) else None
    return None if is_stored(other) else Operand(user, others[0])


def _is_bias(value: ir.Value | None, anchor: ir.Node, axes: int | None) -> bool:
    """Whether a constant has one element per output column of the product, whose axes these are."""
    if not is_stored(value) or value is None or value.shape is None:
        return False
    weight = weight_of(anchor)
    if weight is None or weight.shape is None or not value.shape.is_static():
        return False
    dims = [int(d) for d in value.shape.numpy()]
    columns = weight.shape[-1] if rank(weight) else None
    return dims[-1:] == [columns] and is_row(dims, axes)


def _operand(node: ir.Node, position: int | None, value: ir.Value | None) -> Operand | None:
    return None if position is None or value is None else Operand(node, position)


def stored_data(node: ir.Node) -> list[Operand]:
    """Stored operands that are data to the op: not its weight, its bias, an index or a bound.

    Only of ops that read several data operands and whose kernels have one form for all of them.
    """
    positions: Sequence[int] = ()
    if is_op(node, "Concat", "Add", "Mul"):
        positions = range(len(node.inputs))
    elif is_op(node, "MatMul", "Where"):
        positions = (0,) if is_op(node, "MatMul") else (1, 2)
    return [Operand(node, i) for i in positions if is_stored(node.inputs[i])]


def region_of(regions: Sequence[Region]) -> dict[ir.Node, Region]:
    """The region that each node belongs to."""
    return {node: region for region in regions for node in region.nodes}
