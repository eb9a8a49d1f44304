"""Dynamic quantization: linear layers, LSTM and GRU on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.engine import TorchEngine
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower
from qcompiler.execution.session import OrtSession
from qcompiler.ir.plan import Choice, Plan
from qcompiler.pipeline import registry

ENGINES = adapter.available_engines()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("biased", [True, False])
def test_dynamic_linear_agrees_with_onnxruntime(
    engine: str, biased: bool, qdq: Any, rng: Any
) -> None:
    w = rng.integers(-127, 128, (24, 10)).astype(np.int8)
    scale = rng.uniform(0.001, 0.003, 10).astype(np.float32)
    bias = rng.normal(0, 1, 10).astype(np.float32)
    g = qdq()
    x = g.input(["n", 24])
    g.nodes.append(_dynamic_quantize(x))
    product = g.node("MatMulInteger", "xq", g.constant(w), "xz", g.constant(np.zeros(10, np.int8)))
    y = g.node("Mul", g.node("Cast", product, to=1), g.node("Mul", "xs", g.constant(scale)))
    y = g.node("Add", y, g.constant(bias)) if biased else y
    model = g.model(y)
    data = rng.normal(0, 2, (7, 24)).astype(np.float32)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {x: data})[0]
    lowered = lower(g.program(y).model, Setting(engine))
    assert lowered.kernels.ops == {"quantized.linear_dynamic.default": 1}
    with adapter.engine_scope(engine), torch.no_grad():
        got = lowered.module(torch.from_numpy(data))[0].numpy()
    step = (data.max() - min(data.min(), 0)) / 255
    noise = 0.5 * step * np.abs(w.astype(np.float32) * scale).max(0) * 3
    assert np.abs(got - expected).max() < noise.max()
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.99999


def _dynamic_quantize(x: str) -> Any:
    from onnx import helper

    return helper.make_node("DynamicQuantizeLinear", [x], ["xq", "xs", "xz"])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_planned_recurrent_layers_run_in_int8(
    engine: str, op: str, direction: str, qdq: Any, rng: Any
) -> None:
    directions, gates = 2 if direction == "bidirectional" else 1, 4 if op == "LSTM" else 3
    g = qdq()
    x = g.input([5, 3, 6])
    shapes = [(gates * 8, 6), (gates * 8, 8), (gates * 16,)]
    parts = [g.constant(rng.normal(0, 0.3, (directions, *s)).astype(np.float32)) for s in shapes]
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    y = g.node(op, x, *parts, outputs=2, hidden_size=8, direction=direction, **extra)
    model, program = g.model(y), g.program(y)
    target = registry.find_target(engine)()
    assert isinstance(target, TorchEngine)
    (region,) = target.regions(program)
    program.plan = Plan(engine, {region.key: Choice("int8-dynamic")})
    artifact = target.lower(program)
    data = rng.normal(0, 1, (5, 3, 6)).astype(np.float32)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {x: data})[0]
    got = artifact.run({x: data})[0]
    assert len(artifact.kernels().integer) == 1
    assert got.shape == expected.shape
    assert 0 < np.abs(got - expected).max() < 0.05
    stored = {n.op_type for n in program.graph}
    assert "DequantizeLinear" not in stored, "the caller's program is left as it was"


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("fed", [None, 0, 1, 2])
def test_recurrent_layers_with_fed_weights_or_biases_have_no_kernel(
    op: str, fed: int | None, qdq: Any, rng: Any
) -> None:
    """A cell packs all of them when it is made."""
    gates = 4 if op == "LSTM" else 3
    g = qdq()
    x = g.input([5, 3, 6])
    shapes = [(1, gates * 8, 6), (1, gates * 8, 8), (1, gates * 16)]
    parts = [
        g.input(shape) if place == fed else g.constant(np.ones(shape, np.float32))
        for place, shape in enumerate(shapes)
    ]
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    program = g.program(g.node(op, x, *parts, outputs=2, hidden_size=8, **extra))
    target = registry.find_target("fbgemm")()
    forms = [
        form.precision for each in target.regions(program) for form in target.implementations(each)
    ]
    assert forms == ([] if fed is not None else ["int8-dynamic"])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 1, 5)])
def test_what_is_added_to_a_dynamic_product_may_give_it_axes(
    engine: str, shape: tuple[int, ...], qdq: Any, rng: Any
) -> None:
    g = qdq()
    x = g.input([2, 4])
    g.nodes.append(_dynamic_quantize(x))
    weight = rng.integers(-9, 9, (4, 5)).astype(np.int8)
    w, zeros = g.constant(weight), g.constant(np.int8(0))
    product = g.node("Cast", g.node("MatMulInteger", "xq", w, "xz", zeros), to=1)
    y = g.node("Mul", product, g.node("Mul", "xs", g.constant(np.float32(0.1))))
    y = g.node("Add", y, g.constant(rng.normal(0, 1, shape).astype(np.float32)))
    model, data = g.model(y), rng.normal(0, 1, (2, 4)).astype(np.float32)
    # Optimized, ONNX Runtime takes it for a bias of its own kernel, too.
    plain = OrtSession(model.SerializeToString(), optimize=False)
    (expected,) = plain.run({x: data})
    lowered = lower(g.program(y).model, Setting(engine))
    with adapter.engine_scope(engine), torch.no_grad():
        got = lowered.module(torch.from_numpy(data))[0].numpy()
    assert got.shape == expected.shape
    step = (data.max() - min(data.min(), 0)) / 255  # rounded, and shifted, by one at most
    assert np.abs(got - expected).max() <= 2 * step * 0.1 * np.abs(weight).sum(0).max()
