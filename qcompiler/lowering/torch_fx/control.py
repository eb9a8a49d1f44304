"""If, Loop, Scan and SequenceMap: their bodies are GraphModules called by small modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, fx

from qcompiler.ir.walk import constant, outer_values
from qcompiler.lowering.torch_fx.element_types import torch_dtype

LowerBody = Callable[[ir.Graph, Sequence[ir.Value]], fx.GraphModule]


class IfBlock(torch.nn.Module):
    """Runs one of two bodies."""

    def __init__(self, then: fx.GraphModule, other: fx.GraphModule) -> None:
        super().__init__()
        self.then = then
        self.other = other

    def forward(self, operands: list[Tensor], captured: list[Tensor]) -> Any:
        """Outputs of the chosen branch."""
        chosen = self.then if bool(operands[0]) else self.other
        return chosen(*captured)


class LoopBlock(torch.nn.Module):
    """ONNX Loop: (trip count, condition, carried...) -> (carried..., stacked scan outputs...).

    Args:
        body: (step, condition, carried..., captured...) -> (condition, carried..., rows...).
        carried: How many values are carried.
        rows: Shape and type of a row of each scan output, for a loop that never runs.
    """

    def __init__(
        self, body: fx.GraphModule, carried: int, rows: Sequence[tuple[list[int], torch.dtype]]
    ) -> None:
        super().__init__()
        self.body = body
        self.carried = carried
        self.rows = rows

    def forward(self, operands: list[Any], captured: list[Any]) -> Any:
        """Runs the body until the count or the condition ends it."""
        limit = int(operands[0]) if operands[0] is not None else None
        going = bool(operands[1]) if operands[1] is not None else True
        state = list(operands[2:])
        rows: list[list[Tensor]] = []
        step = 0
        while going and (limit is None or step < limit):
            outputs = self.body(torch.tensor(step), torch.tensor(going), *state, *captured)
            going = bool(outputs[0])
            state = list(outputs[1 : 1 + self.carried])
            rows.append(list(outputs[1 + self.carried :]))
            step += 1
        return (*state, *_stacked(rows, self.rows))


def _stacked(
    rows: list[list[Tensor]], empty: Sequence[tuple[list[int], torch.dtype]]
) -> list[Tensor]:
    """Rows put together along a new axis 0, of size 0 where there are none."""
    if not rows:
        return [torch.empty([0, *shape], dtype=dtype) for shape, dtype in empty]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


@dataclass(frozen=True)
class ScanLayout:
    """Axes and directions of a Scan, one per scanned operand or output; True is backwards."""

    input_axes: Sequence[int]
    input_backwards: Sequence[bool]
    output_axes: Sequence[int]
    output_backwards: Sequence[bool]

    @classmethod
    def of(cls, node: ir.Node, scanned: int, results: int) -> ScanLayout:
        """From a node's attributes."""

        def given(name: str, count: int) -> list[int]:
            return list(node.attributes.get_ints(name, ())) or [0] * count

        return cls(
            given("scan_input_axes", scanned),
            [bool(each) for each in given("scan_input_directions", scanned)],
            given("scan_output_axes", results),
            [bool(each) for each in given("scan_output_directions", results)],
        )


class ScanBlock(torch.nn.Module):
    """ONNX Scan (opset 9 and later): (states..., sequences...) -> (states..., stacked rows...)."""

    def __init__(
        self,
        body: fx.GraphModule,
        layout: ScanLayout,
        rows: Sequence[tuple[list[int], torch.dtype]],
    ) -> None:
        super().__init__()
        self.body = body
        self.layout = layout
        self.rows = rows

    def forward(self, operands: list[Tensor], captured: list[Any]) -> Any:
        """Runs the body once per slice of the scanned operands."""
        layout = self.layout
        states = len(operands) - len(layout.input_axes)
        state = list(operands[:states])
        sequences = [
            torch.flip(x.movedim(axis, 0), [0]) if backwards else x.movedim(axis, 0)
            for x, axis, backwards in zip(
                operands[states:], layout.input_axes, layout.input_backwards, strict=True
            )
        ]
        rows: list[list[Tensor]] = []
        for step in range(sequences[0].shape[0]):
            outputs = self.body(*state, *(each[step] for each in sequences), *captured)
            state = list(outputs[:states])
            rows.append(list(outputs[states:]))
        found = [
            (torch.flip(y, [0]) if backwards else y).movedim(0, axis)
            for y, axis, backwards in zip(
                _stacked(rows, self.rows), layout.output_axes, layout.output_backwards, strict=True
            )
        ]
        return (*state, *found)


class SequenceMapBlock(torch.nn.Module):
    """ONNX SequenceMap: a body over the elements of sequences, tensors being given whole."""

    def __init__(self, body: fx.GraphModule, results: int) -> None:
        super().__init__()
        self.body = body
        self.results = results

    def forward(self, operands: list[Any], captured: list[Any]) -> Any:
        """One sequence per output of the body."""
        made: list[list[Any]] = [[] for _ in range(self.results)]
        for place in range(len(operands[0])):
            given = [each[place] if isinstance(each, list) else each for each in operands]
            for found, result in zip(made, self.body(*given, *captured), strict=True):
                found.append(result)
        return tuple(made)


def control_module(node: ir.Node, lower_body: LowerBody) -> tuple[torch.nn.Module, list[ir.Value]]:
    """The module of a control-flow node and the outer values its bodies read."""
    captured = [each for each in outer_values(node) if constant(each) is None]
    if node.op_type == "If":
        then = lower_body(node.attributes["then_branch"].as_graph(), captured)
        other = lower_body(node.attributes["else_branch"].as_graph(), captured)
        return IfBlock(then, other), captured
    body = node.attributes["body"].as_graph()
    if node.op_type == "Loop":
        carried = len(node.inputs) - 2
        rows = [_row(value) for value in body.outputs[1 + carried :]]
        return LoopBlock(lower_body(body, captured), carried, rows), captured
    if node.op_type == "SequenceMap":
        return SequenceMapBlock(lower_body(body, captured), len(node.outputs)), captured
    scanned = node.attributes.get_int("num_scan_inputs", 1)
    states = len(node.inputs) - scanned
    rows = [_row(value) for value in body.outputs[states:]]
    layout = ScanLayout.of(node, scanned, len(rows))
    return ScanBlock(lower_body(body, captured), layout, rows), captured


def _row(value: ir.Value) -> tuple[list[int], torch.dtype]:
    """Shape, with 0 for sizes that are not known, and type."""
    shape = [] if value.shape is None else [d if isinstance(d, int) else 0 for d in value.shape]
    return shape, torch_dtype((value.dtype or ir.DataType.FLOAT).value)
