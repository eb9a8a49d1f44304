"""What a capture froze (numbers, flags, strings, defaults), held against a call."""

from __future__ import annotations

import enum
import inspect
import math
import sys
from dataclasses import dataclass
from typing import Any

import torch

from qcompiler.errors import FeedError
from qcompiler.frontends.torch_literals import is_literal, literal, written


@dataclass(frozen=True)
class Constant:
    """A constant that JSON does not know, as text.

    A dtype, a device, a member of an enum, a slice, a range, a set, bytes, a complex number.
    """

    text: str

    @staticmethod
    def fits(value: Any) -> bool:
        """Whether a value is one."""
        kinds = (torch.dtype, torch.device, torch.layout, torch.memory_format, enum.Enum)
        return isinstance(value, kinds) or is_literal(value)

    @classmethod
    def of(cls, value: Any) -> Constant:
        """The text of one."""
        if isinstance(value, torch.device):
            return cls(f"device {value}")
        if isinstance(value, enum.Enum):
            kind = type(value)
            return cls(f"enum {kind.__module__}:{kind.__qualname__}:{value.name}")
        return cls(f"literal {written(value)}" if is_literal(value) else str(value))

    @property
    def value(self) -> Any:
        """What it stands for; the text itself where its class is not loaded."""
        kind, _, rest = self.text.partition(" ")
        if kind == "device":
            return torch.device(rest)
        if kind == "literal":
            return literal(rest)
        if kind != "enum":
            return getattr(torch, self.text.removeprefix("torch."))
        module, path, name = rest.split(":")
        found: Any = sys.modules.get(module)
        for part in (*path.split("."), name):
            found = getattr(found, part, None)
        return self.text if found is None else found

    def __repr__(self) -> str:
        return self.text.removeprefix("literal ")


def value_of(frozen: Any) -> Any:
    """What an argument of the source is."""
    return frozen.value if isinstance(frozen, Constant) else frozen


def dumped(frozen: list[Any] | None) -> Any:
    """A frozen value in its list, as JSON data."""
    known = frozen is not None and isinstance(frozen[0], Constant)
    return [{"constant": frozen[0].text}] if known and frozen is not None else frozen


def parsed(data: Any) -> list[Any] | None:
    """Reads what `dumped` wrote."""
    if isinstance(data, list) and isinstance(data[0], dict):
        return [Constant(str(data[0]["constant"]))]
    return data if data is None else list(data)


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
    if isinstance(frozen, Constant):
        return Constant.fits(value) and Constant.of(value) == frozen
    if type(value).__module__ == "numpy" and hasattr(value, "item") and value.ndim == 0:
        value = value.item()
    if isinstance(value, torch.Tensor) or type(value).__module__ == "numpy":
        return False
    if isinstance(value, bool) != isinstance(frozen, bool):
        return False
    if isinstance(value, float) and isinstance(frozen, float):
        signs = math.copysign(1.0, value) == math.copysign(1.0, frozen)
        return math.isnan(value) if math.isnan(frozen) else value == frozen and signs
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
