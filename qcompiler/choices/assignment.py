"""`assign`: the cheapest precision for every region, exactly, as a mixed integer linear program.

Variables: x[r, p] = 1 when region r runs as p; for every value v between regions and every storage
type that a form has it in, whether it exists so and what conversions that takes. A conversion is
paid once per value and type, however many users read it; between two integer types it goes through
float, as it is placed. Loss is additive over quantized values and weights; it is a constraint, time
is the objective (or the other way round). Solved by HiGHS through `scipy.optimize.milp`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.choices.interrupts import interruptible
from qcompiler.choices.quiet import quiet_stdout
from qcompiler.decisions.options import Options
from qcompiler.decisions.placement import ValueKey
from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.regions import region_of
from qcompiler.ir.walk import uses
from qcompiler.target.capability import Implementation

if TYPE_CHECKING:
    from scipy.optimize import LinearConstraint

_Row = tuple[dict[int, float], float, float]
"""Factors by column, and the lowest and highest sum."""

_GAP = 1e-4
"""Relative gap at which a plan counts as optimal; costs are measured far less exactly."""


@dataclass(frozen=True)
class Costs:
    """What the solver weighs; all in the same unit per kind.

    Attributes:
        regions: Cost by (region key, precision); a missing pair is not offered.
        quantize: Cost of making integers of a float value, by value name; the same for all types.
        dequantize: Cost of the way back.
        value_loss: Loss of a value being quantized, by value name and storage type.
        weight_loss: Loss of a quantized weight, by (region key, precision).
        alias: Values whose loss is that of another value, by name; it counts once.
    """

    regions: Mapping[tuple[str, str], float]
    quantize: Mapping[str, float] = field(default_factory=dict)
    dequantize: Mapping[str, float] = field(default_factory=dict)
    value_loss: Mapping[ValueKey, float] = field(default_factory=dict)
    weight_loss: Mapping[tuple[str, str], float] = field(default_factory=dict)
    alias: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """The solver's answer.

    Attributes:
        precisions: Precision by region key.
        cost: Objective value, conversions included.
        loss: Predicted loss.
        optimal: Whether optimality was proved within the time limit.
    """

    precisions: Mapping[str, str]
    cost: float
    loss: float
    optimal: bool


def assign(
    options: Sequence[Options],
    costs: Costs,
    max_loss: float | None = None,
    seconds: float = 10.0,
) -> Assignment:
    """Minimises cost over all legal assignments, with predicted loss at most `max_loss`.

    Args:
        options: Legal forms of every region (`region_options`); pins are respected.
        costs: What each choice and conversion costs and loses.
        max_loss: Bound on the sum of losses; None for no bound.
        seconds: Time limit of the solver.

    Raises:
        ConfigurationError: The pinned choices alone exceed the loss bound.
    """
    if not options:
        return Assignment({}, 0.0, 0.0, True)
    program = _Milp(options, costs)
    return program.solve(max_loss, seconds)


class _Milp:
    """Rows and columns of the program; columns are named by tuples."""

    def __init__(self, options: Sequence[Options], costs: Costs) -> None:
        self._options = options
        self._costs = costs
        self._columns: dict[tuple[str, ...], int] = {}
        self._objective: list[float] = []
        self._loss: list[float] = []
        self._binary: list[bool] = []
        self._rows: list[_Row] = []
        self._owner = region_of([each.region for each in options])
        self._forms: dict[str, dict[str, Implementation | None]] = {}
        for each in options:
            self._add_region(each)
        for value in self._values():
            self._add_value(value)
        for each in options:
            self._add_followers(each)

    def solve(self, max_loss: float | None, seconds: float) -> Assignment:
        """Runs HiGHS on numbers near 1, since its tolerances are absolute."""
        from scipy.optimize import Bounds, milp

        objective, loss = np.asarray(self._objective), np.asarray(self._loss)
        unit = float(np.abs(objective).max(initial=0.0)) or 1.0
        rows = self._rows if max_loss is None else [*self._rows, _loss_bound(loss, max_loss)]
        with quiet_stdout():
            result = interruptible(
                partial(
                    milp,
                    objective / unit,
                    constraints=self._matrix(rows) if rows else (),
                    bounds=Bounds(0, 1),
                    integrality=np.asarray(self._binary, dtype=np.uint8),
                    options={"time_limit": seconds, "mip_rel_gap": _GAP},
                )
            )
        if result.x is None:
            raise ConfigurationError(
                "no assignment of precisions keeps the loss bound",
                why=str(result.message),
                fix="raise max_loss or remove an override",
            )
        chosen = {
            key[1]: key[2]
            for key, column in self._columns.items()
            if key[0] == "x" and result.x[column] > 0.5
        }
        cost = float(result.fun) * unit
        return Assignment(chosen, cost, float(loss @ np.round(result.x)), result.status == 0)

    def _column(self, key: tuple[str, ...], cost: float, loss: float, binary: bool) -> int:
        self._columns[key] = len(self._objective)
        self._objective.append(cost)
        self._loss.append(loss)
        self._binary.append(binary)
        return self._columns[key]

    def _row(self, entries: dict[int, float], low: float, high: float) -> None:
        self._rows.append((entries, low, high))

    def _add_region(self, options: Options) -> None:
        """x[r, p] for every priced form; exactly one is 1."""
        key = options.region.key
        forms: dict[str, Implementation | None] = {FLOAT: None}
        forms.update({each.precision: each for each in options.implementations})
        if options.pinned is not None:
            forms = {options.pinned: forms[options.pinned]}
        priced = {name: form for name, form in forms.items() if (key, name) in self._costs.regions}
        if not priced:
            priced = {name: forms[name] for name in [options.pinned or FLOAT]}
        self._forms[key] = priced
        entries = {}
        for name in priced:
            cost = self._costs.regions.get((key, name), 0.0)
            loss = self._costs.weight_loss.get((key, name), 0.0)
            entries[self._column(("x", key, name), cost, loss, True)] = 1.0
        self._row(entries, 1.0, 1.0)

    def _add_followers(self, options: Options) -> None:
        """x[r, p] <= its operand is written so, for forms that pay behind integers only."""
        if options.pinned is not None:
            return
        for name, form in self._forms[options.region.key].items():
            if form is None or form.activation is None or not form.follows:
                continue
            for operand in form.choose_operands(options.region.activations):
                written = self._writers(operand.value).get(form.activation.dtype.name, [])
                reads = {self._columns["x", options.region.key, name]: -1.0}
                self._row(_merged(reads, dict.fromkeys(written, 1.0)), 0.0, np.inf)

    def _values(self) -> list[ir.Value]:
        found: dict[ir.Value, None] = {}
        for each in self._options:
            for operand in each.region.activations:
                found[operand.value] = None
            found[each.region.output] = None
        return list(found)

    def _add_value(self, value: ir.Value) -> None:
        """Conversions and loss of one value, from what its producer and users choose."""
        written = self._writers(value)
        readers = self._readers(value)
        types = dict.fromkeys([*written, *(kind for read in readers for kind in read)])
        for kind in types:
            read = [each.get(kind, []) for each in readers]
            self._add_type(value, kind, written.get(kind, []), read)

    def _add_type(
        self, value: ir.Value, kind: str, written: list[int], readers: list[list[int]]
    ) -> None:
        """The value in one type: columns that write it, and those of each reader that read it."""
        name = value.name or ""
        quantize = self._column(("q", name, kind), self._costs.quantize.get(name, 0.0), 0.0, False)
        lossy = self._lossy((self._costs.alias.get(name, name), kind))
        minus = dict.fromkeys(written, -1.0)
        if written:
            self._row({lossy: 1.0, **minus}, 0.0, np.inf)
        for columns in filter(None, readers):
            reads = dict.fromkeys(columns, -1.0)
            made = _merged(reads, dict.fromkeys(written, 1.0))
            self._row({quantize: 1.0, **made}, 0.0, np.inf)
            self._row({lossy: 1.0, **reads}, 0.0, np.inf)
        if not written:
            return
        back = self._column(("d", name, kind), self._costs.dequantize.get(name, 0.0), 0.0, False)
        for columns in readers:
            # whoever does not read this type reads float or makes another type of it
            reads = dict.fromkeys(columns, 1.0)
            self._row({back: 1.0, **_merged(reads, minus)}, 0.0, np.inf)
        if self._has_float_user(value):
            self._row({back: 1.0, **minus}, 0.0, np.inf)

    def _lossy(self, root: ValueKey) -> int:
        """The column of a value's loss, one for all values that pass its integers on."""
        key = ("l", *root)
        if key not in self._columns:
            return self._column(key, 0.0, self._costs.value_loss.get(root, 0.0), False)
        return self._columns[key]

    def _writers(self, value: ir.Value) -> dict[str, list[int]]:
        """Columns under which the value is produced as integers, by storage type."""
        producer = value.producer()
        region = self._owner.get(producer) if producer is not None else None
        found: dict[str, list[int]] = {}
        if region is None or region.output is not value:
            return found
        for name, form in self._forms[region.key].items():
            if form is not None and form.output is not None:
                column = self._columns["x", region.key, name]
                found.setdefault(form.output.dtype.name, []).append(column)
        return found

    def _readers(self, value: ir.Value) -> list[dict[str, list[int]]]:
        """Per region that reads the value: the columns under which it reads integers, by type."""
        readers: dict[str, dict[str, list[int]]] = {}
        for use in uses(value):
            region = self._owner.get(use.node)
            if region is None or region.key in readers:
                continue
            found = readers[region.key] = {}
            for name, form in self._forms[region.key].items():
                if form is None or form.activation is None:
                    continue
                operands = form.choose_operands(region.activations)
                if any(operand.value is value for operand in operands):
                    column = self._columns["x", region.key, name]
                    found.setdefault(form.activation.dtype.name, []).append(column)
        return list(readers.values())

    def _has_float_user(self, value: ir.Value) -> bool:
        return value.is_graph_output() or any(
            self._owner.get(use.node) is None for use in uses(value)
        )

    def _matrix(self, rows: Sequence[_Row]) -> LinearConstraint:
        """One sparse matrix of 32-bit indices: before scipy 1.15, HiGHS takes no others."""
        from scipy.optimize import LinearConstraint
        from scipy.sparse import csr_array

        lengths = [len(entries) for entries, _, _ in rows]
        columns = np.fromiter((c for entries, _, _ in rows for c in entries), np.int32)
        data = np.fromiter((v for entries, _, _ in rows for v in entries.values()), np.float64)
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        matrix = csr_array((data, columns, starts), shape=(len(rows), len(self._objective)))
        return LinearConstraint(matrix, [row[1] for row in rows], [row[2] for row in rows])


def _loss_bound(loss: npt.NDArray[np.float64], bound: float) -> _Row:
    """Sum of losses <= bound, in units of the bound; what breaks it alone counts as ten of it."""
    unit = bound if bound > 0 else float(loss.max(initial=0.0)) or 1.0
    entries = {int(column): min(float(loss[column] / unit), 10.0) for column in loss.nonzero()[0]}
    return entries, -np.inf, 1.0 if bound > 0 else 0.0


def _merged(a: dict[int, float], b: dict[int, float]) -> dict[int, float]:
    return {column: a.get(column, 0.0) + b.get(column, 0.0) for column in {**a, **b}}
