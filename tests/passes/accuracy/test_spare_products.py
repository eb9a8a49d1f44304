"""One layer that ruins a network stays float and is named; the rest, and the user's word, hold."""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.config import RECIPES
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from tests.drowned import LAYERS, Feed, kept_db, network, samples

PASS = "spare-products"


@pytest.fixture
def feeds() -> list[Feed]:
    return samples(12)


def compiled(program: Program, feeds: list[Feed], **asked: Any) -> qc.Compiled:
    given: dict[str, Any] = {"scheme": "int8", "recipe": "fast", "budget": 100, "variants": [PASS]}
    return qc.compile(program, "onnxruntime", feeds, **{**given, **asked})


def floats(made: qc.Compiled) -> set[str]:
    return {key for key, each in made.plan.choices.items() if each.precision == FLOAT}


def test_the_layer_that_ruins_the_others_stays_float_and_is_named(feeds: list[Feed]) -> None:
    program, unseen = network((3,)), [{"x": 0.9 * feed["x"][::-1].copy()} for feed in feeds]
    without, spared = compiled(program, feeds, variants=[]), compiled(program, feeds)
    assert kept_db(program, without, unseen) < 5
    assert floats(without) == set()
    assert kept_db(program, spared, unseen) > 15
    (one,) = floats(spared)
    assert one in {"mm3", "mm4"}  # what writes the wide value, or what reads it
    assert "useless" in spared.plan.choices[one].reason
    told = spared.report.warnings[0]
    assert f"'{one}' stays float" in told
    asked = re.search(r"overrides=(\{.*?\})", told)
    assert asked is not None
    forced = compiled(program, feeds, overrides=ast.literal_eval(asked.group(1)))
    assert one not in floats(forced)


def test_where_many_layers_would_have_to_go_all_stay_as_asked(feeds: list[Feed]) -> None:
    made = compiled(network(tuple(range(LAYERS - 1))), feeds)
    assert floats(made) == set()
    assert "loses more than is allowed" in made.report.warnings[0]
    (tried,) = made.report.variants
    assert "changes nothing" in tried.told


def test_a_network_of_one_product_is_not_left_without(feeds: list[Feed]) -> None:
    stored = {"w": np.eye(8, dtype=np.float32), "o": np.ones(8, np.float32)}
    stored["w"][:, 0] *= 3e4
    program = from_text(
        "g (float[4,8] x) => (float[4,8] y) <float[8,8] w, float[8] o> {"
        " [only] v = MatMul(x, w) r = Asinh(v) y = Add(r, o) }",
        stored,
    )
    assert "only" not in floats(compiled(program, feeds))


def test_what_is_of_use_is_quantized_as_asked(feeds: list[Feed]) -> None:
    made = compiled(network(()), feeds)
    assert floats(made) == set()
    assert not any("stays float" in each for each in made.report.warnings)


def test_the_plan_holds_what_was_decided_and_one_of_the_users_stays(feeds: list[Feed]) -> None:
    program = network((3,))
    first = compiled(program, feeds)
    again = qc.compile(program, "onnxruntime", feeds, plan=first.plan, recipe="fast")
    assert again.plan.precisions == first.plan.precisions
    np.testing.assert_array_equal(again.run(feeds[0])[0], first.run(feeds[0])[0])
    asked = dataclasses.replace(compiled(program, feeds, variants=[]).plan, variants=None)
    given = qc.compile(program, "onnxruntime", feeds, plan=asked, recipe="balanced", budget=100)
    assert floats(given) == set()


def test_recipes_that_try_variants_try_it_last() -> None:
    for name in ("balanced", "best"):
        assert RECIPES[name].variants[-1] == PASS


@pytest.mark.parametrize("name", ["spare-regions", PASS])
def test_beside_a_search_or_a_plan_it_is_told_that_it_has_nothing_to_do(
    feeds: list[Feed], name: str
) -> None:
    program = network((3,))
    searched = compiled(program, feeds, scheme="auto", variants=[name], budget=5)
    (told,) = [each.told for each in searched.report.variants]
    assert told == f"{name}: not begun, a search chooses by itself which regions stay float"
    asked = dataclasses.replace(compiled(program, feeds, variants=[]).plan, variants=None)
    given = compiled(program, feeds, plan=asked, variants=[name])
    (told,) = [each.told for each in given.report.variants]
    assert told == f"{name}: not begun, the plan says itself which regions stay float"
