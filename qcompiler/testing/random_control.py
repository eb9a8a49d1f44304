"""Layers with bodies: If, Loop and Scan, and what computes the same without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from qcompiler.testing.random_builder import Builder

Step = Callable[[str, str], list[onnx.NodeProto]]
"""Nodes that make the second value from the first; their names begin with that of the second."""


def conditional(b: Builder) -> None:
    """An If whose condition depends on the data or its size, with weights in its branches."""
    width, start = b.shape[-1], b.at
    taken, by_size = b.chance(0.5), b.chance(0.5)
    bound = -1000.0 if taken else 1000.0
    if by_size:
        rows = b.put("ReduceProd", b.put("Shape", start), keepdims=0)
        many = b.put("Greater", b.cast(rows), b.scalar(0.0 if taken else 1e6))
    else:
        largest = b.reduce("ReduceMax", start, *range(len(b.shape)), keep=False)
        many = b.put("Greater", largest, b.scalar(bound))
    steps = [_dense(b.weight(width, width, fan=width)), _squashed(b, width)]
    branches = [_branch(step, start, b.name("branch")) for step in steps]
    b.at = b.put("If", many, then_branch=branches[0], else_branch=branches[1])
    b.plain[b.at] = steps[0 if taken else 1](start, b.at)


def _branch(step: Step, start: str, name: str) -> onnx.GraphProto:
    value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    return helper.make_graph(step(start, name), name, [], [value])


def _dense(weight: str) -> Step:
    return lambda source, to: [helper.make_node("MatMul", [source, weight], [to], name=to + "_n")]


def _squashed(b: Builder, width: int) -> Step:
    weight = b.weight(width, width, fan=width)

    def step(source: str, to: str) -> list[onnx.NodeProto]:
        middle = to + "_product"
        return [*_dense(weight)(source, middle),
                helper.make_node("Tanh", [middle], [to], name=to + "_n")]  # fmt: skip

    return step


def looped(b: Builder) -> None:
    """A Loop of a fixed number of trips that applies one matrix, and may keep every result."""
    rank, trips, keeps = len(b.shape), b.one_of(1, 2, 3), b.chance(0.3)
    step, out = _squashed(b, b.shape[-1]), b.name("loop")
    trip, go, kept, state, result = (f"{out}_{p}" for p in ("trip", "go", "kept", "in", "out"))
    nodes = [helper.make_node("Identity", [go], [kept], name=kept + "_n"), *step(state, result)]
    outputs = [_value(kept, TensorProto.BOOL, 0), _value(result, TensorProto.FLOAT, rank)]
    if keeps:
        nodes.append(helper.make_node("Identity", [result], [out + "_all"], name=out + "_all_n"))
        outputs.append(_value(out + "_all", TensorProto.FLOAT, rank))
    inputs = [_value(trip, TensorProto.INT64, 0), _value(go, TensorProto.BOOL, 0),
              _value(state, TensorProto.FLOAT, rank)]  # fmt: skip
    start, shape = b.at, b.put("Shape", b.at)
    operands = [b.store("trips", np.asarray(trips)), b.store("go", np.asarray(True)), start]
    b.at = b.put("Loop", *operands, outputs=2 if keeps else 1,
                 body=helper.make_graph(nodes, out, inputs, outputs))  # fmt: skip
    names = list(b.nodes[-1].output)
    b.plain[names[0]] = _unrolled(step, start, names, trips)
    if keeps:
        b.at = b.put("Add", b.reduce("ReduceMean", names[1], 0, keep=False), names[0])
    b.then("Reshape", shape)  # ONNX's shape inference gives a Loop no shape


def _unrolled(step: Step, start: str, names: Sequence[str], trips: int) -> list[onnx.NodeProto]:
    """The state after all trips, and all states one upon the other if that has a name."""
    nodes, rows, state = [], [], start
    for trip in range(trips):
        result = f"{names[0]}_{trip}" if trip < trips - 1 else names[0]
        nodes += step(state, result)
        state = result
        if len(names) > 1:
            rows.append(f"{names[1]}_{trip}")
            axis = helper.make_node(
                "Constant", [], [rows[-1] + "_axis"], value_ints=[0], name=rows[-1] + "_axis_n"
            )
            nodes += [axis, helper.make_node("Unsqueeze", [state, rows[-1] + "_axis"], [rows[-1]],
                                             name=rows[-1] + "_n")]  # fmt: skip
    if rows:
        nodes.append(helper.make_node("Concat", rows, [names[1]], axis=0, name=names[1] + "_n"))
    return nodes


def _value(name: str, dtype: int, rank: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, [None] * rank)


def scanned(b: Builder) -> None:
    """A Scan over the steps that carries a state: a recurrence written out."""
    batch, steps, width = b.shape
    hidden = int(b.rng.integers(2, 9))
    first = b.put("MatMul", b.reduce("ReduceMean", b.at, 1, keep=False),
                  b.weight(width, hidden, fan=width))  # fmt: skip
    weights = [b.weight(n, hidden, fan=n) for n in (width, hidden)]
    out = b.name("scan")
    h, x, a, c, s, new, row = (f"{out}_{p}" for p in ("h", "x", "a", "c", "s", "new", "row"))
    nodes = [helper.make_node(op, inputs, [to], name=to + "_n") for op, inputs, to in (
        ("MatMul", [x, weights[0]], a), ("MatMul", [h, weights[1]], c), ("Add", [a, c], s),
        ("Tanh", [s], new), ("Identity", [new], row))]  # fmt: skip
    body = helper.make_graph(
        nodes, out, [_value(h, 1, 2), _value(x, 1, 2)], [_value(new, 1, 2), _value(row, 1, 2)]
    )
    turned = b.put("Transpose", b.at, perm=[1, 0, 2])
    backwards = int(b.chance(0.3))
    b.put("Scan", first, turned, outputs=2, num_scan_inputs=1, body=body,
          scan_input_directions=[backwards], scan_output_directions=[backwards])  # fmt: skip
    b.at = b.put("Transpose", b.nodes[-1].output[1], perm=[1, 0, 2])
    b.shape = (batch, steps, hidden)
    # exporters give Scan's results their shapes; ONNX's inference does not
    length = b.put("Concat", b.size(turned, 1), b.size(turned, 0), b.ints(hidden), axis=0)
    b.then("Reshape", length)
