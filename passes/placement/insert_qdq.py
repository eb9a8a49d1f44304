"""`insert-qdq`: makes the placement explicit as QuantizeLinear/DequantizeLinear pairs.

A value that an integer region writes is quantized right behind it, and all its users read the
dequantized copy. A value written in float keeps its float users; only integer regions read the
quantized copy. Every graph that reads a quantized value gets a DequantizeLinear of its own, so
that engines find the pair next to the kernel. What is read in another storage type than it is
written in is quantized once more, behind its dequantized copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.decisions.binding import Placed, bound_regions, decided
from qcompiler.decisions.placement import OperandPlacement
from qcompiler.ir.program import Program, Property
from qcompiler.ir.qdq import QdqWriter
from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

_Key = tuple[ir.Value, str]
"""A value and the name of a storage type."""


@dataclass(frozen=True)
class InsertQdq(Pass):
    """Inserts the activation Q/DQ pairs that the placement asks for."""

    name: ClassVar[str] = "insert-qdq"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})
    destroys: ClassVar[frozenset[Property]] = frozenset({Property.OBSERVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        placed = bound_regions(program)
        program.requests.clear()  # answered; the values go by other names from here on
        pairs = _write(placed, program, QdqWriter(rewriter))
        return Outcome(details={"pairs": pairs})


def _write(placed: Sequence[Placed], program: Program, writer: QdqWriter) -> int:
    values = decided(program).values
    written: dict[_Key, str] = {}
    for each in placed:
        if each.decided.written is not None:
            key = (each.region.output, each.decided.written.space.dtype.name)
            written[key] = each.decided.output
    readers: dict[_Key, tuple[str, list[Operand]]] = {
        key: (name, []) for key, name in written.items()
    }
    for operand, found in _read(placed):
        assert found.params is not None
        key = (operand.value, found.params.space.dtype.name)
        readers.setdefault(key, (found.value, []))[1].append(operand)
    made = {value for value, _ in written}
    # What an integer region writes comes first: other types are read behind its copies.
    for (value, dtype), (name, operands) in sorted(
        readers.items(), key=lambda item: item[0][0] in made and item[0] not in written
    ):
        params = values[name, dtype]
        if (value, dtype) in written:
            writer.pair(value, params, None)
        else:
            for current in dict.fromkeys(operand.value for operand in operands):
                here = [operand for operand in operands if operand.value is current]
                writer.pair(current, params, here)
    for operand, found in _read(placed):
        if found.requantized and found.params is not None:
            writer.requantized(operand, found.params)
    return len(readers)


def _read(placed: Sequence[Placed]) -> Iterator[tuple[Operand, OperandPlacement]]:
    """Operands that are read as integers, with their decisions."""
    for each in placed:
        both = zip(each.region.activations, each.decided.activations, strict=True)
        yield from ((operand, found) for operand, found in both if found.params is not None)
