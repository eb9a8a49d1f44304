"""Where a shift per channel can move from one bias through a value into the biases behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op, rank, sole_user, stored_array, uses
from qcompiler.passes.equalization.scope import channels, operand, own_constant
from qcompiler.passes.fusion.affine import rounded
from qcompiler.passes.fusion.linear import Linear, of_constant, read_linear

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Bias:
    """A constant that is added to every channel of a node's result.

    Attributes:
        node: Conv, ConvTranspose, Gemm, LayerNormalization, or Add with a vector.
        index: Position of the constant, which may be omitted (zeros).
        axis: Channel axis of the result.
        count: Channels.
    """

    node: ir.Node
    index: int
    axis: int
    count: int

    def shifted(self, by: Array) -> Array | None:
        """float64 [count]: the constant plus a shift; None if it does not fit float32."""
        old = stored_array(operand(self.node, self.index))
        flat = np.zeros(self.count) if old is None else old.astype(np.float64).reshape(-1)
        beta = self.node.attributes.get_float("beta", 1.0) if is_op(self.node, "Gemm") else 1.0
        return rounded(np.broadcast_to(flat, (self.count,)) * beta + by, np.zeros(0, np.float32))

    def store(self, values: Array, rewriter: Rewriter) -> None:
        """Writes new values, float32 [count]."""
        given = operand(self.node, self.index)
        old = stored_array(given)
        shape = (self.count,) if old is None or old.size != self.count else old.shape
        stem = f"{self.node.outputs[0].name}_bias" if given is None else f"{given.name}_shifted"
        value = rewriter.constant(np.ascontiguousarray(values.reshape(shape)), stem)
        rewriter.set_input(self.node, self.index, value)
        if is_op(self.node, "Gemm") and self.node.attributes.get_float("beta", 1.0) != 1.0:
            rewriter.set_attribute(self.node, "beta", 1.0)


@dataclass(frozen=True, eq=False)
class Reader:
    """A product with a stored weight that reads shifted values, and the bias behind it."""

    linear: Linear
    bias: Bias

    def shift(self, by: Array) -> Array:
        """float64: what its result changes by if its input does by `by`, [channels]."""
        return np.asarray(self.linear.alpha * of_constant(self.linear, by))


@dataclass(frozen=True, eq=False)
class Passage:
    """A value between biases.

    Attributes:
        source: The bias that makes it.
        relu: The Relu between, if there is one.
        value: What is read: the Relu's result, or the source's.
        readers: All that read it.
    """

    source: Bias
    relu: ir.Node | None
    value: ir.Value
    readers: tuple[Reader, ...]

    @property
    def observed(self) -> str:
        """Name of the value in front of the Relu."""
        return self.source.node.outputs[0].name or ""


def passages(program: Program) -> Iterator[Passage]:
    """All of the main graph, in graph order."""
    for node in program.graph:
        source = bias_of(node)
        if source is None:
            continue
        value, relu = node.outputs[0], sole_user(node.outputs[0])
        if is_op(relu, "Relu"):
            assert relu is not None
            value = relu.outputs[0]
        else:
            relu = None
        readers = _readers(value, source, program.graph)
        if readers:
            yield Passage(source, relu, value, readers)


def bias_of(node: ir.Node) -> Bias | None:
    """The bias of a node; None if it has none that may change."""
    if is_op(node, "Conv", "ConvTranspose", "Gemm"):
        linear = read_linear(node)
        if linear is None or not _is_free(node, 2):
            return None
        return Bias(node, 2, 1, linear.out_channels)
    dims = rank(node.outputs[0]) if node.outputs else None
    if dims is None:
        return None
    if is_op(node, "LayerNormalization"):
        gain = own_constant(node, 1)
        free = gain is not None and gain.ndim == 1 and _is_free(node, 2)
        return Bias(node, 2, dims - 1, gain.size) if gain is not None and free else None
    if not is_op(node, "Add"):
        return None
    for index in (0, 1):
        vector = own_constant(node, index)
        if vector is not None and vector.size > 1 and vector.shape[-1] == vector.size:
            size = vector.size
            return Bias(node, index, dims - 1, size) if _ends_in(node, size) else None
    return None


def _ends_in(node: ir.Node, size: int) -> bool:
    return channels(node.outputs[0], -1) == size


def _is_free(node: ir.Node, index: int) -> bool:
    return operand(node, index) is None or own_constant(node, index) is not None


def _readers(value: ir.Value, source: Bias, graph: ir.Graph) -> tuple[Reader, ...]:
    """Everything that reads the value; nothing if any of it cannot take the shift up."""
    found = []
    for use in uses(value):
        linear = read_linear(use.node) if use.idx == 0 and use.node.graph is graph else None
        place = None if linear is None else linear.activation_axis(value)
        if linear is None or place is None or place[1] != source.axis or linear.pads_with_zeros:
            return ()
        batched = is_op(use.node, "MatMul") and linear.weight.ndim > 2
        if linear.in_channels != source.count or batched:
            return ()
        turned = is_op(use.node, "Gemm") and bool(use.node.attributes.get_int("transA", 0))
        node: ir.Node | None = use.node
        if is_op(use.node, "MatMul"):
            node = sole_user(use.node.outputs[0])
        bias = None if node is None or turned else bias_of(node)
        if bias is None or bias.count != linear.out_channels:
            return ()
        found.append(Reader(linear, bias))
    return () if value.is_graph_output() else tuple(found)
