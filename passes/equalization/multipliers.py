"""Places where a product with a vector costs next to nothing and frees the scales behind it.

Each gets a Mul by ones, which equalization turns into what it needs; one that is still ones
afterwards goes again. The Mul computes in float, since what it reads has the uneven channels.

- In front of LSTM, GRU and RNN: one product beside 3 or 4 times `hidden_size` of them.
- In front of matrix products that read a value whose scale is fixed, if they have many columns
  together and the value is computed in float anyway.

Gates (squeeze and excitation) are no such place. s·(x·g) = x·(s·g) moves a scale into the few
elements of a gate, but then the gate is rounded with channels of uneven ranges: measured, 9.9 to
10.1 dB on one network of sixteen gates and 13.4 to 12.8 dB on one of nine.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qcompiler.ir.kept import keep_float
from qcompiler.ir.optraits import weight_of
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import Usage, is_op, rank, uses
from qcompiler.passes.equalization.analysis import Scales, scaled_values
from qcompiler.passes.equalization.elementwise import is_float
from qcompiler.passes.equalization.scope import channels, operand, own_constant

WIDE = 512
"""Fewest columns of the products behind a Mul of their own: at most about a tenth of their time."""

_REASON = "its input has channels of different ranges, its output has not"


@dataclass(frozen=True, eq=False)
class _Place:
    """Readings of a value that a Mul goes in front of."""

    value: ir.Value
    axis: int
    count: int
    readings: tuple[Usage, ...]


def insert_multipliers(
    program: Program, rewriter: Rewriter, quantized: Collection[str], wide: int = WIDE
) -> dict[str, str]:
    """Inserts a Mul by ones at every place; gives the values they make with what they read.

    Args:
        program: The float program.
        rewriter: Of the program.
        quantized: Names of values that quantized regions write.
        wide: Fewest columns of matrix products.
    """
    found = scaled_values(program)
    layers = [node for node in program.graph if is_op(node, "LSTM", "GRU", "RNN")]
    places = [_recurrent(node, found) for node in layers]
    values = [*program.graph.inputs, *(each for node in program.graph for each in node.outputs)]
    places += [_products(each, found, wide) for each in values if each.name not in quantized]
    made = {}
    for place in places:
        if place is not None:
            output = _insert(place, rewriter)
            made[output.name or ""] = place.value.name or ""
    return made


def drop(multiplier: ir.Node, rewriter: Rewriter) -> None:
    """Makes what reads the product read what is multiplied."""
    source = multiplier.inputs[0]
    assert source is not None
    rewriter.replace_uses(multiplier.outputs[0], source)
    rewriter.erase_dead(multiplier)


def is_free(value: ir.Value, found: Scales) -> bool:
    """Whether any channel of the value has a scale that can be chosen already."""
    known = found.maps.get(value)
    return known is not None and bool(np.any(found.freedom.component[known.slots]))


def _recurrent(node: ir.Node, found: Scales) -> _Place | None:
    data, weight = node.inputs[0], own_constant(node, 1)
    if data is None or weight is None or rank(data) != 3 or is_free(data, found):
        return None
    return _Place(data, 2, weight.shape[2], (Usage(node, 0),))


def _products(value: ir.Value, found: Scales, wide: int) -> _Place | None:
    """Matrix products with stored weights that read the value."""
    dims = rank(value)
    if dims is None or dims < 2 or not is_float(value) or is_free(value, found):
        return None
    size = channels(value, -1)
    readings = [use for use in uses(value) if _is_product(use, value)]
    columns = sum(_columns(use.node) for use in readings)
    if size is None or columns < wide:
        return None
    return _Place(value, dims - 1, size, tuple(readings))


def _is_product(use: Usage, value: ir.Value) -> bool:
    node = use.node
    if node.graph is not value.graph or use.idx != 0 or own_constant(node, 1) is None:
        return False
    turned = is_op(node, "Gemm") and bool(node.attributes.get_int("transA", 0))
    return is_op(node, "MatMul", "Gemm") and not turned and operand(node, 0) is value


def _columns(node: ir.Node) -> int:
    weight = weight_of(node)
    turned = is_op(node, "Gemm") and bool(node.attributes.get_int("transB", 0))
    return channels(weight, -2 if turned else -1) or 0


def _insert(place: _Place, rewriter: Rewriter) -> ir.Value:
    """x·1 in front of the readings, behind what makes x."""
    dims = rank(place.value) or 0
    shape = [1] * (dims - place.axis)
    shape[0] = place.count
    stem = place.value.name or "value"
    kind = place.value.dtype
    assert kind is not None
    factors = rewriter.constant(np.ones(shape, kind.numpy()), f"{stem}_factors")
    producer = place.value.producer()
    node = rewriter.insert(
        "Mul",
        [place.value, factors],
        outputs=(f"{stem}_smoothed",),
        origin=() if producer is None else (producer,),
        dtype=kind,
        shape=place.value.shape,
        after=producer,
    )
    keep_float(node, _REASON)
    rewriter.replace_uses(place.value, node.outputs[0], only=place.readings)
    return node.outputs[0]
