"""`Site`: one value to be observed, and where in the graph it lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from qcompiler.ir.element_types import element_type
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, is_observer
from qcompiler.quantization.observers import Observer, make_observer

METHOD = "method"
RESULTS = frozenset({"low", "high"})
"""Attributes that `calibrate` writes on Observer nodes; not options of the method."""


@dataclass(frozen=True)
class Site:
    """One observed value.

    Attributes:
        value: Its name, unique in the program, subgraphs included.
        method: Name in `OBSERVERS`.
        dtype: FLOAT, FLOAT16, BFLOAT16 or DOUBLE.
        nested: Whether it lives in the body of an If, Loop or Scan.
        producer: Name of the node that computes it, for messages; None for a graph input.
        options: Options of the method.
    """

    value: str
    method: str
    dtype: ir.DataType
    nested: bool = False
    producer: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def observer(self) -> Observer:
        """An empty observer of the site's method.

        Raises:
            ConfigurationError: An unknown method or option.
        """
        return make_observer(self.method, **self.options)


def observer_nodes(program: Program) -> Iterator[ir.Node]:
    """All Observer nodes, those of subgraphs included."""
    return (node for node in all_nodes(program.model) if is_observer(node))


def find_sites(program: Program) -> tuple[Site, ...]:
    """The sites that the program's Observer nodes mark, each value once."""
    sites: dict[str, Site] = {}
    for node in observer_nodes(program):
        value = node.inputs[0]
        assert value is not None
        name = value.name or ""
        producer = value.producer()
        sites.setdefault(
            name,
            Site(
                value=name,
                method=node.attributes.get_string(METHOD, "minmax") or "minmax",
                dtype=element_type(value) or ir.DataType.FLOAT,
                nested=value.graph is not program.graph,
                producer=producer.name if producer is not None else None,
                options=_options(node),
            ),
        )
    return tuple(sites.values())


def _options(node: ir.Node) -> dict[str, Any]:
    skipped = RESULTS | {METHOD}
    return {name: each.value for name, each in node.attributes.items() if name not in skipped}
