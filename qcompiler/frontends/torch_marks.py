"""Marks that a captured program carries through PyTorch's ONNX translation.

On the way a mark is an operator of ours, behind it a Dropout in training mode, which the exporter's
optimizer leaves alone, known by its seed. Whoever sets marks takes them out of the program again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset21
from torch import Tensor

from qcompiler.ir.walk import is_op


class Mark(IntEnum):
    """What a mark says; its number is the seed."""

    DROPOUT = 0x71646F
    BEGIN = 0x71626567
    END = 0x71656E64


_SEEDS = frozenset(Mark)


@torch.library.custom_op("qcompiler::mark", mutates_args=())
def _mark(x: Tensor, seed: int, ratio: float) -> Tensor:
    return x.clone()


@_mark.register_fake
def _(x: Tensor, seed: int, ratio: float) -> Tensor:
    return torch.empty_like(x)


def _translated(x: Any, seed: int, ratio: float) -> Any:
    op: Any = opset21  # numbers become constants
    marked, _ = op.Dropout(x, ratio, True, seed=seed)
    return marked


OPERATOR: Any = torch.ops.qcompiler.mark.default
"""Takes the tensor, the mark and a Dropout's ratio."""

TRANSLATIONS: Mapping[Any, Callable[..., Any]] = {OPERATOR: _translated}
"""For `custom_translation_table` of torch.onnx.export."""


def mark_of(node: ir.Node) -> Mark | None:
    """What a translated node marks; None for every other node."""
    seed = node.attributes.get_int("seed", 0) if is_op(node, "Dropout") else 0
    return Mark(seed) if seed in _SEEDS else None
