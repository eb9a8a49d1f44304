"""Brings any legal (and some illegal) ONNX graph into the one form that passes rely on.

After `clean`: one spelling of the ONNX domain, every used domain imported, no functions, no
initializer among the inputs, every weight an initializer, unique names, no graph output that is a
constant, and tensors that nobody outside holds.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from qcompiler.errors import UnreadableModelError, UnsupportedOpsetError
from qcompiler.frontends.calls import check_calls, drop_uncalled
from qcompiler.ir.naming import make_names_unique
from qcompiler.ir.tensors import own_tensor
from qcompiler.ir.walk import all_graphs, all_nodes, bodies, is_op, producer_of

_ONNX_NAMES = ("ai.onnx", "onnx")


def clean(model: ir.Model) -> tuple[str, ...]:
    """Cleans in place; returns what had to be repaired, in words.

    Raises:
        UnreadableModelError: A value is read that nothing produces, or functions call in a circle.
        UnsupportedOpsetError: A function was written for an opset that differs in an op it uses.
    """
    repaired: list[str] = []
    spell_domains(model)
    inline_functions(model)
    repaired += import_missing_domains(model)
    repaired += drop_initializer_inputs(model)
    check_produced(model)
    repaired += sort_nodes(model)
    lift_constants(model)
    detach_outputs(model)
    changed = make_names_unique(model)
    if changed:
        repaired.append(f"{changed} empty or clashing value names were replaced")
    return tuple(repaired)


def spell_domains(model: ir.Model) -> None:
    """Writes the ONNX domain as the empty string everywhere."""
    for imports in (model.opset_imports, *(f.opset_imports for f in model.functions.values())):
        for alias in _ONNX_NAMES:
            if alias in imports:
                version = imports.pop(alias)
                imports.setdefault("", version)
    for node in all_nodes(model):
        if node.domain in _ONNX_NAMES:
            node.domain = ""
    for function in model.functions.values():
        for node in function.all_nodes():
            if node.domain in _ONNX_NAMES:
                node.domain = ""


def inline_functions(model: ir.Model) -> None:
    """Replaces every call of a model-local function by its body."""
    if not model.functions:
        return
    check_calls(model)
    drop_uncalled(model)
    for function in model.functions.values():
        _align_opset(model, function)
    try:
        InlinePass()(model)
    except Exception as error:
        raise UnreadableModelError(
            "the functions of this model cannot be inlined",
            why=str(error.__cause__ or error),
            fix="remove circular calls, or inline them with onnx.inliner",
        ) from error
    model.functions.clear()


def _align_opset(model: ir.Model, function: ir.Function) -> None:
    """Moves a function to the model's opset, if the ops that it uses are the same in both."""
    ours, theirs = model.opset_imports.get(""), function.opset_imports.get("")
    if theirs is None or ours == theirs:
        return
    if ours is None:
        model.opset_imports[""] = theirs
        return
    for node in function.all_nodes():
        if node.domain == "" and _since(node.op_type, ours) != _since(node.op_type, theirs):
            raise UnsupportedOpsetError(
                f"function {function.name} uses {node.op_type} of opset {theirs}, the model {ours}",
                where=node.name,
                fix="export the model with one opset, or inline its functions first",
            )
    function.opset_imports[""] = ours


def _since(op_type: str, opset: int) -> int:
    try:
        return int(onnx.defs.get_schema(op_type, opset, "").since_version)
    except onnx.defs.SchemaError:
        return 0


def import_missing_domains(model: ir.Model) -> list[str]:
    """Adds an import for every domain in use and drops those that no node uses."""
    used = {node.domain for node in all_nodes(model)} | {""}
    missing = sorted(used - set(model.opset_imports))
    for domain in missing:
        model.opset_imports[domain] = _opset_of_ir_version(model.ir_version) if domain == "" else 1
    for domain in set(model.opset_imports) - used:
        del model.opset_imports[domain]
    return [f"domain '{domain}' was not imported" for domain in missing]


def _opset_of_ir_version(ir_version: int | None) -> int:
    """The newest ONNX opset released with this IR version (table of the ONNX project)."""
    rows = [row for row in onnx.helper.VERSION_TABLE if row[1] == ir_version]
    return int(rows[-1][2]) if rows else onnx.defs.onnx_opset_version()


_MUST_LIST = 3
"""The last IR version in which every initializer had to be listed as an input."""
_SHOWN = 5


def drop_initializer_inputs(model: ir.Model) -> list[str]:
    """Takes initializers off the input lists; weights are folded and quantized, so they are fixed.

    Since IR version 4 such an input has a default that a caller may override, which is then told
    by name. Source of the rule: ONNX, "Graphs": initializers that are also inputs.
    """
    defaults: list[str] = []
    for graph in all_graphs(model):
        kept = [value for value in graph.inputs if value.name not in graph.initializers]
        if len(kept) != len(graph.inputs):
            defaults += [v.name or "" for v in graph.inputs if v.name in graph.initializers]
            graph.inputs.clear()
            graph.inputs.extend(kept)
    if not defaults or model.ir_version <= _MUST_LIST:
        return []
    names = ", ".join(f"'{name}'" for name in defaults[:_SHOWN])
    more = f" and {len(defaults) - _SHOWN} more" if len(defaults) > _SHOWN else ""
    return [f"can no longer be fed, as the defaults are compiled in: {names}{more}"]


def check_produced(model: ir.Model) -> None:
    """Every value that is read has a producer.

    Raises:
        UnreadableModelError: One has none.
    """
    for graph in all_graphs(model):
        declared = {*graph.inputs, *graph.initializers.values()}
        for value in graph.outputs:
            outer = value.is_graph_input() or value.is_initializer()
            if value.producer() is None and value not in declared and not outer:
                raise _unproduced(value, "the graph's output")
        for node in graph:
            for operand in node.inputs:
                if operand is not None and operand.producer() is None and operand.graph is None:
                    raise _unproduced(operand, f"{node.op_type} '{node.name}'")


def _unproduced(value: ir.Value, reader: str) -> UnreadableModelError:
    return UnreadableModelError(
        f"value '{value.name}' is read but nothing produces it",
        where=reader,
        fix="the file is incomplete: export the model again",
    )


def sort_nodes(model: ir.Model) -> list[str]:
    """Puts nodes in the order that ONNX asks for: after what they read.

    Raises:
        UnreadableModelError: There is no such order, since nodes read each other in a circle.
    """
    if all(_is_sorted(graph) for graph in all_graphs(model)):
        return []
    try:
        model.graph.sort()
    except ValueError as error:
        raise UnreadableModelError(
            "nodes of this model read each other in a circle",
            why=str(error),
            fix="export the model again; loops are written with Loop or Scan",
        ) from error
    return ["nodes were not in the order in which they can run"]


def _is_sorted(graph: ir.Graph) -> bool:
    """Whether every node comes after the nodes of this graph that it, or a body of it, reads."""
    seen: set[ir.Node] = set()
    for node in graph:
        readers = [node]
        for body in bodies(node):
            readers.extend(body.all_nodes())
        for reader in readers:
            for value in reader.inputs:
                producer = producer_of(value)
                if producer is not None and producer.graph is graph and producer not in seen:
                    return False
        seen.add(node)
    return True


def lift_constants(model: ir.Model) -> None:
    """Makes every Constant node an initializer of its graph (sparse ones stay nodes)."""
    for graph in all_graphs(model):
        for node in list(graph):
            if is_op(node, "Constant") and not node.outputs[0].is_graph_output():
                tensor = _constant_tensor(node)
                if tensor is not None:
                    _lift(graph, node, tensor)


def _lift(graph: ir.Graph, node: ir.Node, tensor: ir.TensorProtocol) -> None:
    old = node.outputs[0]
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
    name = old.name or f"constant_{len(graph.initializers)}"
    while name in graph.initializers:
        name += "_"
    value.name = name
    old.replace_all_uses_with(value)
    graph.remove(node, safe=True)
    graph.register_initializer(value)


def _constant_tensor(node: ir.Node) -> ir.TensorProtocol | None:
    """The tensor that a Constant node gives; None for a sparse one."""
    if len(node.attributes) != 1:
        return None
    name, attribute = next(iter(node.attributes.items()))
    value = attribute.value
    match name:
        case "value":
            return own_tensor(attribute.as_tensor())
        case "value_int" | "value_ints":
            return ir.tensor(np.array(value, dtype=np.int64))
        case "value_float" | "value_floats":
            return ir.tensor(np.array(value, dtype=np.float32))
        case "value_string" | "value_strings":
            strings = [value] if isinstance(value, str) else list(value)
            shape = ir.Shape([] if isinstance(value, str) else [len(strings)])
            return ir.StringTensor([text.encode() for text in strings], shape=shape)
        case _:
            return None


def detach_outputs(model: ir.Model) -> None:
    """Puts an Identity before a graph output that is an initializer or, in a body, an outer value.

    An output of the main graph that is its input keeps being that: both names must stay.
    """
    for graph in all_graphs(model):
        owned = {value for node in graph for value in node.outputs} | set(graph.inputs)
        for index, value in enumerate(list(graph.outputs)):
            if value not in owned:
                _copy_out(graph, index, value)


def _copy_out(graph: ir.Graph, index: int, value: ir.Value) -> None:
    name = value.name
    if value.is_initializer() and value.graph is graph:
        stem = f"{name}_value"
        while stem in graph.initializers:
            stem += "_"
        value.name = stem
    copied = ir.Value(name=name, type=value.type, shape=value.shape)
    graph.append(ir.Node("", "Identity", [value], outputs=[copied]))
    graph.outputs[index] = copied
