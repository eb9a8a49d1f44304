"""Writes docs/operators.md from the capability tables: `python -m benchmarks.operators`."""

from __future__ import annotations

import argparse
from pathlib import Path

from qcompiler.cli.arguments import tables_of
from qcompiler.report.operators import KEY, STARRED, markdown, operator_lines, overview_lines
from qcompiler.target.capability import CapabilityTable

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operators.md"
_MORE = (
    "tensorrt{precision=fp8,compute_capability=89}",
    "tensorrt{precision=int4-weights,compute_capability=89}",
)
_HEAD = """# Operators

Which ONNX operator has which quantized form on which target. The tables are read off the
capability tables (`qcompiler ops`, `qcompiler ops --target NAME --json`), and a test holds that
this page is current (`python -m benchmarks.operators` writes it).

Whether a certain layer takes a form is said by the conditions of its row (types, shapes,
attributes): `qcompiler inspect MODEL --target NAME --why NODE` gives the reason for one node,
[targets.md](targets.md) says where conditions stand. Trainable means that quantization-aware
training can put the form's grid into a module: all but recurrent layers, and but ranges that each
call finds anew.
"""


def tables() -> dict[str, CapabilityTable]:
    """Every target, and TensorRT's other precisions."""
    found = tables_of(None)
    for written in _MORE:
        found |= tables_of(written)
    return found


def page() -> str:
    """The whole text."""
    every = tables()
    key = KEY.partition(" One target")[0]
    parts = [_HEAD, "## All targets\n", key + "\n", markdown(overview_lines(_short(every))) + "\n"]
    parts += ["## One by one\n", STARRED + "\n"]
    for name, table in every.items():
        parts += [f"### {name}\n", markdown(operator_lines(table)) + "\n"]
    return "\n".join(parts)


def _short(every: dict[str, CapabilityTable]) -> dict[str, CapabilityTable]:
    """Columns named by precision where a target has several tables."""
    names = {name: name.replace("{precision=", " ").partition(",")[0] for name in every}
    return {names[name]: table for name, table in every.items()}


def main() -> None:
    """Writes the page."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE.name}")


if __name__ == "__main__":
    main()
