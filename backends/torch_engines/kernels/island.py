"""`Island`: DQ → op [→ bias or residual Add] [→ Relu or Clip] → Q, found and described."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx_ir as ir
from torch import fx

from qcompiler.backends.torch_engines.faults import FAULTS, Fault
from qcompiler.ir.products import is_row, product_rank
from qcompiler.ir.walk import is_op, sole_user
from qcompiler.lowering.torch_fx.constants import Levels, array_of, levels_of


@dataclass(frozen=True)
class Setting:
    """What kernels are chosen for.

    Attributes:
        engine: `fbgemm`, `qnnpack`, `onednn` or `x86`.
        vnni: Whether the CPU asked for has 8-bit dot products.
        faults: Legality rules that are on.
        regroup: Whether fbgemm may run depthwise layers as grouped ones.
    """

    engine: str
    vnni: bool = True
    faults: tuple[Fault, ...] = FAULTS
    regroup: bool = True


@dataclass(frozen=True)
class Refusal:
    """Why an island runs in float after all."""

    reason: str


class Writer(ABC):
    """What a kernel writes its call with."""

    @abstractmethod
    def integer(self, value: ir.Value) -> fx.Node:
        """The torch quantized tensor behind a DequantizeLinear's output."""

    @abstractmethod
    def real(self, value: ir.Value) -> fx.Node:
        """The value as a plain tensor."""

    @abstractmethod
    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A call in the graph."""

    @abstractmethod
    def clamped(self, x: fx.Node, low: float, high: float) -> fx.Node:
        """A quantized tensor cut to real bounds, its scale kept."""

    @abstractmethod
    def attribute(self, stem: str, value: Any) -> fx.Node:
        """A tensor or packed weight as an attribute of the module; one per call."""


Kernel: TypeAlias = Callable[[Writer], fx.Node]
Choice: TypeAlias = "Kernel | Refusal"


@dataclass(frozen=True, eq=False)
class Island:
    """Nodes that run as one integer kernel.

    Attributes:
        core: The operator.
        nodes: Core, bias Add and activation: what the kernel replaces.
        quantize: The QuantizeLinear behind them.
        output: Its levels.
        low: Lowest integer that the activation lets through, at most 0 when there is no bound.
        high: Highest one.
        bias_add: A constant added to a MatMul.
        residual: The other operand of an Add behind a Conv.
    """

    core: ir.Node
    nodes: tuple[ir.Node, ...]
    quantize: ir.Node
    output: Levels
    low: int = 0
    high: int = 255
    bias_add: ir.Value | None = None
    residual: ir.Value | None = None

    @property
    def relu(self) -> bool:
        """Whether the activation is exactly max(x, 0)."""
        return self.low == self.output.zero_point > 0 and self.high >= 255

    @property
    def bounded(self) -> bool:
        """Whether the activation cuts anything that saturation does not cut already."""
        return self.low > 0 or self.high < 255

    def bounds(self) -> tuple[float, float]:
        """The bounds as reals; qnnpack takes no clamp with one bound."""
        s, z = self.output.scale, self.output.zero_point
        return (max(self.low, 0) - z) * s, (min(self.high, 255) - z) * s


def input_levels(value: ir.Value | None) -> Levels | None:
    """Levels of an operand that comes out of a per-tensor 8-bit DequantizeLinear."""
    node = value.producer() if value is not None else None
    return levels_of(node) if node is not None and is_op(node, "DequantizeLinear") else None


def find_island(quantize: ir.Node) -> Island | None:
    """The island that ends at a QuantizeLinear, None when nothing in front of it is one."""
    output = levels_of(quantize)
    value = quantize.inputs[0]
    if output is None or value is None:
        return None
    nodes: list[ir.Node] = []
    low, high = 0, 255
    node = _only_producer(value, quantize)
    if node is None:
        return None
    if is_op(node, "Relu", "Clip") and input_levels(node.inputs[0]) is None:
        bounds = _activation_bounds(node, output)
        inner = _only_producer(node.inputs[0], node)
        if bounds is None or inner is None:
            return None
        nodes, (low, high), node = [node], bounds, inner
    bias_add = residual = None
    if is_op(node, "Add"):
        product, bias_add = _biased_product(node)
        if product is None:
            product, residual = _residual_conv(node)
        if product is not None:
            nodes, node = [node, *nodes], product
    if is_op(node, "QuantizeLinear", "DequantizeLinear"):
        return None
    return Island(node, (node, *nodes), quantize, output, low, high, bias_add, residual)


def _only_producer(value: ir.Value | None, user: ir.Node) -> ir.Node | None:
    if value is None or sole_user(value) is not user:
        return None
    node = value.producer()
    return node if node is not None and node.graph is user.graph else None


def _activation_bounds(node: ir.Node, output: Levels) -> tuple[int, int] | None:
    """Integer bounds of Relu or of Clip with constant bounds; None when they are computed."""
    if is_op(node, "Relu"):
        return max(output.zero_point, 0), 255
    limits: list[int] = []
    for index, end in ((1, 0), (2, 255)):
        given = node.inputs[index] if index < len(node.inputs) else None
        if given is None:
            limits.append(end)
            continue
        array = array_of(given)
        if array is None or array.size != 1:
            return None
        limits.append(min(max(output.quantize(float(array.reshape(()))), 0), 255))
    return limits[0], limits[1]


def _residual_conv(add: ir.Node) -> tuple[ir.Node | None, ir.Value | None]:
    """Conv and skip operand of an Add that adds a quantized value to a convolution's result."""
    for index in (1, 0):
        conv = _only_producer(add.inputs[index], add)
        other = add.inputs[1 - index]
        if conv is not None and is_op(conv, "Conv") and input_levels(other) is not None:
            return conv, other
    return None, None


def _biased_product(add: ir.Node) -> tuple[ir.Node | None, ir.Value | None]:
    """MatMul and bias of an Add that adds a constant vector to a product with a constant weight."""
    for index in (0, 1):
        product = _only_producer(add.inputs[index], add)
        bias = add.inputs[1 - index]
        array = array_of(bias)
        if product is None or not is_op(product, "MatMul") or array is None:
            continue
        if array_of(product.inputs[1]) is None:
            continue
        if is_row(array.shape, product_rank(product)):
            return product, bias
    return None, None
