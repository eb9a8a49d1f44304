"""LSTM layers with projections (`proj_size`), which ONNX does not have, as LSTM and product.

The projected state W_hr·h enters only linearly, so W_hh·(W_hr·h) = (W_hh·W_hr)·h: a plain LSTM
whose recurrent weight is that product, and W_hr behind its outputs.
"""

from __future__ import annotations

import operator
from typing import Any

import torch

from qcompiler.errors import ExportError
from qcompiler.frontends.torch_failures import place_of

_ATEN = torch.ops.aten
_ORIGIN = ("stack_trace", "nn_module_stack")


def without_projections(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program with plain LSTM layers; itself if no layer has a projection.

    Raises:
        ExportError: A projected layer starts from a given state: the full one is not known.
    """
    if not any(_is_projected(node) for node in exported.graph.nodes):
        return exported
    copied: torch.export.ExportedProgram = exported.run_decompositions({})
    for node in list(copied.graph.nodes):
        if _is_projected(node):
            _Writer(copied.graph, node).rewrite()
    copied.graph_module.recompile()
    return copied


def _is_projected(node: torch.fx.Node) -> bool:
    if node.target is not _ATEN.lstm.input:
        return False
    parameters, biased = node.args[2], node.args[3]
    assert isinstance(parameters, list | tuple)
    assert isinstance(node.args[4], int)
    layers = node.args[4] * (2 if node.args[7] else 1)
    return len(parameters) == layers * (5 if biased else 3)


class _Writer:
    """Writes one projected LSTM node anew, layer by layer and direction by direction."""

    def __init__(self, graph: torch.fx.Graph, node: torch.fx.Node) -> None:
        self._graph, self._node = graph, node
        arguments: Any = node.args
        self._input, self._states, self._parameters, self._biased = arguments[:4]
        self._layers, self._both, self._batch_first = arguments[4], arguments[7], arguments[8]

    def rewrite(self) -> None:
        if not _is_zero(self._states[0]):
            raise ExportError(
                "an LSTM with proj_size starts from a given state",
                where=place_of(self._node),
                why="ONNX has no projection, and the state before it cannot be told from h_0",
                fix="leave the initial state out, or use nn.LSTM without proj_size",
            )
        with self._graph.inserting_before(self._node):
            results = self._written()
        for user in list(self._node.users):
            assert isinstance(user.args[1], int)
            user.replace_all_uses_with(results[user.args[1]])
            self._graph.erase_node(user)
        self._graph.erase_node(self._node)

    def _written(self) -> list[torch.fx.Node]:
        directions = 2 if self._both else 1
        current, last, cells = self._input, [], []
        for layer in range(self._layers):
            parts = []
            for direction in range(directions):
                found = self._layer(current, layer * directions + direction, bool(direction))
                parts.append(found[0])
                last.append(found[1])
                cells.append(found[2])
            current = self._joined(parts, -1)
        return [current, self._joined(last, 0), self._joined(cells, 0)]

    def _layer(self, x: torch.fx.Node, index: int, backwards: bool) -> list[torch.fx.Node]:
        count = 5 if self._biased else 3
        own = self._parameters[count * index : count * index + count]
        first, recurrent, *biases, projection = own
        cell = self._call(_ATEN.slice.Tensor, self._states[1], 0, index, index + 1)
        hidden = self._call(_ATEN.mul.Tensor, cell, 0.0)
        weights = [first, self._call(_ATEN.matmul.default, recurrent, projection), *biases]
        time = [1 if self._batch_first else 0]
        given = self._call(_ATEN.flip.default, x, time) if backwards else x
        options = (self._biased, 1, 0.0, False, False, self._batch_first)
        made = self._call(_ATEN.lstm.input, given, [hidden, cell], weights, *options)
        rows, state, memory = (self._pick(made, position) for position in range(3))
        if backwards:
            rows = self._call(_ATEN.flip.default, rows, time)
        turned = self._call(_ATEN.permute.default, projection, [1, 0])
        return [*(self._call(_ATEN.matmul.default, each, turned) for each in (rows, state)), memory]

    def _joined(self, parts: list[torch.fx.Node], axis: int) -> torch.fx.Node:
        return parts[0] if len(parts) == 1 else self._call(_ATEN.cat.default, parts, axis)

    def _pick(self, node: torch.fx.Node, position: int) -> torch.fx.Node:
        return self._call(operator.getitem, node, position)

    def _call(self, target: Any, *arguments: Any) -> torch.fx.Node:
        made = self._graph.call_function(target, arguments)
        made.meta.update({key: self._node.meta[key] for key in _ORIGIN if key in self._node.meta})
        return made


def _is_zero(node: torch.fx.Node) -> bool:
    if node.target is _ATEN.full.default:
        return bool(node.args[1] == 0)
    return node.target in (_ATEN.zeros.default, _ATEN.zeros_like.default)
