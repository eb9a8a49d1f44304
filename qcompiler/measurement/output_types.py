"""Type and shape of outputs: two runs of a program agree in both, or in nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def misfit(
    wanted: Sequence[Sequence[Any]], found: Sequence[Sequence[Any]], typed: bool = True
) -> tuple[int, str] | None:
    """The first output that differs in type or shape, and how; None where all agree.

    Args:
        wanted: Outputs by sample, as the source gives them.
        found: The same of the program.
        typed: Whether types count; shapes always do.
    """
    for left, right in zip(wanted, found, strict=True):
        for position, (one, other) in enumerate(zip(left, right, strict=False)):
            difference = _difference(one, other, typed)
            if difference is not None:
                return position, difference
    return None


def _difference(wanted: Any, found: Any, typed: bool) -> str | None:
    """Of tensors, of sequences element by element; what is absent has neither."""
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(wanted, found, strict=False)
        return next((each for pair in pairs if (each := _difference(*pair, typed))), None)
    if isinstance(wanted, list) or isinstance(found, list) or wanted is None or found is None:
        return None
    one, other = np.asarray(wanted), np.asarray(found)
    if one.shape != other.shape:
        return f"has the shape {list(other.shape)}, the source's has {list(one.shape)}"
    if typed and one.dtype != other.dtype and not {one.dtype.kind, other.dtype.kind} & set("OUS"):
        return f"is {other.dtype.name}, the source's is {one.dtype.name}"
    return None
