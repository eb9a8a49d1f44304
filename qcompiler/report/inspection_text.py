"""What `qcompiler inspect` found as lines for a terminal."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qcompiler.printable import one_line
from qcompiler.report.numbers import show_bytes

_NAMES = 3
"""Regions that are named of those that are alike."""
_DIM = 24
"""Characters of a dimension that are read at a glance; those of detectors take hundreds."""
_WIDEST = 40
"""Characters of a column."""


def show_facts(found: Mapping[str, Any], every: bool = False) -> str:
    """The facts as lines.

    Args:
        found: What `facts` gave.
        every: A line for each region, with the forms it may take, or why it has to stay float;
            without, for those that have ops and forms in common.
    """
    lines = [found["source"]]
    lines += [f"  {name}: {value}" for name, value in found["made"].items()]
    lines += [f"  in  {_brief(spec)}" for spec in found["inputs"]]
    lines += [f"  out {_brief(spec)}" for spec in found["outputs"]]
    lines.append("ops: " + ", ".join(f"{count} {op}" for op, count in found["ops"].items()))
    lines.append(f"weights: {show_bytes(found['weight_bytes'])}")
    at = _at(found["run_on"], found["macs_open_sizes"])
    unknown = found["macs_of_unknown_size"]
    least = "at least " if unknown else ""
    beside = f"; products whose sizes only a run tells: {unknown}" if unknown else ""
    lines.append(f"multiply-accumulates: {least}{found['macs']:,}{at}{beside}")
    lines += _listed(found) if every else _grouped(found)
    if found["targets"]:
        lines.append("regions that int8 quantizes:")
        lines += _table(_targets(found["targets"]))
    lines += [f"warning: {line}" for line in found["warnings"]]
    return "\n".join(map(one_line, lines)) + "\n"


def _brief(spec: str) -> str:
    """A tensor with what its longest sizes are computed from left out."""
    found = re.fullmatch(r"(.*?\[)(.*)(\]\)*)", spec)
    if found is None:
        return spec
    dims = ("computed" if len(dim) > _DIM else dim for dim in _apart(found[2]))
    return found[1] + ", ".join(dims) + found[3]


def _apart(dims: str) -> list[str]:
    """Dimensions of a shape; commas in parentheses are arguments: `Max(1, h)`."""
    parts: list[str] = []
    for piece in dims.split(", "):
        if parts and parts[-1].count("(") > parts[-1].count(")"):
            parts[-1] += f", {piece}"
        else:
            parts.append(piece)
    return parts


def _at(run_on: Mapping[str, Sequence[int]], open_sizes: Sequence[str]) -> str:
    """At which sizes it was counted."""
    if run_on:
        told = (f"{name} {'x'.join(map(str, shape))}" for name, shape in run_on.items())
        return f" with {', '.join(told)}"
    return f", {', '.join(open_sizes)} at 1" if open_sizes else ""


def _listed(found: Mapping[str, Any]) -> list[str]:
    rows = [
        (each["module"] or each["name"], each["ops"], _forms(each)) for each in found["regions"]
    ]
    return [f"regions on {found['target']}: {len(rows)}", *_table(rows)]


def _grouped(found: Mapping[str, Any]) -> list[str]:
    alike = defaultdict[tuple[str, str], list[str]](list)
    for each in found["regions"]:
        alike[each["ops"], _forms(each)].append(each["module"] or each["name"])
    rows = [
        (str(len(names)), ops, forms, _some(names))
        for (ops, forms), names in sorted(alike.items(), key=lambda each: -len(each[1]))
    ]
    title = f"regions on {found['target']}: {len(found['regions'])} (each of them: --all)"
    return [title, *_table(rows)]


def _some(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = ", …" if len(distinct) > _NAMES else ""
    return ", ".join(distinct[:_NAMES]) + more


def _targets(counted: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for name, each in counted.items():
        reason = next(iter(each["against"]), "")
        told = f"mostly because {reason}" if reason else ""
        yield name, f"{each['int8']} of {each['regions']}", told


def _forms(region: Mapping[str, Any]) -> str:
    """The forms that `auto` tries, and how many more there are when they are asked for by name."""
    shown = ", ".join(region["searched"])
    more = len(region["precisions"]) - len(region["searched"])
    if more:
        shown += f"{' ' if shown else ''}(+{more} on request)"
    return shown or "; ".join(region["objections"]) or "float only"


def _table(rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with aligned columns; a cell that is much longer than others does not widen its own."""
    cells = [tuple(map(one_line, row)) for row in rows]
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(f"{cell:{n}}" for cell, n in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
