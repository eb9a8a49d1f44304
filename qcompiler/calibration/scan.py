"""Rewrites Scan as the Loop that ONNX defines it by, since only a Loop can carry sequences.

ONNX operator specification, Scan: state variables become loop-carried values, scan input j is
sliced along its axis at every iteration, scan outputs are stacked.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

_MARK = "qcompiler.scan"


def scans_to_loops(proto: onnx.ModelProto) -> None:
    """Rewrites every Scan of the model, those in bodies included."""
    _rewrite(proto.graph, [0])


def _rewrite(graph: onnx.GraphProto, counter: list[int]) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rewrite(attribute.g, counter)
        if node.op_type == "Scan" and node.domain in ("", "ai.onnx"):
            counter[0] += 1
            nodes.extend(_as_loop(node, f"{_MARK}.{counter[0]}"))
        else:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(nodes)


def _as_loop(node: onnx.NodeProto, mark: str) -> list[onnx.NodeProto]:
    values = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    body = onnx.GraphProto.FromString(values["body"].SerializeToString())
    scanned = int(values["num_scan_inputs"])
    states = len(node.input) - scanned
    axes = values.get("scan_input_axes", [0] * scanned)
    reverse = values.get("scan_input_directions", [0] * scanned)
    sources = list(node.input)[states:]
    before = _trip_count(sources[0], int(axes[0]), mark)
    _feed_slices(body, states, sources, [int(a) for a in axes], [int(r) for r in reverse], mark)
    stacked = len(body.output) - 1 - states
    outputs = list(node.output) + [""] * (states + stacked - len(node.output))
    after: list[onnx.NodeProto] = []
    out_axes = values.get("scan_output_axes", [0] * stacked)
    out_reverse = values.get("scan_output_directions", [0] * stacked)
    for j in range(stacked):
        name, element = outputs[states + j], body.output[1 + states + j]
        if name and (out_axes[j] or out_reverse[j]):
            raw = f"{mark}.stacked.{j}"
            rank = len(element.type.tensor_type.shape.dim) + 1
            after += _arranged(raw, name, int(out_axes[j]), bool(out_reverse[j]), rank)
            outputs[states + j] = raw
    inputs = [f"{mark}.length", "", *list(node.input)[:states]]
    loop = helper.make_node("Loop", inputs, outputs, name=node.name, body=body)
    return [*before, loop, *after]


def _trip_count(source: str, axis: int, mark: str) -> list[onnx.NodeProto]:
    """`mark.length`: int64 scalar, the extent of the scanned axis."""
    where = helper.make_tensor("", TensorProto.INT64, [], [axis])
    return [
        helper.make_node("Shape", [source], [f"{mark}.shape"]),
        helper.make_node("Constant", [], [f"{mark}.axis"], value=where),
        helper.make_node("Gather", [f"{mark}.shape", f"{mark}.axis"], [f"{mark}.length"]),
    ]


def _feed_slices(
    body: onnx.GraphProto,
    states: int,
    sources: list[str],
    axes: list[int],
    reverse: list[int],
    mark: str,
) -> None:
    """Gives a Scan body the signature of a Loop body; slices are taken inside it."""
    index, keep_in, keep_out, back = (f"{mark}.{k}" for k in ("i", "keep", "kept", "back"))
    elements = [each.name for each in body.input[states:]]
    one = helper.make_tensor("", TensorProto.INT64, [], [1])
    head = [
        helper.make_node("Identity", [keep_in], [keep_out]),
        helper.make_node("Constant", [], [f"{mark}.1"], value=one),
        helper.make_node("Sub", [f"{mark}.length", f"{mark}.1"], [f"{mark}.last"]),
        helper.make_node("Sub", [f"{mark}.last", index], [back]),
    ]
    for element, source, axis, backwards in zip(elements, sources, axes, reverse, strict=True):
        place = back if backwards else index
        head.append(helper.make_node("Gather", [source, place], [element], axis=axis))
    inputs = [
        helper.make_tensor_value_info(index, TensorProto.INT64, []),
        helper.make_tensor_value_info(keep_in, TensorProto.BOOL, []),
        *_copies(body.input[:states]),
    ]
    outputs = [helper.make_tensor_value_info(keep_out, TensorProto.BOOL, []), *_copies(body.output)]
    nodes = [onnx.NodeProto.FromString(each.SerializeToString()) for each in body.node]
    del body.input[:], body.output[:], body.node[:]
    body.input.extend(inputs)
    body.output.extend(outputs)
    body.node.extend([*head, *nodes])


def _copies(infos: list[onnx.ValueInfoProto]) -> list[onnx.ValueInfoProto]:
    return [onnx.ValueInfoProto.FromString(each.SerializeToString()) for each in infos]


def _arranged(raw: str, name: str, axis: int, reverse: bool, rank: int) -> list[onnx.NodeProto]:
    """Reverses a stacked output, then moves its first axis to `axis`."""
    nodes = []
    source = raw
    if reverse:
        for kind, number in (("s", -1), ("e", -(2**63)), ("a", 0), ("p", -1)):
            tensor = helper.make_tensor("", TensorProto.INT64, [1], [number])
            nodes.append(helper.make_node("Constant", [], [f"{raw}.{kind}"], value=tensor))
        target = f"{raw}.reversed" if axis else name
        operands = [raw, *(f"{raw}.{kind}" for kind in "seap")]
        nodes.append(helper.make_node("Slice", operands, [target]))
        source = target
    if axis:
        order = list(range(1, rank))
        order.insert(axis % rank, 0)
        nodes.append(helper.make_node("Transpose", [source], [name], perm=order))
    return nodes
