"""The dynamic form of GRU, taken apart, against the reference evaluator of ONNX and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.forms import region_options
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text

Array = npt.NDArray[Any]
STEPS, BATCH, INPUTS, HIDDEN = 6, 2, 5, 8


def program_of(
    rng: np.random.Generator, way: str = "forward", operands: str = "x, w, r, b", more: str = ""
) -> Program:
    directions = 2 if way == "bidirectional" else 1
    rows = 3 * HIDDEN
    weights = {
        "w": rng.standard_normal((directions, rows, INPUTS)).astype(np.float32) / 2,
        "r": rng.standard_normal((directions, rows, HIDDEN)).astype(np.float32) / 3,
        "b": rng.standard_normal((directions, 2 * rows)).astype(np.float32) / 4,
        "h": rng.standard_normal((directions, BATCH, HIDDEN)).astype(np.float32) / 2,
    }
    named = ", ".join(f"float[{','.join(map(str, a.shape))}] {n}" for n, a in weights.items())
    text = f"""g (float[s,{BATCH},{INPUTS}] x) => (float[] y, float[] last) <{named}> {{
    [it] y, last = GRU<hidden_size = {HIDDEN}, direction = "{way}"{more}>({operands}) }}"""
    return from_text(text, weights)


def runs_dynamic(program: Program) -> bool:
    target = OnnxRuntime(1)
    (options,) = region_options(program, target, target.regions(program))
    return options.named("int8-dynamic") is not None


@pytest.mark.parametrize("operands", ["x, w, r, b", "x, w, r", "x, w, r, b, , h"])
@pytest.mark.parametrize("way", ["forward", "reverse", "bidirectional"])
def test_the_parts_compute_the_gru(way: str, operands: str, rng: np.random.Generator) -> None:
    """30 dB or more from 8-bit weights and activations; another step order would be below 0 dB."""
    program = program_of(rng, way, operands, ", linear_before_reset = 1")
    wanted_by = ReferenceEvaluator(ir.to_proto(program.model))
    feeds = [
        {"x": rng.standard_normal((steps, BATCH, INPUTS)).astype(np.float32)}
        for steps in (STEPS, STEPS, 1)
    ]
    compiled = qc.compile(program, OnnxRuntime(1), feeds, scheme="dynamic", recipe="fast")
    assert compiled.plan.precisions == {"it": "int8-dynamic"}
    assert compiled.kernels.missed == {}
    ways = 2 if way == "bidirectional" else 1
    assert compiled.kernels.ops.get("DynamicQuantizeMatMul", 0) == 2 * ways
    for feed in feeds[::2]:
        if way == "forward":  # the reference evaluator knows no other direction
            wanted = wanted_by.run(None, feed)
        else:
            plain = qc.compile(program, OnnxRuntime(1), feeds, scheme="float32", recipe="fast")
            wanted = plain.run(feed)
        for expected, found in zip(wanted, compiled.run(feed), strict=True):
            assert found.shape == expected.shape
            error = np.square(found - expected).sum() / np.square(expected).sum()
            assert 0 < error < 1e-3


def test_the_last_state_alone_is_enough(rng: np.random.Generator) -> None:
    program = program_of(rng, more=", linear_before_reset = 1")
    del program.graph.outputs[0]
    proto = ir.to_proto(program.model)
    feed = {"x": rng.standard_normal((STEPS, BATCH, INPUTS)).astype(np.float32)}
    compiled = qc.compile(proto, OnnxRuntime(1), [feed], scheme="dynamic", recipe="fast")
    (wanted,), (found,) = ReferenceEvaluator(proto).run(None, feed), compiled.run(feed)
    assert 0 < np.square(found - wanted).sum() < 1e-3 * np.square(wanted).sum()


@pytest.mark.parametrize(
    "more",
    [
        "",
        ", linear_before_reset = 1, clip = 1.0",
        ', linear_before_reset = 1, activations = ["Sigmoid", "Relu"]',
    ],
)
def test_other_grus_stay_float(more: str, rng: np.random.Generator) -> None:
    assert runs_dynamic(program_of(rng, more=", linear_before_reset = 1"))
    assert not runs_dynamic(program_of(rng, more=more))


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_recurrent_weights_of_torch_modules_are_quantized(cell: str) -> None:
    """torch exports the gates as slices put in another order; 96 hidden units make them large."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = getattr(torch.nn, cell)(48, 96, batch_first=True).eval()
    feeds = [(torch.randn(2, 5, 48),) for _ in range(3)]
    compiled = qc.compile(module, OnnxRuntime(1), feeds, scheme="dynamic", recipe="fast")
    assert set(compiled.plan.precisions.values()) >= {"int8-dynamic"}
    wanted = module(*feeds[0])[0].detach().numpy()
    found = compiled.run(feeds[0])[0]
    assert 0 < np.square(found - wanted).sum() < 1e-3 * np.square(wanted).sum()
