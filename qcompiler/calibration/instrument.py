"""Builds the float model that ONNX Runtime runs to observe values.

Graph outputs are put in: three extremes and the size of a value
(`Bounds`), reduced where the value is, or the value itself. What lives in a subgraph is carried
out in a sequence, see `carry`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from qcompiler.calibration.carry import Step, carry_out
from qcompiler.calibration.scan import scans_to_loops
from qcompiler.calibration.sites import Site
from qcompiler.execution.packing import PackedModel, pack_proto
from qcompiler.ir.program import Program

MARK = "qcompiler.observed"
"""Prefix of the names added here; no value of a program starts with it."""
BOUNDS = ("low", "high", "sum", "size")
"""What is reduced of a value. The sum is the canary for NaN, which ReduceMin may skip."""


STACKED = tuple(f"{MARK}.all.{kind}" for kind in (*BOUNDS, "rows"))
_SCALARS, _COUNTS = STACKED[2:4], STACKED[3:]
"""Graph outputs with the bounds of all sites of the main graph, vectors in the order of sites: the
extremes of every row (along the first axis) of one site after the other, sum, size and rows."""


def _bounds_names(value: str) -> tuple[str, ...]:
    """Names of the four bounds of a value."""
    return tuple(f"{MARK}.{kind}.{value}" for kind in BOUNDS)


def size_output(value: str) -> str:
    """Name of the output with the number of elements."""
    return f"{MARK}.size.{value}"


def carried_output(value: str) -> str:
    """Name of the sequence that holds what was observed of a value in a subgraph."""
    return f"{MARK}.carried.{value}"


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A program as a template for instrumented models. Picklable.

    Attributes:
        packed: The model; weights are shared with the program.
        sites: What is to be observed.
    """

    packed: PackedModel
    sites: tuple[Site, ...]

    def instrumented(
        self,
        bounds: Collection[Site] = (),
        values: Collection[Site] = (),
        sizes: Collection[Site] = (),
    ) -> PackedModel:
        """The model with outputs for these sites.

        Args:
            bounds: Sites whose extremes, sum and size are reduced in the graph.
            values: Sites that are handed out in full (nested ones in a sequence of arrays).
            sizes: Sites of the main graph whose number of elements is handed out.
        """
        proto = onnx.ModelProto.FromString(self.packed.graph)
        graph = proto.graph
        added: set[str] = set()
        for site in sizes:
            _add_size(graph, site)
        _add_bounds(graph, [site for site in bounds if not site.nested], added)
        for site in values:
            if not site.nested:
                _keep(graph, site, added)
        nested = [(s, False) for s in values if s.nested] + [(s, True) for s in bounds if s.nested]
        if nested:
            _carry_nested(proto, nested, added)
        return PackedModel(proto.SerializeToString(), self.packed.weights)


def float_model(program: Program, sites: tuple[Site, ...]) -> FloatModel:
    """The program's model."""
    proto, weights = pack_proto(program.model)
    return FloatModel(PackedModel(proto.SerializeToString(), weights), sites)


def _output(graph: onnx.GraphProto, name: str, kind: int, shape: list[int | None] | None) -> None:
    graph.output.append(helper.make_tensor_value_info(name, kind, shape))


def _as_float(graph: onnx.GraphProto, site: Site, added: set[str]) -> str:
    """Name of the value in float32, cut to what its readers tell apart.

    Args:
        graph: Where the value lives; nodes are added.
        site: What is observed of it.
        added: Names of values that were added before; grows.
    """
    name = site.value
    if site.dtype != ir.DataType.FLOAT:
        name = f"{MARK}.float.{site.value}"
        cast = helper.make_node("Cast", [site.value], [name], to=TensorProto.FLOAT)
        _once(graph, cast, added)
    if site.live is None:
        return name
    for op, bound in (("Max", site.live.low), ("Min", site.live.high)):
        if np.all(np.abs(bound) >= np.finfo(np.float32).max):
            continue
        cut = f"{MARK}.{op.lower()}.{site.value}"
        if _once(graph, helper.make_node(op, [name, f"{cut}.bound"], [cut]), added):
            graph.initializer.append(numpy_helper.from_array(bound, f"{cut}.bound"))
        name = cut
    return name


def _once(graph: onnx.GraphProto, node: onnx.NodeProto, added: set[str]) -> bool:
    """Adds a node unless it is there."""
    if node.output[0] in added:
        return False
    added.add(node.output[0])
    graph.node.append(node)
    return True


def _add_bounds(graph: onnx.GraphProto, sites: list[Site], added: set[str]) -> None:
    """One vector per kind, since hundreds of scalar outputs cost more than the reductions."""
    parts = zip(*(_row_bounds(graph, site, added) for site in sites), strict=True)
    for name, many in zip(STACKED, parts, strict=bool(sites)):
        scalar = name in _SCALARS
        kind = TensorProto.INT64 if name in _COUNTS else TensorProto.FLOAT
        graph.node.append(helper.make_node("SequenceConstruct", many, [f"{name}.parts"]))
        graph.node.append(
            helper.make_node(
                "ConcatFromSequence", [f"{name}.parts"], [name], axis=0, new_axis=int(scalar)
            )
        )
        _output(graph, name, kind, [len(sites)] if scalar else [None])


def _row_bounds(graph: onnx.GraphProto, site: Site, added: set[str]) -> tuple[str, ...]:
    """Adds the least and the largest value of every row, sum and size of all, and how many rows.

    A value whose rank is not known is one row, as a scalar is.
    """
    low, high, total, size, rows = (f"{MARK}.{kind}.{site.value}" for kind in (*BOUNDS, "rows"))
    value, flat = _as_float(graph, site, added), f"{MARK}.flat.{site.value}"
    last, one_row = f"{MARK}.last", f"{MARK}.one_row"
    for name, numbers in ((last, [1]), (one_row, [1, -1])):
        if name not in added:
            added.add(name)
            graph.initializer.append(numpy_helper.from_array(np.asarray(numbers, np.int64), name))
    graph.node.extend(
        [
            helper.make_node("Flatten", [value], [flat], axis=1)
            if site.has_rows
            else helper.make_node("Reshape", [value, one_row], [flat]),
            helper.make_node("ReduceMin", [flat, last], [low], keepdims=0),
            helper.make_node("ReduceMax", [flat, last], [high], keepdims=0),
            helper.make_node("ReduceSum", [value], [total], keepdims=0),
            helper.make_node("Size", [value], [size]),
            helper.make_node("Shape", [low], [rows]),
        ]
    )
    return low, high, total, size, rows


def _reductions(value: str, names: tuple[str, ...]) -> list[onnx.NodeProto]:
    low, high, total, size = names
    return [
        helper.make_node("ReduceMin", [value], [low], keepdims=0),
        helper.make_node("ReduceMax", [value], [high], keepdims=0),
        helper.make_node("ReduceSum", [value], [total], keepdims=0),
        helper.make_node("Size", [value], [size]),
    ]


def _add_size(graph: onnx.GraphProto, site: Site) -> None:
    name = size_output(site.value)
    graph.node.append(helper.make_node("Size", [site.value], [name]))
    _output(graph, name, TensorProto.INT64, [])


def _keep(graph: onnx.GraphProto, site: Site, added: set[str]) -> None:
    name = carried_output(site.value)
    graph.node.append(helper.make_node("Identity", [_as_float(graph, site, added)], [name]))
    _output(graph, name, TensorProto.FLOAT, None)


def _carry_nested(proto: onnx.ModelProto, sites: list[tuple[Site, bool]], added: set[str]) -> None:
    """Carries sites of subgraphs out; the flag asks for bounds instead of values."""
    scans_to_loops(proto)
    for site, reduced in sites:
        path = _path_to(proto.graph, site.value)
        assert path is not None, site.value
        home = path[-1].graph
        payload = _bounds_vector(home, site, added) if reduced else _as_float(home, site, added)
        kind = TensorProto.DOUBLE if reduced else TensorProto.FLOAT
        carry_out(path, payload, kind, carried_output(site.value))


def _bounds_vector(graph: onnx.GraphProto, site: Site, added: set[str]) -> str:
    """Adds a float64[4] of the bounds to a body; float64 holds every size exactly."""
    names = _bounds_names(site.value)
    graph.node.extend(_reductions(_as_float(graph, site, added), names))
    wide = [f"{name}.f64" for name in names]
    flat = [f"{name}.flat" for name in names]
    shape = f"{MARK}.one.{site.value}"
    one = helper.make_tensor("", TensorProto.INT64, [1], [1])
    graph.node.append(helper.make_node("Constant", [], [shape], value=one))
    for name, big, vector in zip(names, wide, flat, strict=True):
        graph.node.append(helper.make_node("Cast", [name], [big], to=TensorProto.DOUBLE))
        graph.node.append(helper.make_node("Reshape", [big, shape], [vector]))
    joined = f"{MARK}.bounds.{site.value}"
    graph.node.append(helper.make_node("Concat", flat, [joined], axis=0))
    return joined


def _path_to(graph: onnx.GraphProto, value: str) -> list[Step] | None:
    """Graphs from the main one to the one that defines a value, with the node entered in each."""
    if _defines(graph, value):
        return [Step(graph, None)]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type != onnx.AttributeProto.GRAPH:
                continue
            rest = _path_to(attribute.g, value)
            if rest is not None:
                return [Step(graph, node), *rest]
    return None


def _defines(graph: onnx.GraphProto, value: str) -> bool:
    return any(each.name == value for each in graph.input) or any(
        value in node.output for node in graph.node
    )
