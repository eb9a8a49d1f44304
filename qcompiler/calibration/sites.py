"""`Site`: one statistic to be taken of one value, and where in the graph that lives."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from qcompiler.ir.element_types import element_type
from qcompiler.ir.live import Live, live_bounds
from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.ir.walk import values_by_name
from qcompiler.quantization.observers import Observer
from qcompiler.statistics.kinds import collector
from qcompiler.statistics.statistic import Statistic


@dataclass(frozen=True)
class Site:
    """One observed value.

    Attributes:
        request: What is asked of it.
        dtype: FLOAT, FLOAT16, BFLOAT16 or DOUBLE.
        nested: Whether it lives in the body of an If, Loop or Scan.
        producer: Name of the node that computes it, for messages; None for a graph input.
        live: What its readers can tell apart; None for everything.
        has_rows: Whether it is known to have a first axis, that of its samples.
    """

    request: Request
    dtype: ir.DataType
    nested: bool = False
    producer: str | None = None
    live: Live | None = field(default=None, compare=False)
    has_rows: bool = field(default=False, compare=False)

    @property
    def value(self) -> str:
        """The value's name."""
        return self.request.value

    def collector(self) -> Observer | Statistic:
        """The empty statistic.

        Raises:
            ConfigurationError: An unknown kind, method or option.
        """
        return collector(self.request)


def find_sites(program: Program) -> tuple[Site, ...]:
    """The sites of the program's requests; a value that is gone has none."""
    values = values_by_name(program.model)
    return tuple(
        _site(request, values[request.value], program)
        for request in program.requests
        if request.value in values
    )


def _site(request: Request, value: ir.Value, program: Program) -> Site:
    producer = value.producer()
    nested = value.graph is not program.graph
    return Site(
        request,
        element_type(value) or ir.DataType.FLOAT,
        nested,
        producer.name if producer is not None else None,
        None if nested else live_bounds(value),
        value.shape is not None and len(value.shape) > 0,
    )
