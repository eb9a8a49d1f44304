"""A report whose texts are safe to show; every rendering starts from it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from qcompiler.printable import one_line
from qcompiler.report.report import Report
from qcompiler.report.values import Distribution


def shown(report: Report) -> Report:
    """The report with control and direction characters of names escaped, see `printable`."""
    found = _shown(report)
    assert isinstance(found, Report)
    return found


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {_shown(name): _shown(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_shown(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type | Distribution):
        return replace(value, **{f.name: _shown(getattr(value, f.name)) for f in fields(value)})
    return value
