"""`Rewriter`: the only way passes edit a program. Counts edits, keeps names unique and origins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.edits import EditCounts
from qcompiler.ir.naming import Names
from qcompiler.ir.origin import inherit_origin
from qcompiler.ir.program import Program
from qcompiler.ir.walk import Usage, all_graphs, is_any_read

Array = npt.NDArray[Any]


class Rewriter:
    """Edits one program. Every method leaves the graph valid or raises before touching it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.counts = EditCounts()
        self._names: Names | None = None

    def fresh(self, stem: str) -> str:
        """A name that no value and no node of the program has, `stem` itself if it is free."""
        if self._names is None:  # collected when the first name is needed
            self._names = Names(_taken_names(self.program.model))
        return self._names.take(stem)

    def constant(
        self, array: Array | ir.TensorProtocol, stem: str, graph: ir.Graph | None = None
    ) -> ir.Value:
        """A new initializer of the main graph (or of `graph`); subgraphs may use it too."""
        tensor: ir.TensorProtocol
        name = self.fresh(stem)
        if isinstance(array, np.ndarray):
            tensor = ir.Tensor(array, name=name)
        else:
            tensor = _named(array, name)
        value = ir.Value(
            name=name, type=ir.TensorType(tensor.dtype), shape=_shape(tensor), const_value=tensor
        )
        (self.program.graph if graph is None else graph).register_initializer(value)
        self.counts.constants += 1
        return value

    def insert(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        *,
        before: ir.Node | None = None,
        after: ir.Node | None = None,
        graph: ir.Graph | None = None,
        attributes: Mapping[str, Any] | None = None,
        outputs: Sequence[str] = (),
        domain: str = "",
        origin: Sequence[ir.Node] = (),
        dtype: ir.DataType | None = None,
        shape: ir.Shape | None = None,
    ) -> ir.Node:
        """Inserts a node before or after another one, or at the start of `graph`.

        Args:
            op_type: Operator, in `domain`.
            inputs: Operands; None for an omitted optional one.
            before: Node to insert in front of.
            after: Node to insert behind.
            graph: Graph whose start to insert at, when neither is given.
            attributes: Python values, converted by onnx-ir.
            outputs: Stems of the output names; one output named after `op_type` by default.
            domain: Operator domain.
            origin: Nodes whose module path and source line the new one inherits.
            dtype: Element type of the first output.
            shape: Shape of the first output.
        """
        names = [self.fresh(stem) for stem in outputs or (op_type.lower(),)]
        values = [ir.Value(name=name) for name in names]
        if dtype is not None:
            values[0].type = ir.TensorType(dtype)
        values[0].shape = shape
        node = ir.Node(
            domain,
            op_type,
            inputs,
            ir.convenience.convert_attributes(dict(attributes)) if attributes else (),
            outputs=values,
            name=self.fresh(f"{names[0]}_{op_type}"),
        )
        _place(node, before, after, graph if graph is not None else self.program.graph)
        if domain:
            self.program.model.opset_imports.setdefault(domain, 1)
        parents = [near for near in (before, after) if near is not None]
        inherit_origin(node, list(origin) or parents)
        self.counts.inserted += 1
        return node

    def recompose(
        self,
        output: ir.Value,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        *,
        attributes: Mapping[str, Any] | None = None,
    ) -> ir.Node:
        """Computes `output` by one new node instead of those that did.

        The value keeps its name, dtype and shape; nodes that only served the old form are erased.

        Args:
            output: A node's output; every value of `inputs` is defined before that node.
            op_type: ONNX operator of the new node.
            inputs: Its operands.
            attributes: Its attributes as Python values.
        """
        old = output.producer()
        assert old is not None
        node = self.insert(
            op_type,
            inputs,
            before=old,
            attributes=attributes,
            outputs=(output.name or op_type.lower(),),
            origin=(old,),
            dtype=output.dtype,
            shape=output.shape,
        )
        self.take_over(node.outputs[0], output)
        return node

    def take_over(self, new: ir.Value, old: ir.Value) -> None:
        """Makes the users of `old` read `new`, which takes its name, and erases what made `old`.

        `new` holds the same numbers from now on. It keeps its own name if that has to stay.
        """
        name, producer = old.name, old.producer()
        graph = self.program.graph if new.graph is None else new.graph
        free = not _is_pinned(new, graph)
        self.replace_uses(old, new)
        if free and new.name != name:
            old.name = self.fresh(f"{name}_replaced")
            new.name = name
        if producer is not None:
            self.erase_dead(producer)

    def replace_uses(
        self,
        old: ir.Value,
        new: ir.Value,
        only: Sequence[Usage] | None = None,
        keep: Sequence[ir.Node] = (),
    ) -> None:
        """Makes the users of `old` read `new`; graph outputs follow unless `only` is given.

        Args:
            old: The value read so far.
            new: The value to read.
            only: Just these uses; graph outputs stay.
            keep: Nodes that go on reading `old` (such as the one that computes `new` from it).
        """
        if old is new:
            return
        for use in map(Usage._make, old.uses()) if only is None else only:
            if use.node not in keep:
                use.node.replace_input_with(use.idx, new)
                self.counts.replaced_uses += 1
        if only is None and old.is_graph_output():
            self._move_output(old, new)
            self.counts.replaced_uses += 1

    def set_input(self, node: ir.Node, index: int, value: ir.Value | None) -> None:
        """Changes one operand."""
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        if node.inputs[index] is not value:
            node.replace_input_with(index, value)
            self.counts.replaced_uses += 1

    def set_attribute(self, node: ir.Node, name: str, value: Any) -> None:
        """Changes or adds one attribute; None removes it."""
        if value is None:
            if node.attributes.pop(name, None) is not None:
                self.counts.attributes += 1
            return
        node.attributes[name] = ir.convenience.convert_attribute(name, value)
        self.counts.attributes += 1

    def erase(self, node: ir.Node) -> None:
        """Removes a node whose outputs nobody uses.

        Raises:
            ValueError: An output is still used.
        """
        graph = node.graph
        if graph is None:
            raise ValueError(f"{node.name} is in no graph")
        graph.remove(node, safe=True)
        self.counts.erased += 1

    def erase_dead(self, *roots: ir.Node) -> None:
        """Erases these nodes and what only they used, as far as nobody else uses it."""
        pending = list(roots)
        while pending:
            node = pending.pop()
            if node.graph is None or is_any_read(node):
                continue
            feeding = [v.producer() for v in node.inputs if v is not None]
            self.erase(node)
            pending.extend(parent for parent in feeding if parent is not None)

    def drop_unused_constants(self, *, untouched: bool = False) -> None:
        """Removes initializers that nothing uses, if anything was edited.

        Args:
            untouched: Also where nothing was edited: who edits cleans up behind itself.
        """
        if not (self.counts.total or untouched):
            return
        for graph in all_graphs(self.program.model):
            unused = [
                name
                for name, value in graph.initializers.items()
                if not value.uses() and not value.is_graph_output()
            ]
            for name in unused:
                del graph.initializers[name]
                self.counts.constants += 1

    def _move_output(self, old: ir.Value, new: ir.Value) -> None:
        """Puts `new` where `old` was a graph output, keeping the output's name.

        A value that has a name of its own to keep, or lives in another graph, is copied by an
        Identity instead.
        """
        graph = old.graph
        assert graph is not None
        name = old.name
        old.name = self.fresh(f"{name}_inner")
        if _is_pinned(new, graph):
            copy = ir.Value(name=name, type=old.type, shape=old.shape)
            graph.append(
                ir.Node("", "Identity", [new], outputs=[copy], name=self.fresh(f"{name}_copy"))
            )
            self.counts.inserted += 1
            new = copy
        else:
            new.name = name
        for index, output in enumerate(graph.outputs):
            if output is old:
                graph.outputs[index] = new


def _is_pinned(value: ir.Value, graph: ir.Graph) -> bool:
    """Whether a value cannot take over the name of an output of `graph`."""
    return (
        value.is_graph_input()
        or value.is_initializer()
        or value.is_graph_output()
        or value.graph is not graph
    )


def _named(tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
    """The same data under another name; what has one may be another program's, so it keeps it."""
    if tensor.name is None:
        tensor.name = name
    if tensor.name == name:
        return tensor
    return ir.LazyTensor(lambda: tensor, dtype=tensor.dtype, shape=_shape(tensor), name=name)


def _shape(tensor: ir.TensorProtocol) -> ir.Shape:
    return ir.Shape([int(dim) for dim in tensor.shape.numpy()])


def _place(node: ir.Node, before: ir.Node | None, after: ir.Node | None, graph: ir.Graph) -> None:
    if before is not None:
        before.prepend(node)
    elif after is not None:
        after.append(node)
    elif len(graph):
        graph.insert_before(graph[0], node)
    else:
        graph.append(node)


def _taken_names(model: ir.Model) -> set[str]:
    names: set[str] = set()
    for graph in all_graphs(model):
        names.update(value.name or "" for value in graph.inputs)
        names.update(graph.initializers)
        for node in graph:
            names.add(node.name or "")
            names.update(output.name or "" for output in node.outputs)
    return names
