"""Own forms of operators on float16 that the exporter brings to float32 and does not bring back.

torch, onnx/_internal/fx/passes/type_promotion.py: operands get the type of the computation, and
the result keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from qcompiler.frontends.torch_form import OwnForm

_ATEN = torch.ops.aten
_PROMOTED = (
    _ATEN.abs.default, _ATEN.sum.default, _ATEN.sum.dim_IntList, _ATEN.amax.default,
    _ATEN.amin.default, _ATEN.prod.default, _ATEN.prod.dim_int, _ATEN.cumsum.default,
)  # fmt: skip


def _brought_back(op: Any) -> Callable[..., Any]:
    def form(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.dtype is not torch.float16:
            return NotImplemented
        kind = kwargs.pop("dtype", None) or x.dtype
        return op(x.float(), *args, **kwargs).to(kind)

    return form


def _is_half(given: Mapping[str, Any]) -> bool:
    return bool(given["self"].meta["val"].dtype is torch.float16)


FORMS: Mapping[Any, OwnForm] = {op: OwnForm(_brought_back(op), _is_half) for op in _PROMOTED}
"""operator -> own decomposition."""
