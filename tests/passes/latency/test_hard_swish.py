"""HardSwish and HardSigmoid in the parts that have integer kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qcompiler.passes.canonicalize import Canonicalize
from qcompiler.passes.latency.hard_swish import SpellHardSwish
from qcompiler.pipeline.contract import PassContext

Rewrite = Callable[..., Any]


@pytest.mark.parametrize(
    ("op", "parts"),
    [
        ("HardSwish", ("Mul", "Add", "Clip", "Mul")),
        ("HardSigmoid", ("Mul", "Add", "Clip")),
        ("HardSigmoid<alpha = 0.16666667, beta = 0.5>", ("Mul", "Add", "Clip")),
        ("HardSigmoid<alpha = 0.3, beta = -0.2>", ("Mul", "Add", "Clip")),
    ],
)
def test_parts(op: str, parts: tuple[str, ...], rewrite: Rewrite) -> None:
    found = rewrite(
        f"g (float[2,8] x) => (float[2,8] y) {{ y = {op}(x) }}", SpellHardSwish(least=0)
    )
    assert found.ops == parts


def test_canonicalize_puts_them_together_again(rewrite: Rewrite) -> None:
    text = "g (float[2,8] x) => (float[2,8] y) { y = HardSwish(x) }"
    program = rewrite(text, SpellHardSwish(least=0)).program
    Canonicalize().run(program, PassContext())
    assert [node.op_type for node in program.graph] == ["HardSwish"]


@pytest.mark.parametrize(
    ("shape", "rewritten"), [("2,64,1,1", False), ("2,64,8,8", True), ("2,64,H,W", True)]
)
def test_gates_of_a_few_numbers_stay(shape: str, rewritten: bool, rewrite: Rewrite) -> None:
    text = f"g (float[{shape}] x) => (float[{shape}] y) {{ y = HardSigmoid(x) }}"
    assert ("Clip" in rewrite(text, SpellHardSwish()).ops) == rewritten
