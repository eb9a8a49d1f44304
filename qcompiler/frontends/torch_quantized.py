"""Modules that another tool has quantized: refused by name, before torch fails in the middle."""

from __future__ import annotations

from typing import Any

import torch

from qcompiler.errors import ExportError

_FAMILIES = (
    ("torch", "ao", "nn", "quantized"),
    ("torch", "ao", "nn", "quantizable"),
    ("torch", "ao", "nn", "sparse"),
    ("torch", "ao", "nn", "intrinsic", "quantized"),
    ("torch", "nn", "quantized"),
    ("torch", "nn", "intrinsic", "quantized"),
    ("torchao",),
)
"""Packages whose layers hold integers, as parts of a dotted name; their own stubs, observers and
fake-quantized layers are read, see `torch_points`."""


def refuse_quantized(model: Any) -> None:
    """Looks at every part of a module.

    Raises:
        ExportError: A part is a quantized layer, or holds quantized weights; names it.
    """
    if not isinstance(model, torch.nn.Module):
        return
    for path, part in model.named_modules():
        kind = _quantized_kind(part)
        if kind is not None:
            raise ExportError(
                f"the module is quantized already: '{path}' is {kind}",
                where=path or type(model).__name__,
                why="integers of another tool are not read from torch modules",
                fix="give the float module, or an ONNX file with QuantizeLinear/DequantizeLinear",
            )


def _quantized_kind(part: torch.nn.Module) -> str | None:
    owner = type(part)
    parts = tuple(owner.__module__.split("."))
    if any(parts[: len(family)] == family for family in _FAMILIES):
        return f"{owner.__module__}.{owner.__name__}"
    tensors = {
        **dict(part.named_parameters(recurse=False)),
        **dict(part.named_buffers(recurse=False)),
    }
    for name, tensor in tensors.items():
        if tensor.is_quantized or type(tensor.data).__module__.startswith("torchao"):
            return f"{owner.__name__} with the weight '{name}' of type {type(tensor.data).__name__}"
    return None
