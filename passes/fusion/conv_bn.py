"""`fuse-conv-bn`: per-channel affine steps around linear operators go into their weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, is_op, sole_user
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.fusion.affine import Affine, identity
from qcompiler.passes.fusion.linear import Linear, after, before, read_linear, store
from qcompiler.passes.fusion.steps import computed_operand, read_step
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class FuseConvBn(Pass):
    """Folds BatchNormalization, in every spelling, into Conv, ConvTranspose, Gemm and MatMul.

    Behind an operator: chains of BatchNormalization and of Mul, Add, Sub, Div by per-channel
    constants. In front of one: the same, a shift only where no zeros are padded; else two or more
    steps become the scale in the weight and one Add. Interior values have one user. A weight that
    others share is copied first, so that each chain is folded from the original.
    """

    name: ClassVar[str] = "fuse-conv-bn"
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.BN_FOLDED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        folded: Counter[str] = Counter()
        for graph in list(all_graphs(program.model)):
            for node in tuple(graph):
                if node.graph is None or not is_op(node, *LINEAR):
                    continue
                folded["behind"] += _fold_behind(node, rewriter)
                folded["in front"] += _fold_in_front(node, rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details={key: count for key, count in folded.items() if count})


@dataclass(frozen=True, eq=False)
class _Chain:
    """Affine steps in graph order and what they do together."""

    nodes: tuple[ir.Node, ...]
    total: Affine


def _fold_behind(node: ir.Node, rewriter: Rewriter) -> int:
    """Folds the chain that reads the node's result; returns how many nodes went."""
    chain = _chain_behind(node)
    linear = read_linear(node) if chain.nodes else None
    if linear is None or not _worth_folding(linear, chain):
        return 0
    arrays = after(linear, chain.total)
    if arrays is None:
        return 0
    weight, bias = arrays
    result, last = node.outputs[0], chain.nodes[-1].outputs[0]
    store(linear, weight, bias, rewriter)
    if bias is None or linear.takes_bias:
        rewriter.take_over(result, last)
    else:
        rewriter.recompose(last, "Add", [result, rewriter.constant(bias, f"{last.name}_bias")])
    return len(chain.nodes)


def _worth_folding(linear: Linear, chain: _Chain) -> bool:
    """A lone bias Add behind a MatMul is the canonical form already."""
    return linear.takes_bias or len(chain.nodes) > 1 or not is_op(chain.nodes[0], "Add")


def _chain_behind(node: ir.Node) -> _Chain:
    """The longest chain of affine steps behind the node, each the only user of the one before."""
    value, total = node.outputs[0], identity()
    nodes: list[ir.Node] = []
    linear: Linear | None = None
    while (user := sole_user(value)) is not None:
        if user.graph is not node.graph or computed_operand(user) is not value:
            break
        linear = linear or read_linear(node)
        place = None if linear is None else linear.activation_axis(node.outputs[0])
        step = None
        if linear is not None and place is not None:
            step = read_step(user, *place, linear.out_channels)
        if step is None:
            break
        nodes.append(user)
        total, value = total.then(step), user.outputs[0]
    return _Chain(tuple(nodes), total)


def _fold_in_front(node: ir.Node, rewriter: Rewriter) -> int:
    """Folds the chain that computes the node's input; returns how many nodes went."""
    first = node.inputs[0]
    if first is None or not _may_be_step(first.producer()):
        return 0
    linear = read_linear(node)
    if linear is None or node.attributes.get_int("transA", 0) != 0:
        return 0
    chain = _chain_in_front(linear, first)
    source = computed_operand(chain.nodes[0]) if chain.nodes else None
    if source is None or not _keeps_channels(linear, chain, source):
        return 0
    if not chain.total.shifts or (linear.takes_bias and not linear.pads_with_zeros):
        return _absorb(linear, chain, chain.total, source, rewriter)
    return _split(linear, chain, source, rewriter)


def _may_be_step(node: ir.Node | None) -> bool:
    return node is not None and computed_operand(node) is not None


def _absorb(
    linear: Linear, chain: _Chain, part: Affine, source: ir.Value, rewriter: Rewriter
) -> int:
    arrays = before(linear, part)
    if arrays is None:
        return 0
    store(linear, *arrays, rewriter)
    rewriter.set_input(linear.node, 0, source)
    rewriter.erase_dead(chain.nodes[-1])
    return len(chain.nodes)


def _split(linear: Linear, chain: _Chain, source: ir.Value, rewriter: Rewriter) -> int:
    """s·x + t = s·(x + t/s): the scale goes into the weight, one Add is left of several steps."""
    total = chain.total
    if len(chain.nodes) < 2 or np.any(total.scale == 0):
        return 0
    shift = (total.shift / total.scale).astype(linear.weight.dtype)
    if not np.all(np.isfinite(shift.astype(np.float64))):
        return 0
    place = linear.activation_axis(source)
    assert place is not None
    dims, axis = place
    last = chain.nodes[-1]
    shape = [1] * dims
    shape[axis] = -1
    stem = f"{last.outputs[0].name}_shift"
    operand = rewriter.constant(shift.reshape(shape if shift.size > 1 else []), stem)
    add = rewriter.insert(
        "Add",
        [source, operand],
        before=last,
        outputs=(f"{last.outputs[0].name}_shifted",),
        dtype=last.outputs[0].dtype,
        shape=last.outputs[0].shape,
    )
    scale_only = Affine(total.scale, np.zeros(1))
    if _absorb(linear, chain, scale_only, add.outputs[0], rewriter):
        return len(chain.nodes) - 1
    rewriter.erase_dead(add)
    return 0


def _chain_in_front(linear: Linear, first: ir.Value) -> _Chain:
    """The longest chain of affine steps in front of the operator that only it reads."""
    value, reader, total = first, linear.node, identity()
    nodes: list[ir.Node] = []
    place = linear.activation_axis(first)
    while place is not None:
        node = value.producer()
        if node is None or sole_user(value) is not reader or node.graph is not reader.graph:
            break
        step = read_step(node, *place, linear.in_channels)
        source = computed_operand(node)
        if step is None or source is None:
            break
        nodes.insert(0, node)
        total, value, reader = step.then(total), source, node
    return _Chain(tuple(nodes), total)


def _keeps_channels(linear: Linear, chain: _Chain, source: ir.Value) -> bool:
    """Whether no step broadcasts one channel to many."""
    if chain.total.scale.size == chain.total.shift.size == 1:
        return True
    if any(is_op(node, "BatchNormalization") for node in chain.nodes[:1]):
        return True
    dims, place = partial_dims(source), linear.activation_axis(source)
    return dims is not None and place is not None and dims[place[1]] == linear.in_channels
