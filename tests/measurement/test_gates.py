"""What gates predict against what the engine loses, for layers whose noise is inside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.choices.prediction import LossModel
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.decisions.resolve import resolve
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.gate import WEIGHT, GateModel
from qcompiler.measurement.gates import gate_model
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.probing import Prober
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

Array = npt.NDArray[Any]
HIDDEN = 16
TEXT = """g (float[12,2,8] x) => (float[12,{d},2,16] y, float[{d},2,16] last)
<float[{d},64,8] w, float[{d},64,16] r, float[8,8] m>
{{ v = MatMul(x, m) [cell] y, last = LSTM<hidden_size = 16, direction = "{way}">(v, w, r) }}"""


def weights(directions: int, recurrent: float, rng: np.random.Generator) -> dict[str, Array]:
    return {
        "w": 0.3 * rng.standard_normal((directions, 64, 8)).astype(np.float32),
        "r": recurrent * rng.standard_normal((directions, 64, HIDDEN)).astype(np.float32),
        "m": rng.standard_normal((8, 8)).astype(np.float32),
    }


def predicted_and_true(program: Program, feeds: list[dict[str, Array]]) -> tuple[float, float]:
    """Loss of the LSTM in its dynamic form: of its gate, and of the artifact."""
    target = OnnxRuntime(1)
    options = region_options(program, target, target.regions(program))
    model = gate_model(program, options, {})
    with Prober(model, feeds) as prober:
        alone = prober.losses([[gate] for gate in model.gates])
    losses = LossModel(dict(zip(model.gates, alone, strict=True)), model.terms)
    workshop = Workshop(program, target, options, Judge(feeds, target.lower(program).run))
    candidate = workshop.measured(workshop.plan({"cell": "int8-dynamic"}))
    assert candidate is not None
    assert candidate.loss is not None
    return losses.of_choice("cell", "int8-dynamic"), candidate.loss


@pytest.mark.parametrize("way", ["forward", "bidirectional"])
def test_an_lstms_gate_is_the_kernel_itself(way: str, rng: np.random.Generator) -> None:
    directions = 2 if way == "bidirectional" else 1
    feeds = [{"x": rng.standard_normal((12, 2, 8)).astype(np.float32)} for _ in range(2)]
    program = from_text(TEXT.format(way=way, d=directions), weights(directions, 0.3, rng))
    predicted, true = predicted_and_true(program, feeds)
    assert predicted == pytest.approx(true, rel=1e-3)
    assert true > 0


def test_predicted_losses_of_lstms_rank_as_the_true_ones(rng: np.random.Generator) -> None:
    """From hardly recurrent to chaotic: the input's weight is the same in all of them."""
    feeds = [{"x": rng.standard_normal((12, 2, 8)).astype(np.float32)} for _ in range(2)]
    own = weights(1, 1.0, rng)
    pairs = []
    for strength in (0.02, 0.3, 1.0, 3.0):
        scaled = own | {"r": (strength * own["r"]).astype(np.float32)}
        program = from_text(TEXT.format(way="forward", d=1), scaled)
        pairs.append(predicted_and_true(program, feeds))
    predicted, true = zip(*pairs, strict=True)
    assert np.argsort(predicted).tolist() == np.argsort(true).tolist()
    assert max(true) > 3 * min(true)


def models(program: Program) -> tuple[list[Options], GateModel]:
    target = OnnxRuntime(1)
    options = region_options(program, target, target.regions(program))
    return options, gate_model(program, options, {})


def test_a_product_beside_an_lstm_keeps_a_gate_of_its_own(rng: np.random.Generator) -> None:
    """Both read x dynamically; only the product's reading is rounded by the dynamic gate."""
    text = """g (float[12,2,8] x) => (float[12,1,2,16] y, float[12,2,8] z)
    <float[1,64,8] w, float[1,64,16] r, float[8,8] m>
    { z = MatMul(x, m) [cell] y = LSTM<hidden_size = 16>(x, w, r) }"""
    program = from_text(text, weights(1, 0.3, rng))
    _, model = models(program)
    (gate,) = model.terms["cell", "int8-dynamic"]
    assert (gate.kind, gate.name) == (WEIGHT, "cell")
    feeds = [{"x": rng.standard_normal((12, 2, 8)).astype(np.float32)}]
    others = [each for each in model.gates if each != gate]
    with Prober(model, feeds) as prober:
        alone, rest, both = prober.losses([[gate], others, model.gates])
    assert min(alone, rest) > 0
    assert both == pytest.approx(max(alone, rest), rel=1e-6)  # the worse one of two outputs


def test_a_grus_gates_cover_both_weights(rng: np.random.Generator) -> None:
    """All but the state's rounding, which is as large as that of the recurrent weight."""
    text = """g (float[12,2,8] x) => (float[12,1,2,16] y) <float[1,48,8] w, float[1,48,16] r>
    { [cell] y = GRU<hidden_size = 16, linear_before_reset = 1>(x, w, r) }"""
    own = weights(1, 0.3, rng)
    own = {"w": own["w"][:, :48], "r": own["r"][:, :48]}
    feeds = [{"x": rng.standard_normal((12, 2, 8)).astype(np.float32)}]
    predicted, true = predicted_and_true(from_text(text, own), feeds)
    assert true / 3 < predicted < 1.5 * true
    small = own | {"w": own["w"] * np.float32(1e-6)}  # then nothing but the recurrence is left
    predicted, true = predicted_and_true(from_text(text, small), feeds)
    assert predicted > true / 10


def test_losses_of_further_weight_spaces_follow_from_the_first(rng: np.random.Generator) -> None:
    """Oracle: numpy; noise of white inputs is in proportion to the weight's error, here to 10 %."""
    text = """g (float[512,64] x) => (float[512,64] y) <float[64,64] w>
    { [product] y = MatMul(x, w) }"""
    weight = rng.standard_normal((64, 64)).astype(np.float32)
    x = rng.standard_normal((512, 64)).astype(np.float32)
    _, model = models(from_text(text, {"w": weight}))
    (gate,) = [each for each in model.gates if each.kind == WEIGHT]
    with Prober(model, [{"x": x}]) as prober:
        losses = model.losses({each: prober.losses([[each]])[0] for each in model.gates})
    blocks = weight.reshape(2, 32, 64)  # int4 in blocks of 32 along the inputs, -8 to 7
    low, high = blocks.min(axis=1, keepdims=True), blocks.max(axis=1, keepdims=True)
    scale = np.maximum(low / -8, high / 7)
    rounded = (scale * np.clip(np.round(blocks / scale), -8, 7)).reshape(64, 64)
    true = np.square(x @ (rounded - weight)).sum() / np.square(x @ weight).sum()
    (four_bits,) = model.terms["product", "int4-weights"]
    assert four_bits in model.scaled
    assert losses[four_bits] == pytest.approx(true, rel=0.1)
    assert losses[four_bits] > 50 * losses[gate]


def test_a_space_that_rounds_nothing_leaves_the_switch_to_others() -> None:
    """Weights of a quantized source are integers already: in int8 nothing is lost, in int4 much."""
    text = "g (float[4,64] x) => (float[4,64] y) <float[64,64] w> { [product] y = MatMul(x, w) }"
    whole = np.random.default_rng(0).integers(-126, 127, (64, 64)).astype(np.float32)
    whole[0] = 127.0  # the step of every column is 1
    _, model = models(from_text(text, {"w": whole}))
    assert model.terms["product", "int8-weights-b128"] == ()
    (four_bits,) = model.terms["product", "int4-weights"]
    assert four_bits in model.gates


def test_no_branch_hands_a_weight_out(rng: np.random.Generator) -> None:
    """That would copy it in every run; the product itself stands in both branches."""
    text = """g (float[4,64] x) => (float[4,64] y) <float[64,64] w>
    { p = MatMul(x, w) y = Relu(p) }"""
    _, model = models(from_text(text, {"w": rng.standard_normal((64, 64)).astype(np.float32)}))
    proto = onnx.load_from_string(model.packed.graph)
    forks = [
        [attribute.g.node[-1] for attribute in node.attribute]
        for node in proto.graph.node
        if node.op_type == "If"
    ]
    assert [[each.op_type for each in fork] for fork in forks].count(["MatMul"] * 2) == 1
    read = [each.input[1] for fork in forks for each in fork if each.op_type == "MatMul"]
    assert "w" in read
    copied = [
        name for fork in forks for each in fork if each.op_type == "Identity" for name in each.input
    ]
    assert "w" not in copied
    assert all(node.op_type != "MatMul" for node in proto.graph.node)


def test_a_value_in_two_types_has_a_gate_and_a_loss_for_each() -> None:
    """8 bits lose what they lose; 16 bits beside them 48 dB less, not the larger of the two."""
    draw = np.random.default_rng(0)
    text = """g (float[4,3,8,8] x) => (float[4,3,8,8] y, float[4,3,8,8] z) {
        a = Abs(x) [one] s = Mul(x, a) [two] y = Add(s, x) [three] z = Mul(s, a) }"""
    program, target = from_text(text), OnnxRuntime(1)
    feeds = [{"x": draw.normal(size=(4, 3, 8, 8)).astype(np.float32)} for _ in range(2)]
    steps = Pipeline.parse("insert-observers{method=minmax},calibrate")
    steps.run(program, PassContext(target, feeds))
    pins = {"three": "int16"}
    options = region_options(program, target, target.regions(program), pins)
    workshop = Workshop(program, target, options, Judge(feeds, target.lower(program).run))
    plan = workshop.plan({"one": "int8", "two": "int8"})
    model = gate_model(program, options, resolve(program.observations, options, plan).values)
    with Prober(model, feeds) as prober:
        alone = prober.losses([[gate] for gate in model.gates])
        on = {gate for choice in plan.precisions.items() for gate in model.terms[choice]}
        (together,) = prober.losses([[gate for gate in model.gates if gate in on]])
    values = LossModel(dict(zip(model.gates, alone, strict=True)), model.terms).values()
    for name in ("s", "x", "a"):
        if (name, "UINT16") in values and (name, "UINT8") in values:
            assert 0 < values[name, "UINT16"] < 1e-3 * values[name, "UINT8"]
    assert {("s", "UINT8"), ("s", "UINT16")} <= set(values)
    candidate = workshop.measured(plan)
    assert candidate is not None
    assert together == pytest.approx(candidate.loss, rel=0.05)


@pytest.mark.parametrize("precision", ["codebook3-weights-per-channel", "log2-weights"])
def test_a_gate_of_levels_is_what_the_engine_loses(
    precision: str, rng: np.random.Generator
) -> None:
    """Indices behind a DequantizeLinear would be another weight altogether."""
    text = "g (float[12,8] x) => (float[12,9] z) <float[8,9] m> { [it] z = MatMul(x, m) }"
    program = from_text(text)
    feeds = [{"x": rng.standard_normal((12, 8)).astype(np.float32)}]
    target = OnnxRuntime(1)
    (found,) = region_options(program, target, target.regions(program), {"it": precision})
    form = found.named(precision)
    assert form is not None
    options = [replace(found, implementations=(form,))]  # others would share its switch
    model = gate_model(program, options, {})
    (gate,) = model.terms["it", precision]
    with Prober(model, feeds) as prober:
        (alone,) = prober.losses([[gate]])
    workshop = Workshop(program, target, options, Judge(feeds, target.lower(program).run))
    candidate = workshop.measured(workshop.plan({"it": precision}))
    assert candidate is not None
    assert candidate.loss == pytest.approx(alone, rel=1e-4)
    assert alone > 0
