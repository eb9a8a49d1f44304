"""What computes in a partitioned program: which op, in which delegate, in integers or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType
from torch import fx

from qcompiler.backends.executorch.layers import Layer

_FUSED = ("relu.default", "hardtanh.default")
"""Activations that XNNPACK fuses into an integer op in front of them."""
_INTEGER = frozenset(
    each.target_name
    for each in ALL_PARTITIONER_CONFIGS
    if ConfigPrecisionType.STATIC_QUANT in each().supported_precision_types()
)
"""What XNNPACK has integer kernels for; between Q and DQ it runs anything else in float."""
_SILENT = ("getitem", "quantize", "choose_qparams", "sym_size")
"""What is no kernel inside a delegate: Q and DQ belong to the ops around them."""


def layers_of(module: fx.GraphModule) -> tuple[Layer, ...]:
    """The computing nodes inside and outside delegates, in order of execution."""
    found: list[Layer] = []
    delegates = 0
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        if "call_delegate" in _name(node):
            inner = getattr(module, str(node.args[0].target)).original_module
            found += [_delegated(each, inner, delegates) for each in _computing(inner.graph)]
            delegates += 1
        elif not any(part in _name(node) for part in ("getitem", "sym_size")):
            found.append(Layer(_op(node), objection="XNNPACK did not take it"))
    return tuple(found)


def _computing(graph: fx.Graph) -> Iterator[fx.Node]:
    for node in graph.nodes:
        if node.op != "call_function" or any(part in _name(node) for part in _SILENT):
            continue
        if not _is_fused(node):
            yield node


def _is_fused(node: fx.Node) -> bool:
    """Whether an activation is part of the integer op in front of it."""
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    if _op(node) not in _FUSED or source is None or source.op != "call_function":
        return False
    data = [each for each in source.all_input_nodes if each.op == "call_function"]
    quantized = data and all("dequantize" in _name(each) for each in data)
    return bool(quantized) and _quantized(source) is not None


def _delegated(node: fx.Node, program: Any, delegate: int) -> Layer:
    weight = _weight(node, program)
    dynamic = any("dequantize_per_token" in _name(each) for each in node.all_input_nodes)
    why = _objection(node, weight is not None, dynamic)
    return Layer(_op(node), delegate, weight, why, dynamic, None if why else _levels(node))


def _objection(node: fx.Node, weighted: bool, dynamic: bool) -> str | None:
    if _op(node) not in _INTEGER:
        return "XNNPACK has no integer kernel for it"
    data = [_unpadded(each) for each in node.all_input_nodes if each.op == "call_function"]
    if not data or not all("dequantize" in _name(each) for each in data):
        return "its data is not quantized"
    if weighted and sum("dequantize" in _name(each) for each in data) < 2:
        return "its weight is not quantized"
    if not dynamic and _quantized(node) is None:
        return "its result is not quantized"
    return None


def _unpadded(node: fx.Node) -> fx.Node:
    """What is in front of a padding: XNNPACK pads integers if a convolution reads them."""
    return node.all_input_nodes[0] if _op(node).startswith("constant_pad_nd") else node


def _quantized(node: fx.Node) -> fx.Node | None:
    """The quantize node that takes the result, behind an activation that XNNPACK fuses."""
    readers = list(node.users)
    if len(readers) == 1 and _op(readers[0]) in _FUSED:
        readers = list(readers[0].users)
    only = readers[0] if len(readers) == 1 else None
    return (
        only
        if only is not None and _name(only).endswith(("quantize_per_tensor.default",))
        else None
    )


def _levels(node: fx.Node) -> tuple[float, int] | None:
    quantize = _quantized(node)
    if quantize is None:
        return None
    scale, zero = quantize.args[1], quantize.args[2]
    return float(scale), int(zero)  # type: ignore[arg-type]


def _weight(node: fx.Node, program: Any) -> str | None:
    """Name of the buffer in the second operand, behind its DQ and transpositions."""
    operands = list(node.all_input_nodes)
    signature = program.graph_signature
    held = {**signature.inputs_to_buffers, **signature.inputs_to_parameters}
    for start in operands:
        each = start
        while each.op == "call_function" and each.all_input_nodes:
            if not any(p in _name(each) for p in ("dequantize_per", "permute", "t_copy")):
                break
            each = each.all_input_nodes[0]
        name = str(held.get(each.name, ""))
        if "_layer_weight" in name:
            return name
    return None


def _op(node: fx.Node) -> str:
    """Such as `add.Tensor`."""
    return _name(node).removeprefix("aten.")


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))
