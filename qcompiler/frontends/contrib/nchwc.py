"""Takes layouts in blocks of channels apart: operators of ONNX Runtime's nchwc domain as NCHW."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from qcompiler.frontends.contrib.blocks import (
    DOMAIN,
    block_size,
    filter_of,
    laid_out,
    machine_block,
)
from qcompiler.frontends.contrib.channels import (
    Counts,
    blocked_values,
    channel_counts,
    evidence,
    is_conv,
    is_depthwise,
    is_reshape,
    weight_of_conv,
)
from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant

_POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")


def undo_blocks(program: Program) -> int:
    """Rewrites what is in blocks, in place.

    Returns:
        The channels of a block; 0 where nothing was in blocks.

    Raises:
        UnreadableModelError: The size of its blocks, or what an operator does with them, is not
            known.
    """
    nodes = list(all_nodes(program.model))
    own = [node for node in nodes if node.domain == DOMAIN]
    if not own:
        return 0
    blocked = blocked_values(nodes)
    size = block_size(evidence(nodes, blocked), own[0])
    undo = _Undo(Rewriter(program), channel_counts(nodes, blocked, size), size)
    reshapes = {node for node in nodes if is_reshape(node, blocked)}
    operands = {node: tuple(node.inputs) for node in nodes}
    for node in nodes:
        if node in reshapes:
            undo.pass_on(node)
        elif node.domain == DOMAIN:
            undo.node(node, operands[node])
        for output in (value for value in node.outputs if value in blocked):
            output.shape = None  # it may be that of whole blocks
    undo.rewriter.drop_unused_constants()
    infer_types(program.model)
    return size


def is_foreign(size: int) -> bool:
    """Whether ONNX Runtime on this machine misreads blocks of this size."""
    return size != 0 and size != machine_block()


@dataclass(frozen=True, eq=False)
class _Undo:
    """Rewrites node by node, in order.

    Attributes:
        rewriter: Of the program.
        channels: Of every value that was in blocks.
        size: Channels of a block.
        weights: What was made of a stored weight, by it and how it was taken apart.
    """

    rewriter: Rewriter
    channels: Counts
    size: int
    weights: dict[tuple[object, ...], ir.Value] = field(default_factory=dict)

    def node(self, node: ir.Node, before: Sequence[ir.Value | None]) -> None:
        """Puts standard operators in its place; `before` are the operands that it had."""
        if is_conv(node):
            self._convolution(node, before[0])
        elif node.op_type in _POOLS:
            kept = {name: each.value for name, each in node.attributes.items()}
            self._end(node, node.op_type, [node.inputs[0]], **kept)
        elif node.op_type == "Upsample":
            self._resize(node)
        elif node.op_type not in ("ReorderInput", "ReorderOutput"):
            raise laid_out(node, f"'{DOMAIN}' is not known to hold such an operator")
        elif node.attributes.get_int("channels_last", 0):
            perm = [0, 3, 1, 2] if node.op_type == "ReorderInput" else [0, 2, 3, 1]
            self._end(node, "Transpose", [node.inputs[0]], perm=perm)
        else:
            self.pass_on(node)

    def pass_on(self, node: ir.Node) -> None:
        """The operand in the place of the result."""
        data, result = node.inputs[0], node.outputs[0]
        assert data is not None
        if node.op_type == "ReorderOutput":
            self.rewriter.take_over(data, result)
        else:  # the operand has the better name
            self.rewriter.replace_uses(result, data)
            self.rewriter.erase_dead(node)

    def _convolution(self, node: ir.Node, data: ir.Value | None) -> None:
        """Conv (X, W, B?, Z?) of blocks, with an activation: FusedConv, which is spelt later."""
        depthwise, rows = is_depthwise(node), self.channels[node.outputs[0]]
        columns = None if data is None or depthwise else self.channels.get(data)
        operands = list(node.inputs)
        operands[1] = self._weight(node, rows, columns)
        if len(operands) > 2 and operands[2] is not None and operands[2].name:
            operands[2] = self._bias(node, operands[2], rows)
        kept = {name: each.value for name, each in node.attributes.items()}
        if depthwise:
            kept["group"] = rows
        self._end(node, "FusedConv", operands, domain="com.microsoft", **kept)

    def _weight(self, node: ir.Node, rows: int, columns: int | None) -> ir.Value:
        """Without blocks and filling; `columns` is None where the input is in no blocks."""
        value = node.inputs[1]
        assert value is not None
        key = (value, rows, columns)
        if key not in self.weights:
            stored = weight_of_conv(node)
            weight = filter_of(stored, self.size, blocked=columns is not None)[:rows]
            if columns is not None:  # with groups it has the columns of one, which are whole
                weight = weight[:, :columns]
            kept = np.ascontiguousarray(weight)
            self.weights[key] = self.rewriter.constant(kept, value.name or "weight")
        return self.weights[key]

    def _bias(self, node: ir.Node, value: ir.Value, rows: int) -> ir.Value:
        stored = constant(value)
        if stored is None:
            raise laid_out(node, "its bias is computed")
        if len(stored) == rows:
            return value
        return self.rewriter.constant(np.ascontiguousarray(stored[:rows]), value.name or "bias")

    def _resize(self, node: ir.Node) -> None:
        """Upsample by whole numbers; nearest takes the value to the left, as ONNX Runtime does."""
        scales = np.array(node.attributes.get_ints("scales"), np.float32)
        mode = node.attributes.get_string("mode", "nearest")
        spread = node.attributes.get_string("coordinate_transformation_mode", "asymmetric")
        how = {"mode": mode, "coordinate_transformation_mode": spread}
        if mode == "nearest":
            how["nearest_mode"] = "floor"
        factors = self.rewriter.constant(scales, "scales")
        self._end(node, "Resize", [node.inputs[0], None, factors], **how)

    def _end(
        self,
        node: ir.Node,
        op_type: str,
        operands: Sequence[ir.Value | None],
        domain: str = "",
        **attributes: object,
    ) -> None:
        """One node in the place of another, whose result keeps its name."""
        old = node.outputs[0]
        made = self.rewriter.insert(
            op_type, operands, before=node, attributes=attributes, domain=domain, origin=[node],
            outputs=[old.name or op_type], dtype=ir.DataType.FLOAT,
            shape=None if old in self.channels else old.shape,
        )  # fmt: skip
        self.rewriter.take_over(made.outputs[0], old)
