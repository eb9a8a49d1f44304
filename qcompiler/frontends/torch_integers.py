"""Functions of floats that torch takes of integers too, which ONNX's operators do not.

Rounding leaves integers as they are, and none of them is infinite or no number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from qcompiler.frontends.torch_form import OwnForm

_ATEN = torch.ops.aten


def _of_integers(form: Callable[[Tensor], Tensor]) -> OwnForm:
    """The form for integers and truth values; floats keep their operator."""

    def own(x: Tensor, *rest: Any, **options: Any) -> Any:
        return NotImplemented if x.is_floating_point() or rest or options else form(x)

    return OwnForm(own, is_integer)


def is_integer(given: Mapping[str, Any]) -> bool:
    """Whether the operand holds integers or truth values."""
    operand = given["self"]
    return isinstance(operand, torch.fx.Node) and not (
        operand.meta["val"].is_floating_point() or operand.meta["val"].is_complex()
    )


def _none(x: Tensor) -> Tensor:
    return torch.zeros_like(x, dtype=torch.bool)


def _all(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def _rectified(x: Tensor) -> Tensor:
    """ONNX Runtime has no Relu of 64 bits."""
    return torch.maximum(x, torch.zeros_like(x))


_ROUNDING = (
    _ATEN.round.default, _ATEN.floor.default, _ATEN.ceil.default, _ATEN.trunc.default,
    _ATEN.fix.default,
)  # fmt: skip
FORMS: Mapping[Any, OwnForm] = {
    **dict.fromkeys(_ROUNDING, _of_integers(torch.clone)),
    **dict.fromkeys((_ATEN.isnan.default, _ATEN.isinf.default), _of_integers(_none)),
    _ATEN.isfinite.default: _of_integers(_all),
    _ATEN.relu.default: _of_integers(_rectified),
}
"""operator -> own decomposition."""
