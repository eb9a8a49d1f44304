"""Which scheme takes what on which target, read off their capability tables."""

from __future__ import annotations

from collections.abc import Mapping

from qcompiler.config import SCHEMES, Scheme
from qcompiler.target.capability import CapabilityTable

_NOTHING = "–"


def scheme_table(tables: Mapping[str, CapabilityTable]) -> str:
    """Markdown: a row a scheme, a column a table; how the forms that it takes compute."""
    lines = [["scheme", *tables], ["---"] * (1 + len(tables))]
    for name, scheme in SCHEMES.items():
        lines.append([f"`{name}`", *(taken(scheme, table) for table in tables.values())])
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
