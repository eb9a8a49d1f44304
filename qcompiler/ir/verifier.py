"""`verify`: everything that is wrong with a program, in one walk. O(nodes + uses).

```
V01 ownership         a node is in the graph that lists it, an output knows its node
V02 use-def           operands know their users, and only those
V03 definition        a value is defined before it is read, in this graph or an outer one
V04 names             values and nodes have names, and each only once
V05 op                the op exists at the opset, its attributes and operand count are legal
V06 types             element types and shapes agree where they are known
V07 Q/DQ              scale, zero point, axis and block size fit the quantized tensor
V08 requests          what is to be observed is a value of the program
V09 signature         the boundary of the graph is what the signature says
V10 form              working opset, no functions, initializers have data and are no inputs
```
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.errors import InvalidProgramError
from qcompiler.ir.collector import rare_collections
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.nodecheck import check_node
from qcompiler.ir.origin import source_line
from qcompiler.ir.program import WORKING_OPSET, Program
from qcompiler.ir.text import node_line
from qcompiler.ir.walk import all_graphs, bodies, values_by_name

Finding = tuple[str, str, ir.Node | None]
"""Rule, message, node."""

_CONTEXT = 2
"""Lines of IR shown before and after an offender."""


@rare_collections()
def verify(program: Program, stage: str | None = None) -> tuple[Diagnostic, ...]:
    """Returns all findings, in the order of the graph; empty for a sound program. Never raises.

    Args:
        program: What to look at; not changed.
        stage: Where the pipeline is ("after fuse-conv-bn"), to be named in every message.
    """
    suffix = f" ({stage})" if stage else ""
    return tuple(
        Diagnostic(
            Severity.ERROR,
            rule,
            message + suffix,
            node=None if node is None else node.name,
            source=None if node is None else source_line(node),
        )
        for rule, message, node in _findings(program)
    )


def require_valid(program: Program, stage: str | None = None) -> None:
    """Raises if `verify` finds anything.

    Raises:
        InvalidProgramError: With all diagnostics and the lines of IR around the first offender.
    """
    found = verify(program, stage)
    if found:
        raise InvalidProgramError(
            f"the program is broken{f' {stage}' if stage else ''}: {len(found)} findings",
            found,
            where=_surroundings(program, found),
        )


def _surroundings(program: Program, found: tuple[Diagnostic, ...]) -> str | None:
    name = next((each.node for each in found if each.node is not None), None)
    if name is None:
        return None
    for graph in all_graphs(program.model):
        nodes = list(graph)
        for index, node in enumerate(nodes):
            if node.name == name:
                first = max(0, index - _CONTEXT)
                lines = [
                    f"{'>' if each is node else ' '} {node_line(each)}"
                    for each in nodes[first : index + _CONTEXT + 1]
                ]
                return "\n".join([f"graph '{graph.name}'", *lines])
    return name


def _requests(program: Program) -> Iterator[Finding]:
    if not program.requests:
        return
    known = values_by_name(program.model)
    for request in program.requests:
        if request.value not in known:
            yield "V08", f"'{request.value}' is to be observed and is no value here", None


def _findings(program: Program) -> Iterator[Finding]:
    yield from _form(program)
    yield from _signature(program)
    yield from _names(program.model)
    yield from _requests(program)
    walk = _Walk()
    yield from walk.graph(program.graph)
    yield from walk.uses()
    opset = program.model.opset_imports.get("", WORKING_OPSET)
    for graph in all_graphs(program.model):
        for node in graph:
            for rule, message in check_node(node, opset):
                yield rule, message, node


def _form(program: Program) -> Iterator[Finding]:
    model = program.model
    opset = model.opset_imports.get("")
    if opset != WORKING_OPSET:
        yield "V10", f"the opset is {opset}, not {WORKING_OPSET}", None
    for function in model.functions.values():
        yield "V10", f"function {function.name} is not inlined", None
    for graph in all_graphs(model):
        inputs = set(graph.inputs)
        for name, value in graph.initializers.items():
            if value.const_value is None:
                yield "V10", f"initializer '{name}' has no data", None
            if value in inputs:
                yield "V10", f"initializer '{name}' is also an input", None
            if value.name != name:
                yield "V04", f"initializer '{name}' calls itself '{value.name}'", None


def _signature(program: Program) -> Iterator[Finding]:
    signature, graph = program.signature, program.graph
    sides = (
        ("input", signature.inputs, graph.inputs),
        ("output", signature.outputs, graph.outputs),
    )
    for side, specs, values in sides:
        names, wanted = [v.name for v in values], [spec.name for spec in specs]
        if names != wanted:
            yield "V09", f"the graph's {side}s are {names}, the signature's {wanted}", None
            continue
        for spec, value in zip(specs, values, strict=True):
            if spec.dtype is not None and value.dtype not in (None, spec.dtype):
                yield "V09", f"{side} '{spec.name}' is {value.dtype}, declared {spec.dtype}", None
            known = spec.shape is not None and value.shape is not None
            if known and len(spec.shape or ()) != len(value.shape or ()):
                yield "V09", f"{side} '{spec.name}' has rank {len(value.shape or ())}", None


def _names(model: ir.Model) -> Iterator[Finding]:
    values: dict[str, ir.Value] = {}
    nodes: set[str] = set()
    for graph in all_graphs(model):
        declared = [(value, None) for value in (*graph.inputs, *graph.initializers.values())]
        made = [(value, node) for node in graph for value in node.outputs]
        for value, node in (*declared, *made):
            if not value.name:
                if value.uses() or value.is_graph_output():
                    yield "V04", "a value that is read has no name", node
            elif values.setdefault(value.name, value) is not value:
                yield "V04", f"two values are named '{value.name}'", node
        for node in graph:
            if not node.name:
                yield "V04", f"a {node.op_type} node has no name", node
            elif node.name in nodes:
                yield "V04", f"two nodes are named '{node.name}'", node
            else:
                nodes.add(node.name)


class _Walk:
    """One pass over all graphs in order: ownership, definition before use, use-def symmetry."""

    def __init__(self) -> None:
        self._defined: set[ir.Value] = set()
        self._readers: dict[ir.Value, set[tuple[ir.Node, int]]] = {}

    def graph(self, graph: ir.Graph) -> Iterator[Finding]:
        """Walks a graph whose outer values are in `_defined`; leaves the set as it was."""
        own: list[ir.Value] = [*graph.inputs, *graph.initializers.values()]
        self._defined.update(own)
        for value in own:
            self._readers.setdefault(value, set())
        for node in graph:
            yield from self._node(node, graph)
            self._defined.update(node.outputs)
            own.extend(node.outputs)
        for value in graph.outputs:
            if value not in self._defined:
                yield "V03", f"graph output '{value.name}' is not defined in '{graph.name}'", None
        self._defined.difference_update(own)

    def _node(self, node: ir.Node, graph: ir.Graph) -> Iterator[Finding]:
        if node.graph is not graph:
            yield "V01", f"the node is listed in '{graph.name}' but belongs elsewhere", node
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            self._readers.setdefault(value, set()).add((node, index))
            if value not in self._defined:
                yield "V03", f"'{value.name}' is read before it is defined", node
        for body in bodies(node):
            yield from self.graph(body)
        for index, value in enumerate(node.outputs):
            self._readers.setdefault(value, set())
            if value.producer() is not node or value.index() != index:
                yield "V01", f"output '{value.name}' does not know its node", node

    def uses(self) -> Iterator[Finding]:
        """Compares what was read with what every value believes."""
        for value, readers in self._readers.items():
            known = {(use.node, use.idx) for use in value.uses()}
            for node, index in readers - known:
                yield "V02", f"'{value.name}' does not know its use as operand {index}", node
            for node, index in known - readers:
                yield "V02", f"'{value.name}' has a use as operand {index} of no listed node", node
