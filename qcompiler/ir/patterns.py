"""Patterns that users name regions and values by: a name, a glob, or a regular expression."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import cache

from qcompiler.errors import ConfigurationError

_OP, _REGEX = "op:", "re:"


def region_fits(pattern: str, key: str, module: str | None, op: str) -> bool:
    """By `op:OpType`, by node name, or by the path of its module or of one around it.

    Args:
        pattern: See `name_fits`; `encoder.*` means `encoder` itself, too.
        key: Name of the region's anchor.
        module: Path of the module that it is in.
        op: The anchor's op.

    Raises:
        ConfigurationError: No regular expression behind `re:`.
    """
    if pattern.startswith(_OP):
        return name_fits(pattern.removeprefix(_OP), [op])
    parts = (module or "").split(".")
    around = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    names = [name for name in (key, *around) if name]
    return name_fits(pattern, names) or name_fits(pattern.removesuffix(".*"), names)


def name_fits(pattern: str, names: Collection[str]) -> bool:
    """Whether a pattern means one of several names of the same thing.

    Args:
        pattern: A name as it is (brackets and all), a glob, or `re:` and a regular expression of
            the whole name.
        names: What the thing is called.

    Raises:
        ConfigurationError: No regular expression behind `re:`.
    """
    if pattern.startswith(_REGEX) and pattern not in names:
        return any(map(_compiled(pattern.removeprefix(_REGEX)).fullmatch, names))
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


@cache
def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigurationError(
            f"{text!r} is no regular expression",
            where=f"the pattern '{_REGEX}{text}'",
            why=str(error),
            fix="write a glob such as 'encoder.*', or an expression such as 're:encoder\\.(0|1)'",
        ) from error
