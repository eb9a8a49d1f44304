"""Pass options as text: `method=percentile`, read by the types of the dataclass fields.

A value is a word, a JSON string or a list of them in brackets. Types: `int`, `float`, `bool`,
`str`, `Path`, enums (by name), `Literal`, `tuple[X, ...]` and `X | None`.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

from qcompiler.errors import PipelineError

WORD = re.compile(r"[\w.+\-*/:?@%^~]+")
"""What may stand without quotes."""


class Quoted(str):
    """A string that was written in quotes, so never a keyword such as `none`."""

    __slots__ = ()


Value = str | tuple["Value", ...]
"""What the text parser makes of a value: a word, a `Quoted` string or a list."""


def option_fields(cls: type) -> dict[str, Field[Any]]:
    """The options of a pass or target class by name (combinator children left out)."""
    return {each.name: each for each in fields(cls) if each.init and each.name != "passes"}


def read_options(cls: type, given: Mapping[str, Value], owner: str) -> dict[str, Any]:
    """Arguments for `cls` from parsed text.

    Raises:
        PipelineError: An unknown option, or a value that its type does not take.
    """
    known = option_fields(cls)
    read: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in known:
            raise _unknown_option(owner, key, list(known))
        try:
            read[name] = convert(value, _annotation(cls, name))
        except ValueError as error:
            raise PipelineError(
                f"option '{key}' of '{owner}' cannot be {show_value(value)}",
                why=str(error),
                fix="give such a value",
            ) from error
    return read


def show_options(instance: Any) -> list[str]:
    """`key=value` for every field that differs from its default, in field order."""
    shown = []
    for name, each in option_fields(type(instance)).items():
        value = getattr(instance, name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if not (type(value) is type(default) and value == default):
            shown.append(f"{name}={show_value(value)}")
    return shown


def show_value(value: Any) -> str:
    """The text that `convert` reads back; `<ClassName>` for a value that has no text."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return _show_string(str(value))
    if isinstance(value, tuple | list):
        return "[" + ",".join(show_value(item) for item in value) + "]"
    return f"<{type(value).__name__}>"


def convert(value: Value, annotation: Any) -> Any:
    """The text value as the annotated type.

    Raises:
        ValueError: The type does not take it; the message says what it takes.
    """
    origin = get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, get_args(annotation))
    if origin in (tuple, list):
        return _convert_items(value, get_args(annotation))
    if isinstance(value, str):
        return _convert_word(value, annotation)
    raise ValueError(f"it takes one {_type_name(annotation)}, not a list")


def _convert_word(value: str, annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return _convert_literal(value, get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _convert_enum(value, annotation)
    if annotation is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError("it takes true or false")
        return value.lower() == "true"
    if annotation in (int, float):
        try:
            return annotation(value)
        except ValueError as error:
            article = "a number" if annotation is float else "an integer"
            raise ValueError(f"it takes {article}") from error
    if annotation in (str, Path):
        return annotation(value)
    raise ValueError(f"a {_type_name(annotation)} cannot be written as text")


def _convert_union(value: Value, members: tuple[Any, ...]) -> Any:
    if types.NoneType in members and value == "none" and not isinstance(value, Quoted):
        return None
    reasons = []
    for member in sorted((m for m in members if m is not types.NoneType), key=_looseness):
        try:
            return convert(value, member)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError("; ".join(reasons))


def _looseness(annotation: Any) -> int:
    """Stricter types are tried first: a `str` takes every word."""
    return {str: 3, Path: 2, float: 1}.get(annotation, 0)


def _convert_items(value: Value, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    items = value if isinstance(value, tuple) else (value,)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(convert(item, arguments[0]) for item in items)
    if len(arguments) != len(items):
        raise ValueError(f"it takes {len(arguments)} values in brackets")
    return tuple(convert(item, kind) for item, kind in zip(items, arguments, strict=True))


def _convert_literal(value: str, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if value == (choice if isinstance(choice, str) else show_value(choice)):
            return choice
    raise ValueError("it takes " + " or ".join(show_value(choice) for choice in choices))


def _convert_enum(value: str, kind: type[Enum]) -> Enum:
    for member in kind:
        if value.replace("-", "_").lower() == member.name.lower() or value == member.value:
            return member
    raise ValueError("it takes " + " or ".join(member.name.lower() for member in kind))


def _show_string(text: str) -> str:
    if WORD.fullmatch(text) and text != "none":
        return text
    return json.dumps(text)


def _annotation(cls: type, name: str) -> Any:
    """The evaluated type of one field; names imported only for type checking cannot be text."""
    for owner in cls.__mro__:
        written = inspect.get_annotations(owner)
        if name in written:
            scope = vars(sys.modules[owner.__module__])
            alone = SimpleNamespace(__annotations__={name: written[name]})
            try:
                return typing.get_type_hints(alone, globalns=scope)[name]
            except NameError:
                return object
    return object


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))


def _unknown_option(owner: str, key: str, known: list[str]) -> PipelineError:
    near = get_close_matches(key, known, n=1)
    legal = ", ".join(known) if known else "none"
    return PipelineError(
        f"'{owner}' has no option '{key}'",
        why=f"its options are: {legal}",
        fix=f"did you mean '{near[0]}'?" if near else "leave it out",
    )
