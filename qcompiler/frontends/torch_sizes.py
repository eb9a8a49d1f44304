"""What torch.export assumed of sizes, as rules that every call is held against."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from qcompiler.errors import ConfigurationError
from qcompiler.frontends.torch_guards import guards_in_code
from qcompiler.ir.sizes import SizeRule, symbols_of

_WORD = re.compile(r"[A-Za-z_]\w*")
_ORDINARY_LOWER = 2
"""torch.export's lowest size of an open axis, where nobody asked for another: an assumption about
broadcasting, no limit of the program."""


def size_rules(exported: torch.export.ExportedProgram) -> tuple[SizeRule, ...]:
    """The declared ranges, and the branches that the capture took (`s0 <= 4`, `Eq(Mod(s0, 2), 0)`).

    Only rules about symbols of the inputs' shapes are kept: others cannot be checked at a call.
    """
    known = _input_symbols(exported)
    found: dict[str, SizeRule] = {}
    for text, where in (*_ranges(exported), *_guards(exported)):
        if symbols_of(text) and symbols_of(text) <= known and text not in found:
            rule = _rule(text, where)
            if rule is not None:
                found[text] = rule
    return tuple(found.values())


def unread_rules(exported: torch.export.ExportedProgram) -> list[str]:
    """Notes on assumptions about the inputs' sizes that cannot be held against a call."""
    known = _input_symbols(exported)
    words = ((text, where, set(_WORD.findall(text))) for text, where in _guards(exported))
    return [
        f"the capture assumes {text}{f' at {where}' if where else ''}, which is not checked: other "
        "sizes may give wrong results"
        for text, where, named in words
        if named & known and (_rule(text, where) is None or not symbols_of(text) <= known)
    ]


def _rule(text: str, where: str) -> SizeRule | None:
    try:
        return SizeRule(text, where)
    except ConfigurationError:  # a function of sympy that the rules do not know
        return None


def _inputs(exported: torch.export.ExportedProgram) -> Iterator[torch.Tensor]:
    names = set(exported.graph_signature.user_inputs)
    for node in exported.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in names and isinstance(value, torch.Tensor):
            yield value


def _input_symbols(exported: torch.export.ExportedProgram) -> frozenset[str]:
    dims = [str(d) for value in _inputs(exported) for d in value.shape if not isinstance(d, int)]
    return frozenset(dim for dim in dims if dim.isidentifier())


def _ranges(exported: torch.export.ExportedProgram) -> Iterator[tuple[str, str]]:
    for symbol, limits in exported.range_constraints.items():
        lower, upper = str(limits.lower), str(limits.upper)
        if lower.isdigit() and int(lower) > _ORDINARY_LOWER:
            yield f"{symbol} >= {lower}", ""
        if upper.isdigit():
            yield f"{symbol} <= {upper}", ""


def _guards(exported: torch.export.ExportedProgram) -> Iterator[tuple[str, str]]:
    """Conditions with the user's line; a loaded ExportedProgram has them as code, without lines."""
    found = list(_recorded(exported))
    yield from found or ((text, "") for text in guards_in_code(exported))


def _recorded(exported: torch.export.ExportedProgram) -> Iterator[tuple[str, str]]:
    for value in _inputs(exported):
        environment = getattr(getattr(value, "fake_mode", None), "shape_env", None)
        if environment is None:
            continue
        for guard in environment.guards:
            # A later guard may have fixed one of the sizes that it compares (`s77 >= s17` and then
            # `Eq(s17, 3)`), or made it one with another.
            yield str(environment.replace(guard.expr)), _line(guard)
        return


def _line(guard: Any) -> str:
    place = getattr(getattr(guard, "sloc", None), "maybe_user_loc", None)
    return str(place) if place else ""


def breaks_at(exported: torch.export.ExportedProgram, sizes: Mapping[str, int]) -> bool:
    """Whether a capture is not good for these sizes, by symbol."""
    return not all(rule.holds(sizes) for rule in size_rules(exported))
