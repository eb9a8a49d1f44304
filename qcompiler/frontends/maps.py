"""Maps of a file (ZipMap of scikit-learn's converters) as the tensors they are made of.

A list of dictionaries, one for each row, is a way to print probabilities. No engine computes with
it, and onnx-ir has no type for it. The tensor under it has one column for each class, in the
order of the operator's labels (ai.onnx.ml, ZipMap-1).
"""

from __future__ import annotations

import onnx
from onnx import helper

from qcompiler.errors import UnreadableModelError

_ML = "ai.onnx.ml"
_MOST = 8
"""Labels that a note names."""


def without_maps(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with tensors in the place of maps that it returns, and what was changed.

    Returns:
        The model itself where it holds none; a changed copy otherwise.

    Raises:
        UnreadableModelError: It takes maps, or computes with them.
    """
    values = [*proto.graph.input, *proto.graph.output, *proto.graph.value_info]
    if not any(map(_is_map, values)) and not any(map(_makes_maps, proto.graph.node)):
        return proto, ()
    _require_outputs_alone(proto.graph)
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    graph = changed.graph
    notes = [_unzipped(node, graph) for node in graph.node if _makes_maps(node)]
    kept = [each for each in graph.value_info if not _is_map(each)]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return changed, tuple(notes)


def _is_map(value: onnx.ValueInfoProto) -> bool:
    kind = value.type
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        inner = kind.WhichOneof("value")
        kind = getattr(kind, str(inner)).elem_type
    return bool(kind.WhichOneof("value") == "map_type")


def _makes_maps(node: onnx.NodeProto) -> bool:
    return bool(node.domain == _ML and node.op_type == "ZipMap")


def _require_outputs_alone(graph: onnx.GraphProto) -> None:
    taken = next((each.name for each in graph.input if _is_map(each)), None)
    if taken is not None:
        raise UnreadableModelError(
            f"the input '{taken}' is a map",
            where=f"input '{taken}'",
            why="engines compute with tensors",
            fix="export the model behind its DictVectorizer or CastMap, and vectorize before it",
        )
    made = {node.output[0] for node in graph.node if _makes_maps(node)}
    reader = next((node for node in graph.node if made & set(node.input)), None)
    others = [each.name for each in graph.output if _is_map(each) and each.name not in made]
    other = next(iter(others), None)
    if reader is not None or other is not None:
        raise UnreadableModelError(
            "the model computes with maps",
            where=f"output '{other}'" if reader is None else f"{reader.op_type} '{reader.name}'",
            why="only maps that ZipMap makes of a tensor, and that are returned, can be left out",
            fix="export it without them (skl2onnx: options={'zipmap': False})",
        )


def _unzipped(node: onnx.NodeProto, graph: onnx.GraphProto) -> str:
    """ZipMap → Identity; says so."""
    labels = [each for each in node.attribute if each.name.startswith("classlabels_")]
    names = [helper.get_attribute_value(each) for each in labels]
    classes = [_shown(label) for each in names for label in each]
    name = node.output[0]
    for output in graph.output:
        if output.name == name:
            made = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, len(classes)])
            output.CopyFrom(made)
    node.op_type, node.domain = "Identity", ""
    del node.attribute[:]
    more = ", ..." if len(classes) > _MOST else ""
    return (
        f"output '{name}' is a tensor with one column for each class "
        f"({', '.join(classes[:_MOST])}{more}): ZipMap, which makes dictionaries of it, is left out"
    )


def _shown(label: bytes | int) -> str:
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)
