"""Gates: one float model in which every quantization can be switched on by itself.

Each value, dynamic operand and weight that some plan may quantize runs through an `If` whose flag
is an element of the extra input `qcompiler.gates`; on, it is rounded to the integers that the
target would use. So the loss of any set of quantizations is one run, without building a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from qcompiler.decisions.options import Options
from qcompiler.decisions.placement import ValueKey
from qcompiler.execution.packing import pack
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Operand, Region
from qcompiler.ir.walk import Usage, all_nodes, is_op, rank, uses
from qcompiler.measurement.gate import DYNAMIC, VALUE, WEIGHT, Gate, GateModel, passed_on
from qcompiler.measurement.recurrent_gates import dynamic_lstm, is_dynamic_lstm, lstm_constants
from qcompiler.measurement.switches import Switches
from qcompiler.measurement.weight_gates import RoundedWeight, rounded_weight, zero_points
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.qspace import QParams, QSpace
from qcompiler.target.capability import Implementation, Kernel


def gate_model(
    program: Program, options: Sequence[Options], values: Mapping[ValueKey, QParams]
) -> GateModel:
    """Builds the switchable model of a calibrated program; the program is not changed.

    Args:
        program: Canonical and calibrated.
        options: Legal forms by region.
        values: Parameters of values, as `resolve` derives them for a plan with every region
            quantized; values that are missing take their observed range.
    """
    return _Builder(program, options, values).build()


def gates_of_plan(
    program: Program, chosen: Sequence[Options], values: Mapping[ValueKey, QParams]
) -> tuple[GateModel, list[tuple[Gate, ...]]]:
    """The model of what one plan quantizes, and the gates of each region.

    Args:
        program: Canonical and calibrated.
        chosen: Its regions with the form that they run in (`Options.running`).
        values: Parameters of values that were decided.
    """
    model = gate_model(program, chosen, values)
    keys = [(each.region.key, each.implementations[0].precision) for each in chosen]
    return model, [tuple(model.terms[key]) for key in keys]


def together(terms: Iterable[Iterable[Gate]]) -> tuple[Gate, ...]:
    """The gates of several regions, each once."""
    return tuple(dict.fromkeys(gate for some in terms for gate in some))


@dataclass(eq=False)
class _Builder:
    source: Program
    options: Sequence[Options]
    params: Mapping[ValueKey, QParams]
    _scaled: dict[Gate, tuple[Gate, float]] = field(default_factory=dict)
    _switched: dict[str, tuple[Gate, float]] = field(default_factory=dict)
    """The switched gate of a region's weight and its squared error, by region key."""

    def build(self) -> GateModel:
        program = self.source.clone()
        self._switches = Switches(program)
        self._rewriter = self._switches.rewriter
        self._values = _values(program)
        self._nodes = {node.name: node for node in all_nodes(program.model)}
        self._alias = passed_on(self.options)
        written = self._written()
        readers = self._readers()
        terms = {}
        for each in self.options:
            for form in each.implementations:
                found = self._form_gates(each.region, form, written, readers)
                terms[each.region.key, form.precision] = tuple(dict.fromkeys(found))
        self._switches.finish()
        gates = tuple(self._switches.flagged)
        return GateModel(pack(program.model), gates, terms, self._alias, self._scaled)

    def _written(self) -> set[ValueKey]:
        """Values that a region may write as integers."""
        return {
            (each.region.output.name or "", form.output.dtype.name)
            for each in self.options
            for form in each.implementations
            if form.output is not None
        }

    def _readers(self) -> dict[_Read, list[Operand]]:
        """Operands that some form of a kind reads as integers, by value, kind and storage type."""
        found: dict[_Read, list[Operand]] = {}
        for each in self.options:
            for form in each.implementations:
                for operand in _operands(each.region, form):
                    known = found.setdefault(_read(operand.value.name or "", form), [])
                    if all((o.node, o.index) != (operand.node, operand.index) for o in known):
                        known.append(operand)
        return found

    def _form_gates(
        self,
        region: Region,
        form: Implementation,
        written: Set[ValueKey],
        readers: Mapping[_Read, list[Operand]],
    ) -> list[Gate]:
        if is_dynamic_lstm(region, form):
            return self._recurrent(region, form)
        found = []
        for operand in _operands(region, form):
            name = operand.value.name or ""
            among = readers[_read(name, form)]
            if form.kernel is Kernel.DYNAMIC:
                found.append(self._dynamic(name, among))
            elif form.activation is not None:
                root = self._alias.get(name, name)
                among = readers.get(_read(root, form), among)
                every = (root, form.activation.dtype.name) in written
                found.append(self._value(root, form.activation, None if every else among))
        if form.output is not None and not form.shares_scale:
            found.append(self._value(region.output.name or "", form.output, None, form))
        if form.weight is not None and region.weight is not None:
            found += self._weights(region, form.weight)
        return found

    def _value(
        self,
        name: str,
        space: QSpace,
        only: list[Operand] | None,
        form: Implementation | None = None,
    ) -> Gate:
        gate = Gate(VALUE, name, space.dtype.name)
        if gate in self._switches.flagged:
            return gate
        params = self.params.get((name, gate.space)) or self._observed(name, space, form)
        value = self._values[name]
        targets = self._targets(value, only)
        parts = [
            self._rewriter.constant(np.asarray(params.scale, np.float32), "gate_scale"),
            self._rewriter.constant(zero_points(params), "gate_zero"),
        ]
        stem = self._rewriter.fresh(f"{name}_gate")
        quantized = ir.node("QuantizeLinear", [value, *parts], name=f"{stem}_q")
        quantized.outputs[0].name = f"{stem}_integers"
        result = ir.node("DequantizeLinear", [quantized.outputs[0], *parts], name=f"{stem}_d")
        self._switches.put(gate, value, [quantized, result], targets, only is None)
        return gate

    def _dynamic(self, name: str, only: list[Operand]) -> Gate:
        gate = Gate(DYNAMIC, name)
        if gate in self._switches.flagged:
            return gate
        value = self._values[name]
        stem = self._rewriter.fresh(f"{name}_gate")
        quantized = ir.Node("", "DynamicQuantizeLinear", [value], num_outputs=3, name=f"{stem}_q")
        for part, output in zip(("integers", "scale", "zero"), quantized.outputs, strict=True):
            output.name = f"{stem}_{part}"
        result = ir.node("DequantizeLinear", list(quantized.outputs), name=f"{stem}_d")
        self._switches.put(gate, value, [quantized, result], self._targets(value, only), False)
        return gate

    def _weights(self, region: Region, space: QSpace) -> list[Gate]:
        """The gate of the region's weight (of both weights of a recurrent one).

        Only the first space of a weight gets a switch; `GateModel.scaled` tells the others' losses.
        """
        operand = region.weight
        assert operand is not None
        gate = Gate(WEIGHT, region.key, space.name)
        if gate in self._switches.flagged or gate in self._scaled:
            return [gate]
        second = [Operand(operand.node, 2)] if is_op(operand.node, "LSTM", "GRU", "RNN") else []
        weights = [
            (each, weight)
            for each in (operand, *second)
            if (rank(each.value) or 0) >= 2
            and (weight := rounded_weight(each.node, each.value, space)) is not None
        ]
        error = sum(each.error for _, each in weights)
        if not error:
            return []  # a source's own integers: this space rounds nothing, and another may
        switched, unit = self._switched.get(region.key, (gate, 0.0))
        if unit > 0:
            self._scaled[gate] = switched, error / unit
            return [gate]
        for each, weight in weights:
            self._weight(gate, each, weight)
        self._switched[region.key] = gate, error
        return [gate] if weights else []

    def _weight(self, gate: Gate, operand: Operand, weight: RoundedWeight) -> None:
        node = self._nodes[operand.node.name]
        value = node.inputs[operand.index]
        assert value is not None
        stem = self._rewriter.fresh(f"{value.name}_gate")
        if weight.params.space.is_table:
            held = self._rewriter.constant(weight.real, f"{stem}_levels")
            self._switches.swap(gate, node, operand.index, held)
            return
        names = (f"{stem}_integers", f"{stem}_scale", f"{stem}_zero")
        parts = [
            self._rewriter.constant(part, name)
            for part, name in zip(weight.parts(), names, strict=True)
        ]
        result = ir.node("DequantizeLinear", parts, weight.layout(), name=f"{stem}_d")
        self._switches.swap(gate, node, operand.index, result)

    def _recurrent(self, region: Region, form: Implementation) -> list[Gate]:
        """One gate for all that the dynamic kernel rounds: inputs, state and both weights."""
        gate = Gate(WEIGHT, region.key, form.weight.name if form.weight else "")
        if gate in self._switches.flagged or form.weight is None:
            return [gate]
        lstm = self._nodes[region.anchor.name]
        constants = lstm_constants(lstm, form.weight, self._rewriter)
        self._rewriter.program.model.opset_imports.setdefault("com.microsoft", 1)
        for position, value in enumerate(lstm.outputs):
            stem = self._rewriter.fresh(f"{value.name}_gate")
            chain = dynamic_lstm(lstm, constants, position, stem)
            if value.uses() or value.is_graph_output():
                self._switches.put(gate, value, chain, list(uses(value)), True)
        return [gate]

    def _targets(self, value: ir.Value, only: list[Operand] | None) -> list[Usage]:
        if only is None:
            return list(uses(value))
        return [Usage(self._nodes[each.node.name], each.index) for each in only]

    def _observed(self, name: str, space: QSpace, form: Implementation | None) -> QParams:
        fixed = form.output_range if form is not None else None
        found = fixed or self.source.observations[name].range_for(space)
        return choose_qparams(found.low, found.high, space)


_Read = tuple[str, Kernel, str]
"""A value, how its integers are made, and their storage type (empty for dynamic ones)."""


def _read(name: str, form: Implementation) -> _Read:
    return name, form.kernel, form.activation.dtype.name if form.activation else ""


def _operands(region: Region, form: Implementation) -> tuple[Operand, ...]:
    """Activations that the form reads as integers, a dynamic LSTM aside."""
    if is_dynamic_lstm(region, form):
        return ()
    if form.kernel is Kernel.STATIC and form.activation is not None:
        return form.choose_operands(region.activations)
    return region.activations[:1] if form.kernel is Kernel.DYNAMIC else ()


def _values(program: Program) -> dict[str, ir.Value]:
    found = {value.name or "": value for value in program.graph.inputs}
    for node in all_nodes(program.model):
        if node.graph is not None:
            found.update({value.name or "": value for value in node.graph.inputs})
        found.update({value.name or "": value for value in node.outputs})
    return found
