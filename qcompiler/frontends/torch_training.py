"""What belongs to training: a copy in evaluation mode is compiled, without wrappers."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch

from qcompiler.errors import ExportError

_NO_DROPOUT: Mapping[str, float] = {"p": 0.0, "dropout": 0.0}
"""Attributes of torch's own layers with which training makes no difference."""


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """What DataParallel and DistributedDataParallel spread over devices: they compute the same."""
    kinds = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while isinstance(module, kinds):
        module = module.module
    return module


def evaluating(module: torch.nn.Module) -> torch.nn.Module:
    """The module itself, or a copy in evaluation mode if any part of it is training.

    Raises:
        ExportError: It cannot be copied.
    """
    if not any(getattr(part, "training", False) for part in module.modules()):
        return module
    try:
        return copy.deepcopy(module).eval()
    except Exception as error:
        raise ExportError(
            f"{type(module).__name__} is in training mode and cannot be copied",
            why=str(error),
            fix="call module.eval() before compiling",
        ) from error


def training_notes(module: torch.nn.Module) -> list[str]:
    """A sentence where a part is in training mode and computes something else then."""
    found = [path for path, part in module.named_modules() if _depends_on_training(part)]
    if not found:
        return []
    first = f"'{found[0]}', a {type(module.get_submodule(found[0])).__name__}"
    if not found[0]:
        first = f"a {type(module).__name__}"
    told = f"the module is in training mode ({first}): what it computes in evaluation mode is "
    return [told + "compiled; call module.eval() before compiling and comparing"]


def _depends_on_training(part: torch.nn.Module) -> bool:
    if not getattr(part, "training", False):
        return False
    if any(getattr(part, name, None) == value for name, value in _NO_DROPOUT.items()):
        return False
    code = getattr(type(part).forward, "__code__", None)
    return code is not None and "training" in code.co_names
