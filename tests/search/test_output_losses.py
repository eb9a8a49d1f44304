"""Bounds by what outputs are for, through a whole compilation; flips are constructed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.decisions.schemes import SCHEMES
from qcompiler.errors import ConfigurationError, LossError
from qcompiler.ir.text import from_text
from qcompiler.measurement.judge import Judge
from qcompiler.outputs.kinds import OutputKind, Purpose
from qcompiler.outputs.tolerance import Tolerance
from qcompiler.report.report import Report
from qcompiler.search.goal import Goal

Array = np.ndarray
HEAD = """
    g (float[16,8] x) => (float[16,12] y, float[16,4] box)
       <float[8,12] w, float[8,4] v> {{
       [it] logits = MatMul(x, w)
       [sm] y = Softmax<axis=-1>(logits)
       [bx] box = MatMul(x, v)
    }}
"""


def feeds(spread: float = 4.0, count: int = 8) -> list[dict[str, Array]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((16, 8)).astype(np.float32) * spread} for _ in range(count)]


@pytest.fixture
def program() -> Any:
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal((8, 12)).astype(np.float32),
        "v": rng.standard_normal((8, 4)).astype(np.float32),
    }
    return from_text(HEAD.replace("{{", "{").replace("}}", "}"), weights)


def test_every_output_says_how_it_is_judged_and_what_is_kept(program: Any) -> None:
    compiled = qc.compile(program, calibration=feeds(), scheme="int8")
    scores, box = compiled.report.outputs
    assert (scores.name, scores.loss, box.loss) == ("y", "top1", "sqnr")
    assert "Softmax" in scores.reason
    assert box.allowed == 0.0075
    assert scores.allowed is not None
    plain, own = qc.compile(program, scheme="float32"), compiled
    # The feeds that candidates are judged on: every other one.
    pairs = [(plain.run(feed)[0], own.run(feed)[0]) for feed in feeds()[0::2]]
    flips = sum(int((a.argmax(1) != b.argmax(1)).sum()) for a, b in pairs)
    assert (scores.flipped, scores.decisions) == (flips, 64)
    assert f"{flips} of 64 decisions flip" in compiled.report.text()
    assert Report.from_json(compiled.report.to_json()).outputs == compiled.report.outputs


@pytest.mark.parametrize(
    ("loss", "bound", "name"),
    [("sqnr", 0.5, "sqnr"), ("cosine", 0.2, "cosine"), ({"y": "top5", 1: "sqnr"}, 0.4, "top5")],
)
def test_the_user_may_say_it(program: Any, loss: Any, bound: float, name: str) -> None:
    found = qc.compile(program, calibration=feeds(), scheme="int8", loss=loss, max_loss=bound)
    assert found.report.outputs[0].loss == name
    assert found.report.outputs[0].reason == "as asked"


def test_a_function_decides(program: Any) -> None:
    calls = []

    def worst(wanted: Array, got: Array) -> float:
        calls.append((wanted.shape, got.shape))
        return float(np.abs(wanted - got).max())

    asked: dict[str | int, Any] = {"y": worst}
    good = qc.compile(program, calibration=feeds(), scheme="int8", loss=asked, max_loss={"y": 1.0})
    assert set(calls) == {((16, 12), (16, 12))}
    assert good.report.outputs[0].cost is not None
    with pytest.raises(LossError, match="1e-09 allowed"):
        qc.compile(program, calibration=feeds(), scheme="int8", loss=asked, max_loss={"y": 1e-9})


def test_auto_obeys_a_function(program: Any) -> None:
    """A function that nothing passes leaves float."""
    never: dict[str | int, Any] = {"y": lambda wanted, got: float(np.any(wanted != got))}
    found = qc.compile(program, calibration=feeds(), loss=never, max_loss={"y": 0.5}, budget=2)
    assert all(row.is_float for row in found.report.regions)


def test_flips_beyond_what_is_allowed_are_the_first_line_of_a_fixed_scheme() -> None:
    draw = np.random.default_rng(1)
    alike = draw.standard_normal((8, 1)) + 0.02 * draw.standard_normal((8, 12))
    logits = from_text("g (float[16,8] x) => (float[16,12] y) <float[8,12] w> { y = MatMul(x, w) }",
                       {"w": alike.astype(np.float32)})  # fmt: skip
    with pytest.raises(LossError, match="decisions flip"):
        qc.compile(
            logits, calibration=feeds(), scheme="int8", loss={"y": "top1"}, max_loss={"y": 0.0}
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "top1", "evaluate": lambda run: 1.0}, "both given"),
        ({"max_loss": {"y": 0.1}, "evaluate": lambda run: 1.0}, "one score"),
        ({"loss": {"nothing": "top1"}}, "does not have"),
        ({"loss": lambda a, b: 0.0}, "no bound"),
        ({"loss": "best"}, "no loss 'best'"),
        ({"loss": 3}, "loss must be"),
    ],
)
def test_mistakes_are_told(program: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        qc.compile(program, calibration=feeds(), **arguments)


def judge_of(bounds: Sequence[float]) -> Judge:
    kind = OutputKind(Purpose.VALUES, "made so")
    made = [Tolerance(f"y{i}", "sqnr", kind, "", bound) for i, bound in enumerate(bounds)]
    return Judge([{}], lambda feed: [np.ones(4), np.ones(4)], None, lambda *_: made)


def test_outputs_with_wider_bounds_count_less() -> None:
    """The limit is the strictest bound; loss / limit is the worst share of a bound."""
    judge = judge_of([0.01, 0.04])
    assert judge.limit == 0.01
    noisy = [np.ones(4) + 0.1, np.ones(4) + 0.3]
    found = judge.judged(lambda feed: noisy)
    np.testing.assert_allclose(found.losses, [0.01, 0.09])
    assert found.loss == pytest.approx(0.09 * 0.01 / 0.04)
    assert judge_of([0.02, 0.02]).loss(lambda feed: noisy) == pytest.approx(0.09)


def test_a_bound_of_zero_stands_beside_others() -> None:
    judge = judge_of([0.0, 0.04])
    assert judge.loss(lambda feed: [np.ones(4), np.ones(4) + 0.1]) <= judge.limit
    assert judge.loss(lambda feed: [np.ones(4) + 1e-3, np.ones(4)]) > judge.limit


def test_with_a_score_flips_are_counted_and_do_not_decide(program: Any) -> None:
    found = qc.compile(program, calibration=feeds(), scheme="int8", evaluate=lambda run: 1.0)
    row = found.report.outputs[0]
    assert "evaluate" in row.reason
    assert row.flipped is not None


def test_a_goal_without_anything_asked_lets_the_analysis_decide() -> None:
    assert Goal(SCHEMES["auto"]).asked(["a", "b"]) == [None, None]


def test_bounds_rest_on_margins_of_more_samples_and_flips_are_counted_on_the_judges(
    program: Any,
) -> None:
    """Sixteen rows a feed: four feeds judge, four more give margins."""
    compiled = qc.compile(program, calibration=feeds(), scheme="int8")
    row = compiled.report.outputs[0]
    assert row.decisions == 64
    judge = Judge(
        feeds()[0::2],
        lambda feed: [compiled.run(feed)[0]],
        None,
        lambda reference, slices: [
            Tolerance(f"{len(reference)}", "sqnr", OutputKind(Purpose.VALUES, ""), "", 0.1)
        ],
        feeds()[1::2],
    )
    assert judge.tolerances[0].output == "4"
    assert judge.margins[0].output == "4"  # nothing decides, so nothing more is looked at


def test_classes_of_different_size_are_one_decision() -> None:
    """A bias over powers of ten makes parts of an output; behind a Softmax they are classes."""
    text = """
        g (float[16,8] x) => (float[16,12] y) <float[8,12] w, float[12] b> {
           [it] product = MatMul(x, w)
           [bi] biased = Add(product, b)
           [sm] y = Softmax<axis=-1>(biased)
        }
    """
    bias = np.linspace(-6, 3, 12).astype(np.float32)
    bias[::3] = 0.001
    weight = np.random.default_rng(1).standard_normal((8, 12)).astype(np.float32)
    program = from_text(text, {"w": weight, "b": bias})
    row = qc.compile(program, calibration=feeds(1.0), scheme="int8").report.outputs[0]
    assert (row.loss, row.decisions) == ("top1", 64)
