"""Types of the source at its boundary, where the capture computes in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

_TYPES: Mapping[str, torch.dtype] = {
    str(each).removeprefix("torch."): each
    for each in (torch.bfloat16, torch.float16, torch.float64)
}


def name_of(dtype: torch.dtype | None) -> str | None:
    """`float64` of `torch.float64`."""
    return None if dtype is None else str(dtype).removeprefix("torch.")


def typed(leaves: list[Any], names: Sequence[str | None]) -> list[Any]:
    """Tensors in these types; numpy arrays too, as far as numpy has the type."""
    if not names:
        return leaves
    return [
        leaf if name is None else _in_type(leaf, name)
        for leaf, name in zip(leaves, names, strict=True)
    ]


def _in_type(leaf: Any, name: str) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.to(_TYPES[name])
    known = type(leaf).__module__ == "numpy" and _TYPES[name] is not torch.bfloat16
    return leaf.astype(name) if known else leaf


def type_names(names: Any) -> tuple[str | None, ...]:
    """Names that a file holds.

    Raises:
        ValueError: One is unknown.
    """
    unknown = [name for name in names if name is not None and name not in _TYPES]
    if unknown:
        raise ValueError(f"unknown type {unknown[0]!r}")
    return tuple(names)
