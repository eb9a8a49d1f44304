"""The one reader and the one writer of QuantizeLinear, DequantizeLinear and stored integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import Usage, is_op, quantization_of
from qcompiler.quantization.qspace import Granularity, QParams

Array = npt.NDArray[Any]


def params_of(node: ir.Node) -> QParams | None:
    """Parameters of a Q or DQ node; None when they are computed or blocked."""
    params = quantization_of(node)
    blocked = params is None or params.space.granularity is Granularity.GROUP
    return None if blocked else params


def dequantized_params(value: ir.Value) -> QParams | None:
    """Parameters of the DequantizeLinear that makes this value, None if there is none."""
    node = value.producer()
    return params_of(node) if node is not None and is_op(node, "DequantizeLinear") else None


class QdqWriter:
    """Inserts Q/DQ nodes; parameters with equal bits share one initializer."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._constants: dict[tuple[bytes, bytes, ir.DataType], tuple[ir.Value, ir.Value]] = {}

    def pair(self, value: ir.Value, params: QParams, only: Sequence[Operand] | None) -> None:
        """Quantizes a value for these readers, for all users and graph outputs if None.

        Every graph that reads it gets a DequantizeLinear of its own.
        """
        name = value.name or "value"
        quantize = self._quantize(value, params, name)
        home = value.graph
        copies: dict[ir.Graph | None, ir.Node] = {}
        for use in _readings(value, only):
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
        return self._rewriter.insert(
            "QuantizeLinear",
            [value, scale, zero],
            after=value.producer(),
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
        return self._rewriter.insert(
            "DequantizeLinear",
            [quantize.outputs[0], scale, zero],
            after=None if graph is not home else quantize,
            graph=graph,
            origin=[quantize],
            outputs=[f"{name}_dequantized"],
            dtype=value.dtype or ir.DataType.FLOAT,
            shape=value.shape,
        )


def stored_constant(
    rewriter: Rewriter,
    stem: str,
    params: QParams,
    integers: Array,
    graph: ir.Graph | None = None,
) -> tuple[ir.Value, ...]:
    """Initializers (integers, scale, zero point) of a constant, as a DequantizeLinear reads them.

    Blocks around 0 have no zero points: there may be as many of them as a thirtieth of the weights.

    Args:
        rewriter: Of the program.
        stem: What their names begin with.
        params: Scale and zero point.
        integers: Values of the space's type.
        graph: Where they go; None for the main graph.
    """
    dtype = params.space.dtype
    zero = params.zero_point.astype(dtype.numpy())
    parts = (
        rewriter.constant(ir.Tensor(integers, dtype=dtype), f"{stem}_quantized", graph),
        rewriter.constant(np.asarray(params.scale, np.float32), f"{stem}_scale", graph),
    )
    space = params.space
    if space.group_size is not None and space.symmetric and not np.any(zero):
        return parts
    return *parts, rewriter.constant(ir.Tensor(zero, dtype=dtype), f"{stem}_zero_point", graph)


def dequantize_constant(
    rewriter: Rewriter,
    operand: Operand,
    parts: Sequence[ir.Value],
    params: QParams,
) -> ir.Node:
    """The DequantizeLinear of a stored constant in front of the node that reads it."""
    value = operand.value
    return rewriter.insert(
        "DequantizeLinear",
        list(parts),
        before=operand.node,
        attributes=layout_of(params),
        outputs=[f"{value.name or 'weight'}_dequantized"],
        dtype=value.dtype or ir.DataType.FLOAT,
        shape=value.shape,
    )


def layout_of(params: QParams) -> dict[str, int]:
    """Attributes of a Q or DQ node with these parameters."""
    found = {} if params.axis is None else {"axis": params.axis}
    if params.space.group_size is not None:
        found["block_size"] = params.space.group_size
    return found


def _readings(value: ir.Value, only: Sequence[Operand] | None) -> list[Usage]:
    if only is None:
        return [Usage(*use) for use in value.uses()]
    return [Usage(operand.node, operand.index) for operand in only]
