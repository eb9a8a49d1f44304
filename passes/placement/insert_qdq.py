"""`insert-qdq`: makes the plan explicit as QuantizeLinear/DequantizeLinear pairs.

A value that an integer region writes is quantized right behind it, and all its users read the
dequantized copy. A value written in float keeps its float users; only integer regions read the
quantized copy. Every graph that reads a quantized value gets a DequantizeLinear of its own, so
that engines find the pair next to the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import Usage, is_observer
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.qspace import QParams
from qcompiler.target.placement import placed_regions


@dataclass(frozen=True)
class InsertQdq(Pass):
    """Inserts the activation Q/DQ pairs that the plan and the scales ask for."""

    name: ClassVar[str] = "insert-qdq"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.SCALES_ALIGNED})
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})
    destroys: ClassVar[frozenset[Property]] = frozenset({Property.OBSERVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError("insert-qdq needs a target")
        placed = placed_regions(program, context.target)
        written = [each.region.output for each in placed if each.form.output is not None]
        readers: dict[ir.Value, list[Operand]] = {value: [] for value in written}
        for each in placed:
            for operand in each.quantized_operands:
                readers.setdefault(operand.value, []).append(operand)
        _drop_observers(program, rewriter)
        writer = QdqWriter(program, rewriter)
        produced = set(written)
        scales = dict(program.scales)
        for value, operands in readers.items():
            params = scales[value.name or ""]
            writer.pair(value, params, None if value in produced else operands)
        _requantize(program, writer)
        return Outcome(details={"pairs": len(readers)})


class QdqWriter:
    """Inserts Q/DQ pairs; parameters with equal bits share one initializer."""

    def __init__(self, program: Program, rewriter: Rewriter) -> None:
        self._program = program
        self._rewriter = rewriter
        self._constants: dict[tuple[bytes, bytes, ir.DataType], tuple[ir.Value, ir.Value]] = {}

    def pair(self, value: ir.Value, params: QParams, only: list[Operand] | None) -> None:
        """Quantizes a value for these readers, for all users and graph outputs if None."""
        name = value.name or "value"
        quantize = self._quantize(value, params, name)
        home = value.graph
        targets = _readings(value, only)
        copies: dict[ir.Graph | None, ir.Node] = {}
        for use in targets:
            if use.node is quantize:
                continue
            graph = use.node.graph
            if graph not in copies:
                copies[graph] = self._dequantize(quantize, params, name, value, graph, home)
            copy = copies[graph].outputs[0]
            self._rewriter.replace_uses(value, copy, only=[use])
        if only is None and value.is_graph_output():
            if home not in copies:
                copies[home] = self._dequantize(quantize, params, name, value, home, home)
            self._rewriter.replace_uses(value, copies[home].outputs[0], keep=[quantize])

    def parameters(self, params: QParams) -> tuple[ir.Value, ir.Value]:
        """Initializers of scale and zero point."""
        zero = params.zero_point.astype(params.space.dtype.numpy())
        key = (params.scale.tobytes(), zero.tobytes(), params.space.dtype)
        if key not in self._constants:
            scale = self._rewriter.constant(np.asarray(params.scale, np.float32), "scale")
            point = self._rewriter.constant(ir.Tensor(zero, dtype=params.space.dtype), "zero_point")
            self._constants[key] = (scale, point)
        return self._constants[key]

    def requantized(self, operand: Operand, params: QParams) -> None:
        """Gives one operand other parameters than its producer's."""
        value = operand.value
        name = f"{value.name}_as_{operand.node.name}"
        quantize = self._quantize(value, params, name)
        graph = operand.node.graph
        copy = self._dequantize(quantize, params, name, value, graph, graph)
        use = Usage(operand.node, operand.index)
        self._rewriter.replace_uses(value, copy.outputs[0], only=[use])

    def _quantize(self, value: ir.Value, params: QParams, name: str) -> ir.Node:
        scale, zero = self.parameters(params)
        producer = value.producer()
        return self._rewriter.insert(
            "QuantizeLinear",
            [value, scale, zero],
            after=producer,
            graph=value.graph,
            outputs=[f"{name}_quantized"],
            dtype=params.space.dtype,
            shape=value.shape,
        )

    def _dequantize(
        self,
        quantize: ir.Node,
        params: QParams,
        name: str,
        value: ir.Value,
        graph: ir.Graph | None,
        home: ir.Graph | None,
    ) -> ir.Node:
        scale, zero = self.parameters(params)
        inside = graph is not home
        return self._rewriter.insert(
            "DequantizeLinear",
            [quantize.outputs[0], scale, zero],
            after=None if inside else quantize,
            graph=graph,
            origin=[quantize],
            outputs=[f"{name}_dequantized"],
            dtype=value.dtype or ir.DataType.FLOAT,
            shape=value.shape,
        )


def _readings(value: ir.Value, only: list[Operand] | None) -> list[Usage]:
    if only is None:
        return [Usage(*use) for use in value.uses()]
    return [Usage(operand.node, operand.index) for operand in only]


def _requantize(program: Program, writer: QdqWriter) -> None:
    nodes = {}
    if program.operand_scales:
        nodes = {n.name: n for n in ir.traversal.RecursiveGraphIterator(program.graph)}
    for (node_name, index), params in program.operand_scales.items():
        node = nodes.get(node_name)
        if node is not None:
            writer.requantized(Operand(node, index), params)


def _drop_observers(program: Program, rewriter: Rewriter) -> None:
    """Observers have done their work; their statistics are in `program.observations`."""
    for node in list(ir.traversal.RecursiveGraphIterator(program.graph)):
        if is_observer(node):
            rewriter.erase(node)
