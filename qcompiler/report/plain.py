"""Frozen dataclasses from what JSON gives for them, by their type hints."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from qcompiler.strict_json import NOT_FINITE

T = TypeVar("T")


def from_plain(kind: type[T], data: Any) -> T:
    """The value of a type that `dataclasses.asdict` and JSON made `data` of.

    Raises:
        ValueError: The structure is another one.
    """
    return _read(kind, data)  # type: ignore[no-any-return]


def _read(kind: Any, data: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(kind), data)
    if origin is tuple:
        return _read_tuple(get_args(kind), data)
    if origin is Mapping:
        key, value = get_args(kind)
        _require(isinstance(data, dict), kind, data)
        return {_read(key, name): _read(value, each) for name, each in data.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        _require(isinstance(data, dict), kind, data)
        hints = _hints(kind)
        unknown = sorted(set(data) - set(hints))
        _require(not unknown, kind, unknown)
        return kind(**{name: _read(hints[name], each) for name, each in data.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    if kind is float:
        if data in NOT_FINITE:
            return float(data)
        _require(isinstance(data, int | float) and not isinstance(data, bool), kind, data)
        return data
    _require(type(data) is kind, kind, data)
    return data


def _read_union(kinds: tuple[Any, ...], data: Any) -> Any:
    """Unions are only of a type and None."""
    if data is None and type(None) in kinds:
        return None
    (kind,) = [each for each in kinds if each is not type(None)]
    return _read(kind, data)


def _read_tuple(kinds: tuple[Any, ...], data: Any) -> Any:
    _require(isinstance(data, list), tuple, data)
    if kinds[-1] is Ellipsis:
        return tuple(_read(kinds[0], each) for each in data)
    return tuple(_read(kind, each) for kind, each in zip(kinds, data, strict=True))


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind)}


def _require(right: bool, kind: Any, data: Any) -> None:
    if not right:
        raise ValueError(f"{str(data)[:60]!r} is no {getattr(kind, '__name__', kind)}")
