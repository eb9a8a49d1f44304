"""One contrib node that is being spelt in standard operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from qcompiler.errors import UnreadableModelError
from qcompiler.frontends.opset_moves import become
from qcompiler.ir.origin import describe
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_read, rank


class NotSpelt(Exception):
    """This node has no spelling, or none yet: a rank or a constant is not known. It stays."""


@dataclass(frozen=True, eq=False)
class Spelling:
    """Inserts standard nodes in front of one node, and puts the last of them in its place."""

    node: ir.Node
    rewriter: Rewriter
    ranks: Mapping[ir.Value, int] = field(default_factory=dict)
    made: list[ir.Node] = field(default_factory=list)

    def operand(self, index: int) -> ir.Value | None:
        """An operand; None where it is left out."""
        found = self.node.inputs[index] if index < len(self.node.inputs) else None
        return found if found is not None and found.name else None

    def needed(self, index: int) -> ir.Value:
        """An operand that cannot be left out."""
        found = self.operand(index)
        if found is None:
            raise NotSpelt(f"operand {index} is left out")
        return found

    def wants(self, index: int) -> bool:
        """Whether anybody reads an output."""
        if index >= len(self.node.outputs) or not self.node.outputs[index].name:
            return False
        return is_read(self.node.outputs[index])

    def rank(self, value: ir.Value) -> int:
        """Raises NotSpelt where it is not known."""
        found = self.ranks.get(value, rank(value))
        if found is None:
            raise NotSpelt(f"the rank of '{value.name}' is not known")
        return found

    def static(self, value: ir.Value, axis: int) -> int:
        """One dimension; raises NotSpelt where it is not known."""
        dims: Sequence[int | ir.SymbolicDim] = () if value.shape is None else tuple(value.shape)
        if -len(dims) <= axis < len(dims) and isinstance(found := dims[axis], int):
            return found
        raise NotSpelt(f"dimension {axis} of '{value.name}' is not known")

    def stored(self, index: int) -> np.ndarray[Any, Any]:
        """The numbers of an operand that is a constant; raises NotSpelt where it is none."""
        array = constant(self.operand(index))
        if array is None:
            raise NotSpelt(f"operand {index} is computed")
        return array

    def integer(self, name: str, default: int) -> int:
        return self.node.attributes.get_int(name, default)

    def positive(self, name: str) -> int:
        """An attribute that counts something, without a default; raises UnreadableModelError."""
        found = self.integer(name, 0)
        if found < 1:
            raise UnreadableModelError(
                f"{self.node.op_type} has no positive attribute '{name}'",
                where=describe(self.node),
                fix="export or download the model again",
            )
        return found

    def number(self, name: str, default: float) -> float:
        return self.node.attributes.get_float(name, default)

    def text(self, name: str, default: str) -> str:
        return self.node.attributes.get_string(name, default) or default

    def attributes(self, *names: str) -> dict[str, Any]:
        """Those of the node's attributes that it has."""
        found = self.node.attributes
        return {name: found[name].value for name in names if name in found}

    def ops(
        self, op_type: str, operands: Sequence[ir.Value | None], count: int, **attributes: Any
    ) -> Sequence[ir.Value]:
        """An operator with several outputs."""
        stem = op_type.lower()
        names = [stem, *(f"{stem}_{index}" for index in range(1, count))]
        given = list(operands)
        while given and given[-1] is None:
            given.pop()
        made = self.rewriter.insert(
            op_type, given, before=self.node, attributes=attributes, outputs=names
        )
        self.made.append(made)
        return made.outputs

    def undo(self) -> None:
        """Erases what was inserted, which nothing reads."""
        for node in reversed(self.made):
            self.rewriter.erase(node)
        self.made.clear()

    def op(self, op_type: str, *operands: ir.Value | None, **attributes: Any) -> ir.Value:
        """An operator with one output."""
        return self.ops(op_type, operands, 1, **attributes)[0]

    def ints(self, values: int | Sequence[int]) -> ir.Value:
        """An int64 constant."""
        return self.rewriter.constant(np.array(values, np.int64), f"{self.node.name}_sizes")

    def like(self, value: float, data: ir.Value | None) -> ir.Value:
        """A scalar of the element type of `data`; cast at run time while that is not known."""
        dtype = None if data is None else data.dtype
        stem = f"{self.node.name}_number"
        if dtype is not None:
            return self.rewriter.constant(np.array(value, dtype.numpy()), stem)
        single = self.rewriter.constant(np.array(value, np.float32), stem)
        return self.op("CastLike", single, data)

    def size(self, value: ir.Value, axis: int) -> ir.Value:
        """int64[1]: one dimension of a value."""
        return self.op("Shape", value, start=axis, end=axis + 1)

    def shape(self, *parts: ir.Value | int) -> ir.Value:
        """int64[n]: a shape of numbers and computed dimensions."""
        if all(isinstance(part, int) for part in parts):
            return self.ints([part for part in parts if isinstance(part, int)])
        values = [self.ints([part]) if isinstance(part, int) else part for part in parts]
        return self.op("Concat", *values, axis=0)

    def counted(self, count: ir.Value) -> ir.Value:
        """0 … count - 1, of int64[1]."""
        whole = self.op("Squeeze", count, self.ints([0]))
        return self.op("Range", self.ints(0), whole, self.ints(1))

    def added(self, *values: ir.Value | None) -> ir.Value:
        """The sum of those that are there."""
        present = [value for value in values if value is not None]
        total = present[0]
        for value in present[1:]:
            total = self.op("Add", total, value)
        return total

    def end(self, op_type: str, *operands: ir.Value | None, **attributes: Any) -> None:
        """The node itself becomes this operator, which makes its first output."""
        become(self.node, op_type, operands)
        self.node.domain = ""
        for name, value in attributes.items():
            self.rewriter.set_attribute(self.node, name, value)

    def finish(self, results: Mapping[int, ir.Value | None]) -> None:
        """Values in the place of the outputs by position; whoever reads another one is refused."""
        for index in range(len(self.node.outputs)):
            if self.wants(index) and results.get(index) is None:
                raise NotSpelt(f"output {index} has no spelling")
        for index, value in results.items():
            if value is None or not self.wants(index):
                continue
            old = self.node.outputs[index]
            value.type, value.shape = value.type or old.type, value.shape or old.shape
            name = old.name
            self.rewriter.replace_uses(old, value)
            if value.producer() in self.made and not value.is_graph_output():
                old.name = self.rewriter.fresh(f"{name}_replaced")
                value.name = name
        self.rewriter.erase_dead(self.node)


Spell = Callable[[Spelling], None]
