"""What every graph of PyTorch's translation is put right in: weights, dimensions, outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from qcompiler.ir.walk import all_graphs


def own_parameters(model: ir.Model) -> None:
    """Copies every tensor once: value semantics, whatever happens to the module later."""
    copies: dict[int, np.ndarray[Any, Any]] = {}
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            raw = getattr(tensor, "raw", None)
            if tensor is None or not isinstance(raw, torch.Tensor):
                continue
            if id(raw) not in copies:
                copies[id(raw)] = tensor.numpy().copy()
            value.const_value = ir.Tensor(copies[id(raw)], dtype=tensor.dtype, name=value.name)


def number_dims(model: ir.Model) -> None:
    """A dimension that torch specialised comes as a symbol named `3`; makes it the number 3."""
    for graph in all_graphs(model):
        for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
            if value.shape is not None and not value.shape.frozen:
                for index, dim in enumerate(value.shape):
                    if not isinstance(dim, int) and (dim.value or "").isdigit():
                        value.shape[index] = int(dim.value or "")


def separate_outputs(model: ir.Model) -> None:
    """An output that is listed twice gets a copy, so that every output has its own name."""
    seen: set[ir.Value] = set()
    for index, value in enumerate(list(model.graph.outputs)):
        if value in seen:
            copied = ir.Value(name=f"{value.name}_again", type=value.type, shape=value.shape)
            model.graph.append(ir.Node("", "Identity", [value], outputs=[copied]))
            model.graph.outputs[index] = copied
        seen.add(value)
