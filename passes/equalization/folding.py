"""Writing chosen scales into the constants that take them up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import LegalityError
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import stored_array
from qcompiler.passes.equalization.analysis import Scales
from qcompiler.passes.equalization.constraints import Fold
from qcompiler.passes.fusion.affine import rounded

Array = npt.NDArray[Any]

LARGEST = 2.0**12
"""Scales stay between its inverse and this; beyond it, one side is zero in 8 bits anyway."""


def factor_of(fold: Fold, scales: Array) -> Array:
    """float64, broadcastable to the constant: what it is multiplied by.

    Args:
        fold: The constant.
        scales: float64 [slots].
    """
    result = np.ones(())
    if fold.reads is not None:
        result = result * scales[fold.reads] ** fold.read_power
    if fold.writes is not None:
        result = result / scales[fold.writes] ** fold.write_power
    return np.asarray(result)


def fold_scales(found: Scales, logs: Array, rewriter: Rewriter) -> int:
    """Multiplies every constant by its factor; float64, rounded once. Returns how many changed.

    Args:
        found: The scales that may be chosen.
        logs: float64 [components]: logarithms of those that were.
        rewriter: Of the program.

    Raises:
        LegalityError: A result is too large for its type; nothing was changed.
    """
    limit = np.log(LARGEST)
    scales = found.freedom.scales(np.clip(logs, -limit, limit))
    changed = []
    for fold in found.folds:
        factors = factor_of(fold, scales)
        if np.all(factors == 1):
            continue
        value = fold.node.inputs[fold.index]
        old = stored_array(value)
        assert value is not None
        assert old is not None
        new = rounded(np.asarray(old.astype(np.float64) * factors), old)
        if new is None:
            raise LegalityError(f"'{value.name}' becomes too large by equalization")
        if new.shape != old.shape:
            raise LegalityError(f"'{value.name}' has one number for channels of several scales")
        changed.append((fold, value.name, new))
    for fold, name, new in changed:
        stem = f"{name}_scaled" if not str(name).endswith("_scaled") else str(name)
        rewriter.set_input(fold.node, fold.index, rewriter.constant(new, stem))
    if changed:
        rewriter.drop_unused_constants()
    return len(changed)
