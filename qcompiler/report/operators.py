"""Which operator runs in which quantized form on which target, read off the capability tables."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.markup import escape

from qcompiler.decisions.wanted import families
from qcompiler.report.plain_table import plain_table
from qcompiler.strict_json import json_text
from qcompiler.target.capability import CapabilityTable, Implementation, Kernel, OpCapability

_NOTHING = "–"
_LEAST, _LEAST_OF_ALL = 100, 110
"""Columns that the tables take in a narrower terminal, too."""
_ROLLED = ("LSTM", "GRU", "RNN")
LETTERS = {"static": "S", "dynamic": "D", "weight_only": "W", "qat": "T"}
"""How a kind of form is written in the table of all targets."""
KEY = (
    "S static, D dynamic, W weight-only, T trainable (QAT); what is not listed runs in float. "
    "One target in full: --target NAME"
)
STARRED = (
    "What is not listed runs in float. A star: simulated, the engine computes it in float. "
    "Names that differ in bits of levels or sizes of blocks, as int4-weights-b128, are there once."
)


@dataclass(frozen=True)
class OperatorSupport:
    """An operator on one target; precisions by how they compute.

    Attributes:
        op: ONNX operator.
        absorbs: Operators behind it that its kernel absorbs.
        static: Activations with calibrated ranges.
        dynamic: Activations quantized per call.
        weight_only: Stored in integers, computed in float.
        qat: Forms that `prepare_qat` can train: those with a fixed grid.
        simulated: Forms among them that the engine computes in float.
        conditions: Names of the constraints under which the forms are legal.
    """

    op: str
    absorbs: tuple[str, ...]
    static: tuple[str, ...]
    dynamic: tuple[str, ...]
    weight_only: tuple[str, ...]
    qat: tuple[str, ...]
    simulated: tuple[str, ...]
    conditions: tuple[str, ...]


def operator_support(table: CapabilityTable) -> tuple[OperatorSupport, ...]:
    """Every operator that a table has quantized forms of, by name; others run in float."""
    return tuple(sorted(map(_support, table.rows), key=lambda each: each.op))


def is_trainable(op: str, form: Implementation) -> bool:
    """Whether quantization-aware training can put its grid in place (`lowering/torch_fx`)."""
    return form.kernel is not Kernel.DYNAMIC and op not in _ROLLED


def _support(row: OpCapability) -> OperatorSupport:
    op, forms = row.pattern.anchor, row.implementations
    behind = {name for each in row.pattern.epilogues for name in each.ops}
    return OperatorSupport(
        op,
        tuple(sorted(behind)),
        _names(forms, Kernel.STATIC),
        _names(forms, Kernel.DYNAMIC),
        _names(forms, Kernel.WEIGHT_ONLY),
        tuple(form.precision for form in forms if is_trainable(op, form)),
        tuple(form.precision for form in forms if form.simulated),
        tuple(each.name for each in row.constraints),
    )


def _names(forms: Iterable[Implementation], kernel: Kernel) -> tuple[str, ...]:
    return tuple(form.precision for form in forms if form.kernel is kernel)


def operator_lines(table: CapabilityTable) -> list[list[str]]:
    """Header and rows of one target's table, sizes of blocks left out."""
    lines = [["operator", "static", "dynamic", "weight-only", "QAT", "if"]]
    for each in operator_support(table):
        behind = f" [+ {'/'.join(each.absorbs)}]" if each.absorbs else ""
        kinds = (each.static, each.dynamic, each.weight_only)
        cells = [_short(names, each.simulated) for names in kinds]
        trained = "yes" if each.qat else _NOTHING
        lines.append([each.op + behind, *cells, trained, ", ".join(each.conditions) or _NOTHING])
    return lines


def _short(names: Iterable[str], simulated: Iterable[str]) -> str:
    """A name for all that differ in numbers only; a star says simulated."""
    said = set(simulated)
    shown = [name + ("*" if name in said else "") for name in families(names)]
    return ", ".join(shown) or _NOTHING


def overview_lines(tables: Mapping[str, CapabilityTable]) -> list[list[str]]:
    """A row an operator, a column a target; letters say which kinds of forms there are."""
    support = {
        name: {each.op: each for each in operator_support(table)} for name, table in tables.items()
    }
    ops = sorted({op for each in support.values() for op in each})
    lines = [["operator", *tables]]
    for op in ops:
        cells = [_letters(found.get(op)) for found in support.values()]
        lines.append([op, *cells])
    return lines


def _letters(support: OperatorSupport | None) -> str:
    if support is None:
        return _NOTHING
    return "".join(letter for kind, letter in LETTERS.items() if getattr(support, kind)) or _NOTHING


def markdown(lines: Iterable[Iterable[str]]) -> str:
    """A table of Markdown; the first line is its header."""
    rows = [list(each) for each in lines]
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def support_text(tables: Mapping[str, CapabilityTable], as_json: bool, width: int) -> str:
    """What `qcompiler ops` prints: one target's forms, or letters for all targets; or JSON."""
    if as_json:
        found = {name: list(map(asdict, operator_support(each))) for name, each in tables.items()}
        return json_text(found) + "\n"
    one = len(tables) == 1
    name, table = next(iter(tables.items()))
    lines = operator_lines(table) if one else overview_lines(tables)
    shown = plain_table(f"operators in integers on {name}" if one else "", lines[0])
    for line in lines[1:]:
        shown.add_row(*map(escape, line))
    shown.columns[0].no_wrap = True
    for column in shown.columns:
        column.overflow = "fold"  # a name that is cut cannot be asked for
    least = _LEAST if one else _LEAST_OF_ALL
    console = Console(
        file=io.StringIO(), width=max(width, least), color_system=None, highlight=False
    )
    console.print(shown)
    console.print(STARRED if one else KEY, soft_wrap=True)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()
