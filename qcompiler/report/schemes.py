"""Which scheme takes what on which target, read off their capability tables."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from qcompiler.decisions.schemes import SCHEMES, Scheme
from qcompiler.decisions.wanted import family
from qcompiler.target.capability import CapabilityTable

_NOTHING = "–"


def scheme_table(tables: Mapping[str, CapabilityTable]) -> str:
    """Markdown: a row a scheme, a column a table; how the forms that it takes compute.

    Schemes that differ in a number, and in nothing that is said here, share a row.
    """
    lines = [["scheme", *tables], ["---"] * (1 + len(tables))]
    told = [
        (name, [taken(scheme, table) for table in tables.values()])
        for name, scheme in SCHEMES.items()
    ]
    for (_, cells), group in groupby(told, key=lambda each: (family(each[0]), each[1])):
        names = [f"`{name}`" for name, _ in group]
        shown = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
        lines.append([shown, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def taken(scheme: Scheme, table: CapabilityTable) -> str:
    """The kernels of what a scheme takes first in each row of a table, and of how many rows."""
    if scheme.is_auto:
        count = sum(any(map(scheme.takes, row.implementations)) for row in table.rows)
        return f"searched {count}"
    if not any(map(scheme.means, table.forms)):
        return _NOTHING
    found: dict[str, int] = {}
    for row in table.rows:
        form = scheme.choose(row.implementations)
        if form is not None:
            kind = "simulated" if form.simulated else form.kernel.value
            found[kind] = found.get(kind, 0) + 1
    return ", ".join(f"{kind} {count}" for kind, count in found.items()) or _NOTHING
