"""A sample of the structures that ONNX Runtime's quantizer is tested on, beside that quantizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peer_cases import structures
from benchmarks.peer_structures import Count, Result, compared
from qcompiler.ir.text import from_text

SAMPLE = (
    "conv bn relu", "residual relu", "pool flatten gemm", "gemm both transposed", "matmul left",
    "projection bias", "attention", "add scalar (rows)", "where constant (rows)", "concat (rows)",
)  # fmt: skip


def test_structures_are_many_and_well_formed() -> None:
    found = dict(structures())
    assert len(found) > 130
    for text in found.values():
        program = from_text(text)
        assert program.graph.outputs[0].name == "y"


@pytest.mark.parametrize("name", SAMPLE)
def test_no_structure_runs_less_in_integers_than_the_peers(name: str, tmp_path: Path) -> None:
    found = compared(name, dict(structures())[name], tmp_path)
    assert found.ours is not None
    assert found.peer is not None
    assert found.peer.integer > 0
    assert not found.behind
    assert found.ours.decibels > 25


def test_what_is_behind() -> None:
    """The judgement sees a refusal and operators left in float; a ruined peer is no measure."""
    peer = Count(3, 0, 40.0)
    assert Result("refused", None, peer).behind
    assert Result("float", Count(2, 1, 40.0), peer).behind
    assert not Result("folded", Count(2, 0, 40.0), peer).behind
    assert not Result("ruined", Count(2, 1, 40.0), Count(3, 0, 3.0)).behind
