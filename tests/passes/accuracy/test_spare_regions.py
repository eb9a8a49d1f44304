"""Sums that drown their channels stay float, products keep their integers; the user decides."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort
import pytest

import qcompiler as qc
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text

BLOCKS, WIDTH = 2, 16
SUMS = {f"sum{i}" for i in range(BLOCKS)}
PRODUCTS = {f"{name}{i}" for name in ("up", "down") for i in range(BLOCKS)}
Feeds = list[dict[str, npt.NDArray[Any]]]


def network(extreme: float) -> Program:
    """Blocks x + down(relu(up(norm(x)))) and a norm, whose gain is 0 for the wide channel 0."""
    draw = np.random.default_rng(5)
    stored = {"g": np.ones(WIDTH, np.float32), "z": np.zeros(WIDTH, np.float32)}
    stored["g"][0] = 0.0
    steps, value = [], "x"
    for i in range(BLOCKS):
        for name in ("u", "d"):
            stored[f"{name}{i}"] = (draw.normal(size=(WIDTH, WIDTH)) / 4).astype(np.float32)
        stored[f"d{i}"][:, 0] *= extreme
        steps += [
            f"n{i} = LayerNormalization({value}, g, z)",
            f"[up{i}] a{i} = MatMul(n{i}, u{i})",
            f"r{i} = Relu(a{i})",
            f"[down{i}] b{i} = MatMul(r{i}, d{i})",
            f"[sum{i}] s{i} = Add({value}, b{i})",
        ]
        value = f"s{i}"
    kinds = {name: ",".join(map(str, array.shape)) for name, array in stored.items()}
    weights = ", ".join(f"float[{dims}] {name}" for name, dims in kinds.items())
    steps.append(f"y = LayerNormalization({value}, g, z)")
    size = f"float[4,{WIDTH}]"
    return from_text(f"g ({size} x) => ({size} y) <{weights}> {{ {' '.join(steps)} }}", stored)


@pytest.fixture
def feeds() -> Feeds:
    draw = np.random.default_rng(0)
    return [{"x": draw.normal(size=(4, WIDTH)).astype(np.float32)} for _ in range(24)]


def compiled(program: Program, feeds: Feeds, variants: list[str], **asked: Any) -> qc.Compiled:
    given: dict[str, Any] = {
        "scheme": "int8",
        "recipe": "fast",
        "budget": 100,
        "variants": variants,
        **asked,
    }
    return qc.compile(program, "onnxruntime", feeds, **given)


def kept_db(program: Program, made: qc.Compiled, feeds: Feeds) -> float:
    """Against ONNX Runtime's own float run, in channels that count."""
    session = ort.InferenceSession(ir.to_proto(program.model).SerializeToString())
    wanted = np.concatenate([session.run(None, feed)[0] for feed in feeds])
    found = np.concatenate([made.run(feed)[0] for feed in feeds])
    return float(10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()))


def floats(made: qc.Compiled) -> set[str]:
    return {key for key, each in made.plan.choices.items() if each.precision == FLOAT}


def test_sums_that_drown_stay_float_and_products_do_not(feeds: Feeds) -> None:
    program, unseen = network(300.0), [{"x": 0.9 * feed["x"][::-1].copy()} for feed in feeds]
    without = compiled(program, feeds, [])
    spared = compiled(program, feeds, ["spare-regions"])
    assert floats(without) == set()
    assert floats(spared) == SUMS
    # A Relu reads what the first products of the blocks give; their roundings saturate for it.
    assert {key: spared.plan.precision(key) for key in PRODUCTS} == {
        key: "int8" if key.startswith("up") else "int8-float-out" for key in PRODUCTS
    }
    assert without.plan.precision("down0") == "int8"
    assert set(spared.kernels.integer) >= PRODUCTS
    assert kept_db(program, spared, unseen) > kept_db(program, without, unseen) + 6
    assert "outputs lose too much" in spared.plan.choices["sum0"].reason


def test_one_without_which_nothing_is_a_number_does_not_take_the_others_along() -> None:
    """Acosh of less than 1 is NaN: `wide` rounds to 0 there, and its loss is infinite."""
    draw = np.random.default_rng(5)
    stored = {name: (draw.normal(size=(16, 16)) / 4).astype(np.float32) for name in "wv"}
    stored["o"] = np.array([1000.0, *[1.01] * 15], np.float32)
    program = from_text(
        """g (float[4,16] x) => (float[4,16] y) <float[16] o, float[16,16] w, float[16,16] v> {
        [square] n = Mul(x, x)
        [wide] i = Add(n, o)
        r = Acosh(i)
        [up] a = MatMul(r, w)
        [sum] b = Add(x, a)
        [down] d = MatMul(b, v)
        [last] y = Add(d, x) }""",
        stored,
    )
    feeds = [{"x": draw.normal(size=(4, 16)).astype(np.float32)} for _ in range(12)]
    assert floats(compiled(program, feeds, ["spare-regions"])) == {"wide"}


def test_what_keeps_its_bound_is_quantized_as_asked(feeds: Feeds) -> None:
    made = compiled(network(1.0), feeds, ["spare-regions"])
    assert floats(made) == set()
    (tried,) = made.report.variants
    assert "within the bound" in tried.told


def test_an_override_keeps_a_sum_in_integers(feeds: Feeds) -> None:
    made = compiled(network(300.0), feeds, ["spare-regions"], overrides={"sum1": "int8"})
    assert made.plan.precision("sum1") == "int8"
    assert made.plan.precision("down1") == "int8"  # which reads it rounded


def test_the_plan_holds_what_was_decided(feeds: Feeds) -> None:
    program = network(300.0)
    first = compiled(program, feeds, ["spare-regions"])
    again = qc.compile(program, "onnxruntime", feeds, plan=first.plan, recipe="fast")
    assert again.plan.precisions == first.plan.precisions
    np.testing.assert_array_equal(again.run(feeds[0])[0], first.run(feeds[0])[0])


def test_a_plan_of_the_users_is_not_changed(feeds: Feeds) -> None:
    program = network(300.0)
    asked = dataclasses.replace(compiled(program, feeds, []).plan, variants=None)
    assert floats(qc.compile(program, "onnxruntime", feeds, plan=asked, recipe="fast")) == set()


def test_a_sum_is_rounded_again_where_other_variants_make_it_harmless(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was spared before they were tried is judged once more behind them."""
    monkeypatch.setattr("qcompiler.search.base_choice.helps", lambda found, known, stage: False)
    made = compiled(network(300.0), feeds, ["spare-regions"])
    assert floats(made) == set()
    (tried,) = made.report.variants
    assert not tried.kept
    assert "not needed" in tried.told
