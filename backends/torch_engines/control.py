"""If, Loop and Scan: their bodies are GraphModules called by small modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, fx

from qcompiler.errors import LoweringError
from qcompiler.ir.origin import describe
from qcompiler.ir.walk import bodies, constant

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
    """ONNX Loop: (trip count, condition, carried...) -> (carried..., stacked scan outputs...)."""

    def __init__(self, body: fx.GraphModule, carried: int) -> None:
        super().__init__()
        self.body = body
        self.carried = carried

    def forward(self, operands: list[Tensor | None], captured: list[Tensor]) -> Any:
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
        stacked = [torch.stack(column) for column in zip(*rows, strict=True)]
        return (*state, *stacked)


class ScanBlock(torch.nn.Module):
    """ONNX Scan over axis 0, forward."""

    def __init__(self, body: fx.GraphModule, scanned: int) -> None:
        super().__init__()
        self.body = body
        self.scanned = scanned

    def forward(self, operands: list[Tensor], captured: list[Tensor]) -> Any:
        """Runs the body once per slice of the scanned operands."""
        states = len(operands) - self.scanned
        state, sequences = list(operands[:states]), operands[states:]
        rows: list[list[Tensor]] = []
        for step in range(sequences[0].shape[0]):
            outputs = self.body(*state, *(each[step] for each in sequences), *captured)
            state = list(outputs[:states])
            rows.append(list(outputs[states:]))
        stacked = [torch.stack(column) for column in zip(*rows, strict=True)]
        return (*state, *stacked)


def control_module(node: ir.Node, lower_body: LowerBody) -> tuple[torch.nn.Module, list[ir.Value]]:
    """The module of a control-flow node and the outer values its bodies read.

    Raises:
        LoweringError: A Scan with directions or axes other than forward along axis 0.
    """
    captured = captured_values(node)
    if node.op_type == "If":
        then = lower_body(node.attributes["then_branch"].as_graph(), captured)
        other = lower_body(node.attributes["else_branch"].as_graph(), captured)
        return IfBlock(then, other), captured
    body = node.attributes["body"].as_graph()
    if node.op_type == "Loop":
        return LoopBlock(lower_body(body, captured), len(node.inputs) - 2), captured
    for name in (
        "scan_input_axes", "scan_output_axes", "scan_input_directions", "scan_output_directions"
    ):  # fmt: skip
        if any(node.attributes.get_ints(name, ())):
            raise LoweringError(
                f"Scan with {name} is not lowered",
                where=describe(node),
                fix="transpose or reverse the sequences outside the Scan",
            )
    count = node.attributes.get_int("num_scan_inputs", 1)
    return ScanBlock(lower_body(body, captured), count), captured


def captured_values(node: ir.Node) -> list[ir.Value]:
    """Outer values that the bodies read and that are not constants, each once."""
    inside: set[ir.Graph] = set()
    pending = list(bodies(node))
    nodes: list[ir.Node] = []
    outputs: list[ir.Value] = []
    while pending:
        body = pending.pop()
        inside.add(body)
        outputs.extend(body.outputs)
        for each in body:
            nodes.append(each)
            pending.extend(bodies(each))
    found: dict[ir.Value, None] = {}
    for value in [*(v for each in nodes for v in each.inputs if v is not None), *outputs]:
        if value.graph not in inside and constant(value) is None:
            found.setdefault(value)
    return list(found)
