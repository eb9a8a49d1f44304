"""A shadow of a graph that carries origins of elements, not data.

Behind the last computations of an output stand ops that only move elements (Concat, Reshape,
Transpose, Gather, Where, ...) or treat each by itself (Sigmoid, Mul by a constant). The shadow runs
the movers on numbers of origins in the place of the data, with the real shapes, indices and
conditions, so whichever way parts are joined, every element's origin is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.indices import follow_from_shapes
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.signature import Feed, arrays_of
from qcompiler.ir.walk import Identity, constant
from qcompiler.measurement.carriers import (
    DATA,
    DECADES,
    SCORING,
    carried,
    is_each,
    keeps_scores,
    keeps_whole,
    place_in_concat,
    positions_of_data,
    powers_of_ten,
    root_of,
)

Array = npt.NDArray[Any]
_SCALING = frozenset(("Mul", "Div", "Add", "Sub"))
Origin = int | ir.Value
"""Of a value: one number for all of its elements, or a value of the shadow that holds them."""


@dataclass(eq=False)
class Shadow:
    """The program with origins of its outputs.

    Attributes:
        labels: By origin, whether it gives labels; origin 0 is padding.
        whole: Outputs with a single origin, by name.
        scores: Origins that are scores of yes or no. Those at one place of a Concat are one.
    """

    program: Program
    labels: dict[int, bool] = field(default_factory=lambda: {0: False})
    whole: dict[str, int] = field(default_factory=dict)
    scores: set[int] = field(default_factory=set)
    _score_at: dict[int, int] = field(default_factory=dict)
    _known: dict[ir.Value, Origin] = field(default_factory=dict)
    _shown: dict[str, ir.Value] = field(default_factory=dict)
    _origins: dict[object, dict[str, Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._copy = self.program.clone()
        self._rewriter = Rewriter(self._copy)
        graph = self._copy.graph
        self._first = next(iter(graph), None)
        outputs = list(graph.outputs)
        between = carried(outputs)
        for node in [each for each in graph if each in between]:
            for output in node.outputs:
                self._known[output] = self._carry(node, output)
        for value in outputs:
            origin = self._origin(value)
            if isinstance(origin, int):
                self.whole[value.name or ""] = origin
            else:
                self._shown[value.name or ""] = origin

    def run(self, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
        """Origins by output, per sample; empty where there are none or the graph does not run.

        What was run before comes from memory. Where origins follow from shapes, that is any feed of
        the same shapes; elsewhere it is the feed itself.
        """
        if not self._shown:
            return [{} for _ in feeds]
        keys = [_shapes(feed) if self._follows else Identity(feed) for feed in feeds]
        given = dict(zip(keys, feeds, strict=True))
        missing = {key: feed for key, feed in given.items() if key not in self._origins}
        if missing:
            self._origins.update(zip(missing, self._run(list(missing.values())), strict=True))
        return [self._origins[key] for key in keys]

    @cached_property
    def _follows(self) -> bool:
        """Whether origins are the same for all feeds of the same shapes."""
        known = follow_from_shapes(self._copy.model)
        return known is not None and all(each in known for each in self._shown.values())

    def _run(self, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
        graph = self._copy.graph
        graph.outputs.clear()
        graph.outputs.extend(self._shown.values())
        try:
            session = OrtSession(self._copy.model)
            found = [session.run_checked(feed) for feed in feeds]
        except LoweringError:
            return [{} for _ in feeds]  # an op that ONNX Runtime lacks: the data tell
        return [dict(zip(self._shown, each, strict=True)) for each in found]

    def labels_of(self, origins: Sequence[Array]) -> dict[int, bool]:
        """Whether an origin gives labels, for all that occur."""
        present = {int(each) for origin in origins for each in np.unique(origin)}
        return {each: self.labels[root_of(each, self.labels)] for each in present}

    def _origin(self, value: ir.Value) -> Origin:
        if value not in self._known:
            self._known[value] = self._leaf(value)
        return self._known[value]

    def _leaf(self, value: ir.Value) -> int:
        number = len(self.labels) * DECADES
        is_number = value.dtype is None or value.dtype.is_floating_point()
        self.labels[number] = not is_number
        return number

    def _score(self, value: ir.Value) -> int:
        """The origin of a value of scores: one for each place in the Concats that they go to."""
        place = place_in_concat(value)
        if place not in self._score_at:
            self._score_at[place] = self._leaf(value)
            self.scores.add(self._score_at[place])
        return self._score_at[place]

    def _is_score(self, origin: Origin) -> bool:
        return isinstance(origin, int) and origin in self.scores

    def _is_label(self, origin: Origin) -> bool:
        return isinstance(origin, int) and self.labels[origin]

    def _carry(self, node: ir.Node, output: ir.Value) -> Origin:
        if node.op_type in DATA:
            return self._moved(node, output)
        if is_each(node):
            assert node.inputs[0] is not None
            origin = self._origin(node.inputs[0])
            if node.op_type in SCORING:
                return self._score(output)
            if self._is_score(origin) and not keeps_scores(node):
                return self._leaf(output)
            computed = self._is_label(origin) and not keeps_whole(node)
            return self._leaf(output) if computed else origin
        return self._combined(node, output)

    def _moved(self, node: ir.Node, output: ir.Value) -> Origin:
        positions = positions_of_data(node)
        operands = [node.inputs[i] for i in positions]
        origins = [self._origin(each) for each in operands if each is not None]
        alike = {each if isinstance(each, int) else id(each) for each in origins}
        if len(alike) == 1 and isinstance(origins[0], int):
            return origins[0]
        inputs = list(node.inputs)
        for position, origin in zip(positions, origins, strict=True):
            value = inputs[position]
            assert value is not None
            inputs[position] = self._filled(origin, value)
        if node.op_type == "Pad":
            inputs[2:3] = [None]  # the number that is padded with has the data's type
        names = [f"{each.name}_origin" for each in node.outputs]
        made = self._rewriter.insert(
            node.op_type,
            inputs,
            after=node,
            attributes=dict(node.attributes),
            outputs=names,
            dtype=ir.DataType.INT64,
        )
        self._known.update(zip(node.outputs, made.outputs, strict=True))
        return self._known[output]

    def _combined(self, node: ir.Node, output: ir.Value) -> Origin:
        """Of two operands: the one with several origins, scaled by a constant or not."""
        operands = [each for each in node.inputs if each is not None]
        constants = [constant(each) for each in operands]
        data = [each for each, c in zip(operands, constants, strict=True) if c is None]
        scores = [self._is_score(self._origin(each)) for each in data]
        if any(scores) and all(isinstance(self._origin(each), int) for each in data):
            product = node.op_type == "Mul" and all(scores) and len(data) == len(operands)
            return self._score(output) if product else self._leaf(output)
        if len(data) == 1 and node.op_type in _SCALING:
            factor = next(c for c in constants if c is not None)
            return self._scaled(factor, data[0], output, node)
        several = [each for each in data if not isinstance(self._origin(each), int)]
        if several:
            return self._spread(self._filled(self._origin(several[0]), several[0]), output)
        if len(data) == 1:
            return self._origin(data[0])
        return self._leaf(output)

    def _scaled(self, factor: Array, data: ir.Value, output: ir.Value, node: ir.Node) -> Origin:
        """A constant whose elements differ by powers of ten divides what it scales."""
        origin = self._origin(data)
        powers = powers_of_ten(factor)
        if powers.max(initial=0) == 0:
            if isinstance(origin, int):
                return origin
            return self._spread(origin, output)
        if self._is_label(origin):
            return self._leaf(output)  # positions times rates are numbers
        added = self._rewriter.constant(powers, "origin_power")
        filled = self._filled(origin, data)
        made = self._rewriter.insert(
            "Add", [filled, added], after=node, outputs=["origin_scaled"], dtype=ir.DataType.INT64
        )
        return made.outputs[0]

    def _spread(self, origin: ir.Value, output: ir.Value) -> ir.Value:
        """Origins in the shape of the output, which may be broadcast."""
        shape = self._shape(output)
        made = self._rewriter.insert(
            "Expand",
            [origin, shape],
            after=shape.producer(),
            outputs=["origins"],
            dtype=ir.DataType.INT64,
        )
        return made.outputs[0]

    def _filled(self, origin: Origin, value: ir.Value) -> ir.Value:
        """The origins of a value as a tensor of its shape."""
        if not isinstance(origin, int):
            return origin
        shape = self._shape(value)
        made = self._rewriter.insert(
            "ConstantOfShape",
            [shape],
            after=shape.producer(),
            attributes={"value": ir.Tensor(np.asarray([origin], np.int64))},
            outputs=["origin"],
            dtype=ir.DataType.INT64,
        )
        return made.outputs[0]

    def _shape(self, value: ir.Value) -> ir.Value:
        """The shape of a value, computed right behind it."""
        producer = value.producer()
        made = self._rewriter.insert(
            "Shape",
            [value],
            after=producer,
            before=self._first if producer is None else None,
            outputs=["origin_shape"],
            dtype=ir.DataType.INT64,
        )
        return made.outputs[0]


def _shapes(feed: Feed) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, array.shape) for name, array in arrays_of(feed))
