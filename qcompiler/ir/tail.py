"""Custom operators at the end of a network: cut off for the compilation, put back when it is saved.

A detector often ends in an operator that only its deployment runtime knows (`EfficientNMS_TRT`).
Nothing here runs it, but everything in front of it can be calibrated, judged and quantized. The
front is compiled as a program of its own; the saved file holds the whole network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import onnx
import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.ir.naming import make_names_unique
from qcompiler.ir.origin import describe
from qcompiler.ir.program import OWN_DOMAIN, WORKING_OPSET, Program
from qcompiler.ir.signature import signature_of
from qcompiler.ir.walk import all_nodes, bodies

_KNOWN_DOMAINS = frozenset(
    (
        "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training",
        "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", OWN_DOMAIN,
    )
)  # fmt: skip
"""Domains whose operators ONNX, ONNX Runtime or we define."""


@dataclass(frozen=True, eq=False)
class Tail:
    """What was cut off.

    Attributes:
        model: A graph whose inputs are values of the front, by name.
        outputs: Outputs of the whole network, of the tail and of the front, by name.
        operators: The operators that nothing here runs, as `domain.Op`.
        first: The first node that needs them, and where it comes from.
    """

    model: ir.Model
    outputs: tuple[str, ...]
    operators: tuple[str, ...]
    first: str


def without_tail(program: Program) -> Program:
    """The program up to its first custom operators, which `Program.tail` then holds.

    Nodes that depend on a custom operator go with it. A program without any comes back as it is.

    Raises:
        LoweringError: Nothing is left in front.
    """
    cut = _behind(program.graph)
    if not cut:
        return program
    foreign = [node for node in cut if any(_foreign_in(node))]
    front = program.clone()
    names = {node.name for node in cut}
    shown = _boundary(front.graph, names)
    if not [node for node in front.graph if node.name not in names]:
        raise LoweringError(
            "the network begins with an operator that only its own runtime knows",
            where=describe(foreign[0]),
            fix="there is nothing in front of it to compile",
        )
    whole = tuple(value.name or "" for value in program.graph.outputs)
    operators = tuple(dict.fromkeys(each for node in foreign for each in _foreign_in(node)))
    first = describe(foreign[0])
    tail = Tail(_tail_of(program, names, shown), whole, operators, first)
    _keep_front(front, names, shown)
    told = f"only the runtime knows {', '.join(operators)} at {first}: what "
    told += f"depends on it stays as it is; compiled, judged and called are {', '.join(shown)}"
    provenance = front.provenance
    front.provenance = replace(provenance, warnings=(*provenance.warnings, told))
    front.signature, front.tail = signature_of(front.model), tail
    return front


def with_tail(model: ir.Model, tail: Tail | None) -> ir.Model:
    """The model with the tail behind it, sharing tensors; the model itself where there is none.

    Args:
        model: A lowered front; its outputs still have their names.
        tail: What was cut off its source.
    """
    if tail is None:
        return model
    whole, rest = model.clone(), tail.model.clone()
    graph = whole.graph
    known = {value.name: value for value in (*graph.inputs, *graph.outputs)}
    for value in list(rest.graph.inputs):
        ir.convenience.replace_all_uses_with(value, known[value.name])
    taken = {value.name for value in _values(whole)} | {node.name for node in graph}
    made = {value.name: value for node in rest.graph for value in node.outputs}
    outputs = [made[name] if name in made else known[name] for name in tail.outputs]
    for value in list(rest.graph.initializers.values()):
        rest.graph.initializers.pop(value.name or "")
        same = graph.initializers.get(value.name or "")
        if same is not None and same.const_value is value.const_value:
            ir.convenience.replace_all_uses_with(value, same)
            continue
        value.name = _free(value.name or "", taken)
        graph.register_initializer(value)
    nodes = list(rest.graph)
    rest.graph.outputs.clear()
    rest.graph.remove(nodes)
    for node in nodes:
        node.name = _free(node.name or node.op_type, taken)
        for output in node.outputs:
            if output.name and output not in outputs:
                output.name = _free(output.name, taken)
    graph.extend(nodes)
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    for domain, version in rest.opset_imports.items():
        whole.opset_imports.setdefault(domain, version)
    return whole


def _is_foreign(node: ir.Node) -> bool:
    """Whether neither ONNX, ONNX Runtime nor we define the operator."""
    if node.domain not in _KNOWN_DOMAINS:
        return True
    if node.domain not in ("", "ai.onnx"):
        return False
    try:
        onnx.defs.get_schema(node.op_type, WORKING_OPSET, "")
    except onnx.defs.SchemaError:
        return True
    return False


def _foreign_in(node: ir.Node) -> Iterator[str]:
    """Names of the custom operators that a node is or holds."""
    if _is_foreign(node):
        yield f"{node.domain or 'ai.onnx'}.{node.op_type}"
    for body in bodies(node):
        for inner in body:
            yield from _foreign_in(inner)


def _behind(graph: ir.Graph) -> list[ir.Node]:
    """Custom operators of the main graph and all that depends on them, in order."""
    found: list[ir.Node] = []
    made: set[ir.Value] = set()
    for node in graph:
        if any(_foreign_in(node)) or any(value in made for value in _read(node)):
            found.append(node)
            made.update(node.outputs)
    return found


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """Operands, and what the node's bodies read of the graph around them."""
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        for inner in body:
            yield from _read(inner)


def _boundary(graph: ir.Graph, cut: set[str | None]) -> list[str]:
    """Outputs of the front: of the network's own order first, then what the tail reads of it."""
    kept = [node for node in graph if node.name not in cut]
    made = {value for node in kept for value in node.outputs}
    own = [value for value in graph.outputs if value in made]
    read = [v for node in graph if node.name in cut for v in _read(node) if v in made]
    return [value.name or "" for value in dict.fromkeys([*own, *read])]


def _keep_front(front: Program, cut: set[str | None], shown: Sequence[str]) -> None:
    graph = front.graph
    known = {value.name: value for node in graph for value in node.outputs}
    graph.outputs.clear()
    graph.outputs.extend(known[name] for name in shown)
    _erase(graph, [node for node in graph if node.name in cut])


def _tail_of(program: Program, cut: set[str | None], shown: Sequence[str]) -> ir.Model:
    """The cut nodes as a model that reads the front's outputs, and inputs of the network."""
    model = program.model.clone()
    graph = model.graph
    graph.outputs[:] = [
        each for each in graph.outputs if (p := each.producer()) is not None and p.name in cut
    ]
    front = [node for node in graph if node.name not in cut]
    for value in [each for node in front for each in node.outputs if each.name in shown]:
        entry = ir.Value(name=value.name, type=value.type, shape=value.shape)
        ir.convenience.replace_all_uses_with(value, entry)
        graph.inputs.append(entry)
    _erase(graph, front)
    make_names_unique(model)
    return model


def _erase(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """Takes nodes out that nothing else reads, and constants that nothing reads then."""
    for node in reversed(nodes):
        graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            graph.initializers.pop(name)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    graph = model.graph
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in all_nodes(model):
        yield from node.outputs


def _free(name: str, taken: set[str | None]) -> str:
    """The name, with a number where it is taken; taken then."""
    found, number = name, 1
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
