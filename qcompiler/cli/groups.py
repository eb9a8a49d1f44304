"""Options that several commands share as a group: one parameter there, several on the line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of a NamedTuple in the place of every parameter of that type.

    typer has no groups: it reads options off a signature, so it is given one that has them.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if hasattr(kind, "_fields")}
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(command).parameters.values():
        kind = groups.get(each.name)
        if kind is None:
            parameters.append(each.replace(annotation=hints[each.name]))
            continue
        fields = get_type_hints(kind, include_extras=True)
        parameters += [
            each.replace(name=name, annotation=fields[name], default=kind._field_defaults[name])
            for name in kind._fields
        ]

    @wraps(command)
    def called(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(*(given.pop(field) for field in kind._fields))
        command(**given)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called
