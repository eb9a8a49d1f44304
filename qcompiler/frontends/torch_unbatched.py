"""Layers that PyTorch's ONNX translation takes with a batch or with a bias only.

Patches of one image are written for four axes (torch 2.13: a Gather past the shape of three), their
inverse for three; conv3d without a bias gets zeros of the shape [channels, 2].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from qcompiler.frontends.torch_form import OwnForm

_ATEN = torch.ops.aten


def _with_batch(op: Any, count: int) -> Callable[..., Any]:
    def form(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.ndim != count:
            return NotImplemented
        return op(x.unsqueeze(0), *args, **kwargs).squeeze(0)

    return form


def _without_batch(op: Any, count: int) -> OwnForm:
    """The form for an operand of `count` axes."""
    return OwnForm(_with_batch(op, count), lambda given: given["self"].meta["val"].ndim == count)


def _conv3d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any) -> Any:
    if bias is not None:
        return NotImplemented
    return _ATEN.conv3d.default(x, weight, x.new_zeros(weight.shape[0]), *args)


FORMS: Mapping[Any, OwnForm] = {
    _ATEN.im2col.default: _without_batch(_ATEN.im2col.default, 3),
    _ATEN.col2im.default: _without_batch(_ATEN.col2im.default, 2),
    _ATEN.conv3d.default: OwnForm(_conv3d, lambda given: given.get("bias") is None),
}
