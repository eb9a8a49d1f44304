"""Where a plan's choices belong in a model: module path and op, whatever the nodes are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qcompiler.ir.plan import Choice

Place = tuple[str, ...]
"""Equal for the same spot of two versions of a model."""


@dataclass(frozen=True)
class Spot:
    """What is known of one region or of one entry of a plan.

    Attributes:
        key: Name of the anchor node.
        module: Path of the module that it is in, None where there is none.
        op: The anchor's op; empty in a plan file that says nothing of it.
    """

    key: str
    module: str | None
    op: str


def spots_of(choices: Mapping[str, Choice]) -> list[Spot]:
    """A spot for every entry, in the given order."""
    return [Spot(key, each.module, each.ops.partition("+")[0]) for key, each in choices.items()]


def places(spots: Iterable[Spot]) -> dict[str, Place]:
    """Place by key.

    Exporters number nodes over the whole model, so a block that is inserted shifts the names of
    all that follow. In a model with module paths a place is module, op, and which one of these it
    is in the order of the graph; else the node's name and op, where the op is known.
    """
    known = list(spots)
    if not any(each.module for each in known):
        return {each.key: (each.key, each.op) if each.op else (each.key,) for each in known}
    seen: Counter[tuple[str, str]] = Counter()
    found: dict[str, Place] = {}
    for each in known:
        pair = each.module or "", each.op
        seen[pair] += 1
        found[each.key] = (*pair, str(seen[pair]))
    return found


@dataclass(frozen=True)
class Matched:
    """The entries of a plan beside the regions of a model.

    Attributes:
        entries: Key of the entry by key of the region.
        entries_left: Keys of entries without a region.
        regions_left: Keys of regions without an entry.
    """

    entries: Mapping[str, str]
    entries_left: tuple[str, ...]
    regions_left: tuple[str, ...]


def matched(choices: Mapping[str, Choice], regions: Iterable[Spot]) -> Matched:
    """Pairs of equal places. Entries without an op, as older plan files have them, go by name."""
    spots, known = spots_of(choices), list(regions)
    bare = not any(each.op for each in spots)
    if bare:
        known = [Spot(each.key, None, "") for each in known]
    elif not any(each.module for each in spots):
        known = [Spot(each.key, None, each.op) for each in known]
    owner = {place: key for key, place in places(spots).items()}
    found = {key: owner.pop(place, None) for key, place in places(known).items()}
    return Matched(
        MappingProxyType({key: entry for key, entry in found.items() if entry is not None}),
        tuple(owner.values()),
        tuple(key for key, entry in found.items() if entry is None),
    )


def label(key: str, choice: Choice) -> str:
    """An entry in words: `encoder.0 Gemm 'node_linear_3'`."""
    where = " ".join(part for part in (choice.module, choice.ops) if part)
    return f"{where} '{key}'" if where else f"'{key}'"
