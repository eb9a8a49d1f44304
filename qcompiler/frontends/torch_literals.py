"""Constants of Python that JSON does not know, as text: slices, ranges, sets, bytes, complex."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

_CALLED: Mapping[str, Callable[..., Any]] = {
    "slice": slice,
    "range": range,
    "set": set,
    "frozenset": frozenset,
    "complex": complex,
}
_PLAIN = (bool, int, float, str, bytes, complex, type(None))


def is_literal(value: Any) -> bool:
    """Whether a value is one, with nothing but plain values in it."""
    if isinstance(value, slice):
        return all(type(each) in _PLAIN for each in (value.start, value.stop, value.step))
    if type(value) in (set, frozenset):
        return all(type(each) in _PLAIN for each in value)
    return type(value) in (range, bytes, complex)


def written(value: Any) -> str:
    """As text; equal values give equal texts."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({sorted(value, key=repr)!r})"
    if isinstance(value, complex):
        return f"complex({str(value.real)!r}, {str(value.imag)!r})"
    return repr(value)


def literal(text: str) -> Any:
    """The value of what `written` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"no literal: {text!r}") from error
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    made = _CALLED.get(node.func.id) if isinstance(node.func, ast.Name) else None
    if made is None or node.keywords:
        raise ValueError(f"no literal: {text!r}")
    arguments = [ast.literal_eval(each) for each in node.args]
    return complex(*map(float, arguments)) if made is complex else made(*arguments)
