"""What a capture froze (numbers, flags, strings, defaults), held against a call."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch

from qcompiler.errors import FeedError


def require_default(parameter: inspect.Parameter, value: Any) -> None:
    """An argument that the capture left to its default may be given only as that.

    Raises:
        FeedError: It is something else.
    """
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return
    if not same_constant(value, parameter.default):
        raise _frozen(parameter.name, value, parameter.default)


def require_same(path: str, value: Any, frozen: Any) -> None:
    """The argument at a path has the value that the capture froze.

    Raises:
        FeedError: It has not.
    """
    if not same_constant(value, frozen):
        raise _frozen(path, value, frozen)


def same_constant(value: Any, frozen: Any) -> bool:
    """Whether a value is the frozen one; a flag is no number, NaN is NaN."""
    if value is frozen:
        return True
    if type(value).__module__ == "numpy" and hasattr(value, "item") and value.ndim == 0:
        value = value.item()
    if isinstance(value, torch.Tensor) or type(value).__module__ == "numpy":
        return False
    if isinstance(value, bool) != isinstance(frozen, bool):
        return False
    if isinstance(value, float) and isinstance(frozen, float) and math.isnan(frozen):
        return math.isnan(value)
    same = type(value) is type(frozen) or isinstance(value, int | float)
    return same and bool(value == frozen)


def _frozen(path: str, value: Any, frozen: Any) -> FeedError:
    kind = type(value)
    plain = value is None or isinstance(value, bool | int | float | str)
    given = repr(value) if plain else f"a {kind.__module__.partition('.')[0]} {kind.__name__}"
    return FeedError(
        f"argument '{path}' is {given}, the model was captured with {frozen!r}",
        where=f"argument '{path}'",
        why="what is no tensor becomes part of the compiled program, and so does a default",
        fix="leave it out, or compile again with calibration feeds that have it",
    )


def missing_tensor(path: str) -> FeedError:
    """What is wrong with None where the capture had a tensor."""
    return FeedError(
        f"argument '{path}' is None, the model was captured with a tensor there",
        where=f"argument '{path}'",
        fix="give a tensor, or compile again with calibration feeds that leave it out",
    )
