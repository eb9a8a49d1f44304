"""Dead code: what does not reach an output goes, in bodies too; watching keeps nothing alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qcompiler.ir.text import from_text
from qcompiler.passes.dead_code import DeadCode
from qcompiler.pipeline.contract import PassContext

Rewrite = Callable[..., Any]


def test_unused_chains_and_initializers_go(rewrite: Rewrite) -> None:
    text = """g (float[2] x) => (float[2] y) <float[2] unused = {1,2}> {
        y = Relu(x) a = Abs(x) b = Neg(a) }"""
    found = rewrite(text, DeadCode())
    assert found.lines == ("y = Relu (x)",)
    assert not found.program.graph.initializers
    assert found.reports[0].edits.erased == 2


def test_bodies_are_cleaned_before_what_they_read_from_outside(rewrite: Rewrite) -> None:
    text = """g (bool c, float[2] x) => (float[2] y) {
        outer = Abs(x)
        y = If(c) <
            then_branch = t () => (float[2] p) { dead = Neg(outer) p = Relu(x) },
            else_branch = e () => (float[2] q) { q = Neg(x) }>
    }"""
    feed = {"c": np.array(False), "x": np.array([-1, 2], np.float32)}
    assert rewrite(text, DeadCode(), feed=feed).ops == ("If",)


def test_requests_stay_on_live_values_only() -> None:
    program = from_text("""g (float[2] x) => (float[2] y) {
        y = Relu(x)
        dead = Abs(x)
    }
    # observe "y": range {"method": "minmax"}
    # observe "dead": range {"method": "minmax"}""")
    report = DeadCode().run(program, PassContext())
    assert [node.op_type for node in program.graph] == ["Relu"]
    assert [request.value for request in program.requests] == ["y"]
    assert report.edits.erased == 1
