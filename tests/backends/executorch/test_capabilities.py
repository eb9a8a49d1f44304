"""The capability table and what the rest of the target knows of its rows."""

from __future__ import annotations

from qcompiler.backends.executorch.capabilities import EDGE_OPS, TABLE


def test_every_row_without_a_weight_has_a_name_in_executorchs_graph() -> None:
    """Its layers are counted by that name: a row without one would be a KeyError."""
    plain = {
        row.pattern.anchor
        for row in TABLE.rows
        if not any(form.weight is not None for form in row.implementations)
    }
    assert plain
    assert plain == set(EDGE_OPS)
