"""A trained module back as a program: its numbers, and the grids that it learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx

from qcompiler.decisions.absorbed import TRAINED, Absorbed, Grid, grid_key
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_graphs, all_nodes
from qcompiler.lowering.qat.batch_norm import FoldedBias
from qcompiler.lowering.qat.module import QatModule
from qcompiler.lowering.qat.quantizer import Quantizer
from qcompiler.lowering.torch_fx.constants import Array
from qcompiler.quantization.numerics import fake_quantize
from qcompiler.quantization.qspace import QParams


def trained_program(module: QatModule) -> Program:
    """The float program with what was learned, as a quantized source would have it.

    Stored operands hold numbers of their grids; `absorbed` has the grids, and those of values.
    """
    record = module.record
    program = record.program.clone()
    with torch.no_grad():
        numbers = _Numbers(module)
        values = _values(program)
        for name, node in record.constants.items():
            if name in values:
                _store(values[name], numbers.of(node))
        grids = _store_on_grids(module, program, numbers)
    params = {name: _quantizer(module, path).present() for name, path in record.values.items()}
    program.absorbed = Absorbed(how=TRAINED).joined(params, grids)
    return program


class _Numbers:
    """Constant expressions of the module's graph, in evaluation mode."""

    def __init__(self, module: QatModule) -> None:
        self._module = module
        self._nodes = {node.name: node for node in module._graph.nodes}
        self._known: dict[str, Any] = {}

    def of(self, name: str) -> Array:
        found = self._value(self._nodes[name])
        plain = found.detach().cpu()
        return np.asarray((plain.float() if plain.is_floating_point() else plain).numpy())

    def _value(self, node: fx.Node) -> Any:
        if node.name not in self._known:
            args = fx.node.map_arg(node.args, self._value)
            kwargs = fx.node.map_arg(node.kwargs, self._value)
            self._known[node.name] = self._computed(node, args, kwargs)
        return self._known[node.name]

    def _computed(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "get_attr":
            return _attribute(self._module, str(node.target))
        if node.op == "call_function":
            assert callable(node.target)
            return node.target(*args, **kwargs)
        called = _attribute(self._module, str(node.target))
        return called.folded(*args) if isinstance(called, FoldedBias) else called(*args)


def _attribute(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module


def _quantizer(module: QatModule, path: str) -> Quantizer:
    found = _attribute(module, path)
    assert isinstance(found, Quantizer)
    return found


def _values(program: Program) -> dict[str, ir.Value]:
    return {
        value.name or "": value
        for graph in all_graphs(program.model)
        for value in graph.initializers.values()
    }


def _store(value: ir.Value, array: Array) -> None:
    assert value.dtype is not None
    kept = np.array(array, value.dtype.numpy(), order="C")  # which leaves a scalar one
    value.const_value = ir.Tensor(kept, name=value.name)


def _store_on_grids(module: QatModule, program: Program, numbers: _Numbers) -> list[Grid]:
    """Puts stored operands onto their grids; readers with grids of their own get constants."""
    nodes = {node.name or "": node for node in all_nodes(program.model)}
    seen: dict[str, tuple[str, ir.Value]] = {}
    found = []
    for (reader, index), read in module.record.stored.items():
        params = _quantizer(module, read.quantizer).present()
        array = fake_quantize(numbers.of(read.given), params)
        value = nodes[reader].inputs[index]
        assert value is not None
        first = seen.setdefault(read.value, (read.quantizer, value))
        if first[0] != read.quantizer:
            value = _own(value, nodes[reader], index)
        _store(value, array)
        found.append(_grid(array, params))
    return found


def _own(value: ir.Value, node: ir.Node, index: int) -> ir.Value:
    """A constant for one reader, in the graph where the shared one stands."""
    graph = value.graph
    assert graph is not None
    name = f"{value.name}_of_{node.name}"
    own = ir.Value(name=name, type=value.type, shape=value.shape)
    own.const_value = value.const_value
    graph.initializers[name] = own
    node.replace_input_with(index, own)
    return own


def _grid(array: Array, params: QParams) -> Grid:
    return Grid(grid_key(array), params)
