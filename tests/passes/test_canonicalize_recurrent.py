"""Recurrent layers that say their defaults are those that leave them out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.execution.session import OrtSession
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_nodes
from qcompiler.passes.canonicalize import Canonicalize
from qcompiler.pipeline.contract import PassContext
from tests.oracle import HALF_PERCENT, noise, normal_feed

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
NAMES = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
TRIED = {"LSTM": "", "GRU": ", linear_before_reset = 1", "RNN": ""}


def layer(op: str, direction: str, attributes: str) -> qc.Program:
    count, gates = 1 + (direction == "bidirectional"), GATES[op]
    return from_text(
        f"g (float[5,2,12] x) => (float[] y, float[] h) <float[{count},{8 * gates},12] w, "
        f"float[{count},{8 * gates},8] r, float[{count},{16 * gates}] b> {{ [it] y, h = "
        f'{op}<hidden_size = 8, direction = "{direction}"{TRIED[op]}{attributes}>(x, w, r, b) }}'
    )


def said(names: list[str]) -> str:
    return ", activations = [" + ", ".join(f'"{name}"' for name in names) + "]"


def canonical(program: qc.Program) -> dict[str, Any]:
    Canonicalize().run(program, PassContext())
    (node,) = [each for each in all_nodes(program.model) if each.op_type in GATES]
    return {name: attribute.value for name, attribute in node.attributes.items()}


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("change", [str, str.lower, str.upper])
def test_default_activations_are_left_out(op: str, direction: str, change: Any) -> None:
    names = [change(name) for name in NAMES[op] * (1 + (direction == "bidirectional"))]
    given = said(names) + ", activation_alpha = [0.5], layout = 0"
    assert canonical(layer(op, direction, given)) == canonical(layer(op, direction, ""))


@pytest.mark.parametrize(
    ("op", "direction", "names"),
    [
        ("LSTM", "forward", ["Sigmoid", "relu", "Tanh"]),
        ("LSTM", "bidirectional", ["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Softsign"]),
        ("GRU", "forward", ["hardsigmoid", "Tanh"]),
        ("RNN", "bidirectional", ["Tanh", "Relu"]),
    ],
)
def test_other_activations_stay_in_any_case(op: str, direction: str, names: list[str]) -> None:
    program, feed = layer(op, direction, said(names)), normal_feed(0, x=(5, 2, 12))
    wanted = OrtSession(program.model).run(feed)
    compiled = qc.compile(program, "fbgemm", [feed], scheme="float32", recipe="fast")
    assert list(canonical(program)["activations"]) == names
    for have, want in zip(compiled.run(feed), wanted, strict=True):
        # Some thousand float32 roundings of values below 4, in another order.
        np.testing.assert_allclose(have, want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("target", ["onnxruntime", "fbgemm"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_said_defaults_run_in_integers(op: str, target: str, direction: str) -> None:
    names = [name.lower() for name in NAMES[op] * (1 + (direction == "bidirectional"))]
    program, feed = layer(op, direction, said(names)), normal_feed(0, x=(5, 2, 12))
    wanted = OrtSession(program.model).run(feed)
    compiled = qc.compile(program, target, [feed], scheme="dynamic", recipe="fast")
    assert set(compiled.plan.precisions.values()) == {"int8-dynamic"}
    assert compiled.verify().ok
    for have, want in zip(compiled.run(feed), wanted, strict=True):
        assert 0 < noise(want, have) < HALF_PERCENT
