"""The signature of `forward` as plain data and back, and what a call binds to it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

_KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)
POSITIONAL = _KINDS[:2]
"""Kinds of parameters that may be given by position, one by one."""
_EMPTY = inspect.Parameter.empty


class _UnknownDefault:
    """A default value that an artifact could not keep."""

    def __repr__(self) -> str:
        return "a default that the artifact does not hold"


def dump_signature(signature: inspect.Signature | None) -> list[list[Any]] | None:
    """Name, kind and, in a list of one, the default; an empty list if it cannot be written."""
    if signature is None:
        return None
    return [
        [each.name, int(each.kind), None if each.default is _EMPTY else _storable(each.default)]
        for each in signature.parameters.values()
    ]


def _storable(default: Any) -> list[Any]:
    plain = default is None or isinstance(default, bool | int | float | str)
    return [default] if plain else []


def parse_signature(rows: list[list[Any]] | None) -> inspect.Signature | None:
    """Reads what `dump_signature` wrote."""
    if rows is None:
        return None
    kinds = {int(kind): kind for kind in _KINDS}
    return inspect.Signature(
        [inspect.Parameter(name, kinds[kind], default=_default(kept)) for name, kind, kept in rows]
    )


def _default(kept: list[Any] | None) -> Any:
    if kept is None:
        return _EMPTY
    return kept[0] if kept else _UnknownDefault()


def spread(
    bound: inspect.BoundArguments, positional: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The first so many arguments by position, all others by name."""
    args: list[Any] = []
    named: dict[str, Any] = {}
    for name, parameter in bound.signature.parameters.items():
        value = bound.arguments[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            args += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= value
        elif parameter.kind in POSITIONAL and len(args) < positional:
            args.append(value)
        else:
            named[name] = value
    return tuple(args), named


def unknown(bound: inspect.BoundArguments, keywords: Sequence[str]) -> dict[str, Any]:
    """What `**kwargs` of `forward` takes and the capture did not have."""
    rest = next((p for p in bound.signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
    taken = {} if rest is None else bound.arguments[rest.name]
    return {name: value for name, value in taken.items() if name not in keywords}
