"""The search and the choice after it, with a fake engine clock and user scores."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.artifact import OrtArtifact
from qcompiler.choices.objective import Objective
from qcompiler.choices.quiet import quiet_stdout
from qcompiler.choices.sensitivity import LEAST, gate_groups, measure_each, split_groups
from qcompiler.config import Recipe
from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.signature import Feed
from qcompiler.measurement.gate import VALUE, WEIGHT, Gate
from qcompiler.measurement.probing import Prober
from qcompiler.target.artifact import CostSample

Run = Callable[[Feed], Sequence[Any]]


@pytest.fixture
def integers_win(clock: Callable[..., None]) -> None:
    """Integers take half of float's time, on any machine."""
    clock(0.5)


class Score:
    """Minus the error of the outputs against float, in percent; counts how often it is asked."""

    def __init__(self, path: Path, feeds: list[Feed]) -> None:
        self._feeds = feeds[:2]
        self._wanted = [onnx_outputs(onnx.load(path), feed) for feed in self._feeds]
        self.calls = 0

    def __call__(self, run: Run) -> float:
        self.calls += 1
        pairs = zip(self._feeds, self._wanted, strict=True)
        errors = [np.abs(run(feed)[0] - wanted).mean() for feed, wanted in pairs]
        return -100.0 * float(np.mean(errors)) / float(np.abs(self._wanted[0]).mean())


@pytest.mark.usefixtures("integers_win")
@pytest.mark.parametrize("recipe", ["fast", "balanced"])
@pytest.mark.parametrize("allowed", [0.0, 0.8, 1.5, 1000.0])
def test_max_loss_of_the_users_score_is_always_kept(
    digits_path: Path, digits_feeds: list[Feed], allowed: float, recipe: str
) -> None:
    score = Score(digits_path, digits_feeds)
    compiled = qc.compile(
        digits_path, calibration=digits_feeds, recipe=recipe, evaluate=score, max_loss=allowed
    )
    asked = score.calls
    figure = compiled.report.figure("score")
    assert figure is not None
    # What was scored is what is returned, biases corrected or not.
    assert score(compiled.run) == pytest.approx(figure.compiled_value, abs=1e-9)
    assert figure.compiled_value >= figure.float_value - allowed - 1e-9
    rounds = {"fast": 5, "balanced": 12}[recipe]
    assert asked <= 2 + rounds + 6  # float as given and rewritten, the rounds, the uniform plans
    quantized = sum(p != FLOAT for p in compiled.plan.precisions.values())
    assert allowed > 0 or quantized == 0


@pytest.mark.usefixtures("integers_win")
def test_a_score_that_rejects_everything_gives_float(
    digits_path: Path, digits_feeds: list[Feed]
) -> None:
    scores = itertools.chain([1.0], itertools.repeat(0.0))  # float first, then every candidate
    compiled = qc.compile(
        digits_path, calibration=digits_feeds, recipe="fast", evaluate=lambda run: next(scores)
    )
    assert set(compiled.plan.precisions.values()) == {FLOAT}
    assert "float is returned" in compiled.report.summary


@pytest.mark.usefixtures("integers_win")
def test_a_tighter_bound_quantizes_less_and_is_kept(
    digits_path: Path, digits_feeds: list[Feed]
) -> None:
    found = {}
    for bound in (1e-2, 3e-4, 1e-5, 0.0):
        compiled = qc.compile(digits_path, calibration=digits_feeds, max_loss=bound, recipe="fast")
        losses = [p.loss for p in compiled.frontier if p.quantized and p.loss is not None]
        precisions = compiled.plan.precisions.values()
        found[bound] = sum(each != FLOAT for each in precisions)
        assert found[bound] == 0 or min(losses) <= bound
        predicted = [d for d in compiled.report.diagnostics if d.rule == "SEARCH00"]
        assert bool(predicted) == any(line.startswith("sensitivity") for line in compiled.log)
    counts = list(found.values())
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0


def test_ctrl_c_returns_the_best_so_far(
    digits_path: Path, digits_feeds: list[Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    original = OrtArtifact.profile

    def profile(self: OrtArtifact, feeds: Sequence[Feed]) -> CostSample | None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return original(self, feeds)

    monkeypatch.setattr(OrtArtifact, "profile", profile)
    compiled = qc.compile(digits_path, calibration=digits_feeds, recipe="fast")
    assert compiled.report.interrupted
    assert len(compiled.run(digits_feeds[0])) == 1


def test_the_budget_ends_the_search(digits_path: Path, digits_feeds: list[Feed]) -> None:
    """Nothing is left for the search, so only float and what is needed to be safe is tried."""
    full = qc.compile(digits_path, calibration=digits_feeds, recipe="fast")
    none = qc.compile(digits_path, calibration=digits_feeds, recipe="fast", budget=0.0)
    assert len(none.log) < len(full.log)
    assert len(none.run(digits_feeds[0])) == 1
    with pytest.raises(ConfigurationError, match="budget"):
        qc.compile(digits_path, calibration=digits_feeds, budget=-1.0)


class Clock:
    """`time.monotonic` that moves on with the work: a second per profile or batch of probes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self._slowed(monkeypatch, OrtArtifact, "profile")
        self._slowed(monkeypatch, Prober, "losses")
        monkeypatch.setattr("qcompiler.search.state.time.monotonic", lambda: self.now)

    def _slowed(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        original = getattr(owner, name)

        def slow(*args: Any, **options: Any) -> Any:
            self.now += 1.0
            return original(*args, **options)

        monkeypatch.setattr(owner, name, slow)


@pytest.mark.usefixtures("integers_win")
@pytest.mark.parametrize("budget", [0.0, 1.5, 3.0, 4.5, 6.0, 9.0])
def test_the_users_budget_is_overrun_by_one_step_at_most(
    digits_path: Path, digits_feeds: list[Feed], monkeypatch: pytest.MonkeyPatch, budget: float
) -> None:
    clock = Clock(monkeypatch)
    compiled = qc.compile(
        digits_path, calibration=digits_feeds, recipe="fast", max_loss=1e-4, budget=budget
    )
    assert clock.now <= budget + 1.0
    assert all(point.loss is not None for point in compiled.frontier)


@pytest.mark.usefixtures("integers_win")
def test_the_recipes_budget_may_be_overrun_to_use_what_was_measured(
    digits_path: Path, digits_feeds: list[Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recipe, "search_seconds", lambda self, elapsed, named=False: 1.5)
    clock = Clock(monkeypatch)
    compiled = qc.compile(digits_path, calibration=digits_feeds, recipe="fast", max_loss=1e-4)
    assert clock.now > 2.5
    assert any(line.startswith("sensitivity") for line in compiled.log)


def test_every_region_has_a_reason(digits_path: Path, digits_feeds: list[Feed]) -> None:
    compiled = qc.compile(digits_path, calibration=digits_feeds, recipe="fast", budget=600)
    assert all(choice.reason for choice in compiled.plan.choices.values())
    priced = [each for each in compiled.plan.choices.values() if each.seconds is not None]
    assert priced
    assert any(each.alternatives for each in priced)


def test_size_as_objective_is_smaller_than_latency(
    digits_path: Path, digits_feeds: list[Feed]
) -> None:
    small = qc.compile(
        digits_path, calibration=digits_feeds, objective="size", max_loss=0.05, recipe="fast"
    )
    floating = qc.compile(digits_path, calibration=digits_feeds, scheme="float32")
    sizes = [compiled.artifact.nbytes for compiled in (small, floating)]
    assert sizes[0] <= sizes[1]
    listed = {point.nbytes for point in small.frontier}
    assert len(listed) > 1
    smallest = min(small.frontier, key=lambda point: point.nbytes)
    other = small.at(smallest.index)
    assert other.artifact.nbytes == smallest.nbytes
    assert len(other.run(digits_feeds[0])) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "speed",
        {"latency": -1.0},
        {"latency": 0.0},
        {"bytes": 1.0},
        {"size": math.nan},
        {"size": "x"},
        3,
    ],
)
def test_objectives_that_make_no_sense(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="objective"):
        Objective.of(wrong)


def test_a_mix_is_a_weighted_mean_of_ratios() -> None:
    mix = Objective.of({"latency": 3, "size": 1})
    assert mix.score({"latency": 0.5, "size": 0.25}) == pytest.approx((1.5 + 0.25) / 4)
    assert mix.score({}) == 1.0
    assert str(mix) == "3 latency + 1 size"


def test_a_plan_is_reapplied_to_a_retrained_model(
    digits_onnx: onnx.ModelProto, digits_feeds: list[Feed], tmp_path: Path
) -> None:
    compiled = qc.compile(digits_onnx, calibration=digits_feeds, max_loss=0.05, recipe="fast")
    path = tmp_path / "plan.json"
    path.write_text(compiled.plan.to_json())
    assert Plan.read(path).to_json() == compiled.plan.to_json()
    draw = np.random.default_rng(3)
    retrained = onnx.ModelProto()
    retrained.CopyFrom(digits_onnx)
    for tensor in retrained.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size > 1:
            moved = array * draw.uniform(0.99, 1.01, array.shape).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    again = qc.compile(retrained, calibration=digits_feeds, plan=Plan.read(path))
    assert again.plan.precisions == compiled.plan.precisions
    wanted = onnx_outputs(retrained, digits_feeds[0])
    got = again.run(digits_feeds[0])[0]
    assert np.abs(got - wanted).mean() <= 0.15 * np.abs(wanted).mean()
    assert (got.argmax(-1) == wanted.argmax(-1)).mean() >= 0.9


def onnx_outputs(model: onnx.ModelProto, feed: Feed) -> np.ndarray:
    """Oracle: ONNX Runtime on the float model."""
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


def test_plans_differ_by_line(digits_path: Path, digits_feeds: list[Feed]) -> None:
    import difflib

    plan = qc.compile(digits_path, calibration=digits_feeds, scheme="int8").plan
    key = next(k for k, p in plan.precisions.items() if p != FLOAT)
    other = Plan.from_json(plan.to_json().replace('"int8"', '"float32"', 1))
    lines = difflib.unified_diff(plan.to_json().split("\n"), other.to_json().split("\n"), n=0)
    assert sum(line[0] in "+-" for line in lines) == 4  # two headers, one line out, one in
    assert key in plan.choices


def test_c_output_is_swallowed_and_ours_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    import ctypes

    sys.stdout.write("before\n")
    with quiet_stdout():
        ctypes.CDLL(None).printf(b"from C\n")
    sys.stdout.write("after\n")
    assert capfd.readouterr().out.splitlines() == ["before", "after"]


def test_group_testing_finds_the_fragile_ones() -> None:
    """Oracle: additive losses that are known."""
    true = dict.fromkeys(range(128), 1e-09) | {17: 1.0, 90: 0.5}
    sets: list[int] = []

    def measure(groups: Sequence[Sequence[int]]) -> list[float]:
        sets.extend(len(group) for group in groups)
        return [sum(true[item] for item in group) for group in groups]

    found = split_groups([range(128)], measure, floor=1e-3, limit=1000)
    assert found.complete
    assert found.losses[17] == pytest.approx(1.0)
    assert found.losses[90] == pytest.approx(0.5)
    assert sum(found.losses.values()) == pytest.approx(1.5)
    assert found.probes == len(sets) <= 1 + 2 * 2 * 7
    late = split_groups([range(128)], measure, 0.0, 1000, expired=lambda: True)
    assert not late.complete
    assert LEAST <= late.probes < 128
    assert sum(late.losses.values()) == pytest.approx(1.5)
    few = split_groups([range(128)], measure, 0.0, limit=9)
    assert few.probes <= 9
    assert set(few.losses) == set(range(128))


def test_sets_to_begin_with_are_neighbours_of_a_kind() -> None:
    values = [Gate(VALUE, f"v{number}", "u8") for number in range(100)]
    weights = [Gate(WEIGHT, f"w{number}", "s8") for number in range(20)]
    gates = [each for pair in zip(values, weights, strict=False) for each in pair] + values[20:]
    for limit in (1, 24, 160, 10**6):
        groups = gate_groups(gates, limit)
        assert sorted(gate.name for group in groups for gate in group) == sorted(
            gate.name for gate in gates
        )
        assert all(len({(gate.kind, gate.space) for gate in group}) == 1 for group in groups)
        assert len(groups) <= max(limit / 4, 2) + 2
    assert len(gate_groups(gates, 10**6)) == 13 + 3


def test_each_by_itself_until_the_time_is_over() -> None:
    true = {number: 1.0 + number for number in range(100)}

    def measure(groups: Sequence[Sequence[int]]) -> list[float]:
        return [sum(true[item] for item in group) for group in groups]

    found = measure_each(list(true), measure)
    assert (found.losses, found.probes, found.complete) == (true, 100, True)
    late = measure_each(list(true), measure, expired=lambda: True)
    assert LEAST <= late.probes < 40
    assert not late.complete
    assert sum(late.losses.values()) == pytest.approx(sum(true.values()))
    assert all(late.losses[number] == true[number] for number in range(LEAST))
