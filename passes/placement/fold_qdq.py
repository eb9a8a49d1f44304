"""`fold-qdq`: removes Q/DQ work that changes nothing.

- an activation in front of Q whose saturation already does it (Relu, Clip) is dropped;
- DQ → Q with equal parameters cancels;
- DQ → data movement → Q with equal parameters becomes data movement on integers;
- equal Q of one value, and equal DQ in one graph, are merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.ir.bounds import activation_bounds
from qcompiler.ir.nodecheck import takes
from qcompiler.ir.optraits import INTEGER_MOVERS, activation_positions, traits
from qcompiler.ir.program import WORKING_OPSET, Program, Property
from qcompiler.ir.qdq import params_of
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, constant, is_op, scalar, sole_user, uses
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import quantize as quantized

_BITS = 8
"""Movers of integers are defined on this width at most; ONNX has few of them on float8 and int4."""


@dataclass(frozen=True)
class FoldQdq(Pass):
    """Cancels, moves and merges Q/DQ pairs; the function stays bit-identical."""

    name: ClassVar[str] = "fold-qdq"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        done = {"activations": 0, "cancelled": 0, "moved": 0, "merged": 0}
        while any(_fold(graph, rewriter, done) for graph in all_graphs(program.model)):
            pass
        rewriter.drop_unused_constants()
        return Outcome(details=done)


def _fold(graph: ir.Graph, rewriter: Rewriter, done: dict[str, int]) -> bool:
    """One round over a graph; counts what was done, and says whether another may fold more.

    An activation that goes leaves as many readers behind as there were: only its own QuantizeLinear
    is asked again.
    """
    before = sum(done.values()) - done["activations"]
    for node in list(graph):
        if node.graph is None or not is_op(node, "QuantizeLinear"):
            continue
        while _drop_activation(node, rewriter):
            done["activations"] += 1
        done["moved"] += _move(node, rewriter)
        done["cancelled"] += _cancel(node, rewriter)
    done["merged"] += _merge(graph, rewriter)
    return sum(done.values()) - done["activations"] > before


def same_parameters(a: ir.Node, b: ir.Node) -> bool:
    """Whether two Q/DQ nodes have bit-equal scale, zero point, type and layout."""
    return _key(a) == _key(b)


def _key(node: ir.Node) -> tuple[object, ...]:
    """Identity of a Q/DQ node's parameters; the initializer itself when it is not constant."""
    parts: list[object] = []
    for value in (node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None):
        array = constant(value)
        parts.append(value if array is None else (array.tobytes(), array.dtype, array.shape))
    layout = (
        node.attributes.get_int("axis", 1),
        node.attributes.get_int("block_size", 0),
        node.attributes.get_int("output_dtype", 0) if node.op_type == "QuantizeLinear" else 0,
    )
    return (*parts, layout)


def _drop_activation(quantize: ir.Node, rewriter: Rewriter) -> bool:
    """Relu or Clip in front of Q goes when its bounds become the ends of the integers.

    Quantization is monotonic, so Q(clip(x)) is Q(x) cut to Q(low) and Q(high): exact, also where
    the zero point's rounding puts the lowest level half a step below the bound.
    """
    value = quantize.inputs[0]
    assert value is not None
    activation = value.producer()
    bounds = activation_bounds(activation)
    if activation is None or bounds is None or sole_user(value) is not quantize:
        return False
    params = params_of(quantize)
    if params is None or params.axis is not None or params.space.is_float:
        return False
    ends = quantized(np.asarray([bounds.low, bounds.high], np.float32), params)
    if int(ends[0]) != params.space.qmin or int(ends[1]) != params.space.qmax:
        return False
    rewriter.set_input(quantize, 0, activation.inputs[0])
    rewriter.erase_dead(activation)
    return True


def _cancel(quantize: ir.Node, rewriter: Rewriter) -> bool:
    """DQ → Q with equal parameters: the integers pass through."""
    value = quantize.inputs[0]
    before = value.producer() if value is not None else None
    if before is None or not is_op(before, "DequantizeLinear"):
        return False
    if not same_parameters(before, quantize):
        return False
    source = before.inputs[0]
    assert source is not None
    rewriter.replace_uses(quantize.outputs[0], source)
    rewriter.erase_dead(quantize)
    return True


def _move(quantize: ir.Node, rewriter: Rewriter) -> bool:
    """DQ → mover → Q becomes the mover on integers, when all parameters are equal."""
    value = quantize.inputs[0]
    mover = value.producer() if value is not None else None
    if mover is None or value is None or not is_op(mover, *INTEGER_MOVERS):
        return False
    positions = activation_positions(mover)
    sources = [_dequantized(mover.inputs[i]) for i in positions]
    if not positions or not traits(mover).shares_scale or sole_user(value) is not quantize:
        return False
    params = params_of(quantize)
    if params is None or params.axis is not None:  # a mover may move the axis, too
        return False
    kind = params.space.dtype
    if kind.bitwidth > _BITS or not takes(mover, positions, kind, WORKING_OPSET):
        return False
    if len(mover.outputs) != 1 or any(
        s is None or not same_parameters(s, quantize) for s in sources
    ):
        return False
    if mover.op_type == "Concat" and len(positions) != len(mover.inputs):
        return False
    if mover.op_type == "Pad" and not _integer_padding(mover, quantize, rewriter):
        return False
    for position, source in zip(positions, sources, strict=True):
        assert source is not None
        rewriter.set_input(mover, position, source.inputs[0])
        rewriter.erase_dead(source)
    # A new type object: clones share the old one.
    mover.outputs[0].type = ir.TensorType(kind)
    rewriter.replace_uses(quantize.outputs[0], mover.outputs[0])
    rewriter.erase_dead(quantize)
    return True


def _integer_padding(pad: ir.Node, quantize: ir.Node, rewriter: Rewriter) -> bool:
    """A zero padding constant becomes the zero point; other constants stay in float."""
    mode = pad.attributes.get_string("mode", "constant")
    if mode != "constant":
        return True
    given = pad.inputs[2] if len(pad.inputs) > 2 else None
    if given is not None and scalar(given) != 0.0:
        return False
    rewriter.set_input(pad, 2, quantize.inputs[2] if len(quantize.inputs) > 2 else None)
    return True


def _dequantized(value: ir.Value | None) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if is_op(node, "DequantizeLinear") else None


def _merge(graph: ir.Graph, rewriter: Rewriter) -> int:
    """Equal Q or DQ of one value within one graph are computed once."""
    first: dict[tuple[object, ...], ir.Node] = {}
    merged = 0
    for node in list(graph):
        if not is_op(node, "QuantizeLinear", "DequantizeLinear"):
            continue
        if any(output.is_graph_output() for output in node.outputs):
            continue
        if node.inputs[0] is not None and len(node.inputs[0].uses()) == 1:
            continue
        key = (node.op_type, node.inputs[0], *_key(node))
        kept = first.setdefault(key, node)
        if kept is not node and uses(node.outputs[0]):
            rewriter.replace_uses(node.outputs[0], kept.outputs[0])
            rewriter.erase_dead(node)
            merged += 1
    return merged
