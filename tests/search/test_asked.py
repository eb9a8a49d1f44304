"""Fixed schemes and plans: built as asked or refused, and what they lose is told first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions import roundings
from qcompiler.errors import ConfigurationError, LegalityError, LossError, LoweringError
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.text import from_text
from qcompiler.search import asked
from qcompiler.target import contract, placement
from qcompiler.target.artifact import Artifact, KernelCount

Compile = Callable[..., qc.Compiled]


@pytest.fixture
def chain() -> onnx.ModelProto:
    """Three products in a row; the second one's weight has an outlier that 8 bits drown by."""
    rng = np.random.default_rng(3)
    weights = [(rng.normal(size=(8, 8)) / 3).astype(np.float32) for _ in range(3)]
    weights[1][:, 0] *= 3000
    weights[2][0] = 0
    names = ["x", "a", "b", "y"]
    nodes = [
        helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]], name=f"mm{i}")
        for i in range(3)
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 8]) for n in ("x", "y")]
    stored = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def feeds(rng: np.random.Generator) -> list[Feed]:
    return [{"x": rng.normal(size=(4, 8)).astype(np.float32)} for _ in range(6)]


@pytest.fixture
def compiled(chain: onnx.ModelProto, feeds: list[Feed]) -> Compile:
    def build(**asked: object) -> qc.Compiled:
        given = {"recipe": "fast", "budget": 0.2, "calibration": feeds, **asked}
        return qc.compile(chain, **given)  # type: ignore[arg-type]

    return build


def test_what_a_fixed_scheme_loses_is_the_first_line(compiled: Compile) -> None:
    made = compiled(scheme="int8")
    first = made.report.text().splitlines()[0]
    assert "loses more than is allowed: 'y' keeps -0.0 dB of 21.2 dB" in first
    assert "'y'" in first
    assert made.report.warnings[0] in first
    assert not compiled(scheme="float32").report.warnings


def test_a_bound_that_was_given_is_kept_or_refused(compiled: Compile) -> None:
    with pytest.raises(LossError, match="more than max_loss"):
        compiled(scheme="int8", max_loss=0.01)
    assert compiled(scheme="int8", max_loss=1e3).plan.precisions["mm1"] == "int8"


def test_a_score_that_falls_is_told_or_refused(compiled: Compile, feeds: list[Feed]) -> None:
    wanted = compiled(scheme="float32").run(feeds[0])[0]

    def score(run: Callable[[Feed], list[np.ndarray]]) -> float:
        return -float(np.abs(run(feeds[0])[0] - wanted).max())

    assert "the score falls" in compiled(scheme="int8", evaluate=score).report.warnings[0]
    with pytest.raises(LossError, match="more than max_loss"):
        compiled(scheme="int8", evaluate=score, max_loss=0.01)


def test_a_bound_without_samples_is_said_to_be_unchecked(compiled: Compile) -> None:
    made = compiled(scheme="dynamic", calibration=None, max_loss=0.01)
    assert "max_loss was not checked" in made.report.warnings[0]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (Plan("fbgemm", {"mm0": Choice("int8")}), "the plan is for 'fbgemm', the target is"),
        (
            Plan("onnxruntime", {"nothing": Choice("int8")}),
            "MatMul 'mm0', MatMul 'mm1', MatMul 'mm2'",
        ),
        (Plan("onnxruntime", {"mm0": Choice("int5")}), "gives 'int5'"),
        (Plan("onnxruntime", {"mm0": Choice("INT8")}), "gives 'INT8'"),
        (Plan("onnxruntime", {"mm0": Choice(None)}), "gives None"),  # type: ignore[arg-type]
    ],
)
def test_a_plan_that_does_not_fit_is_refused(compiled: Compile, plan: Plan, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        compiled(plan=plan)


@pytest.mark.parametrize("scheme", ["fp8", "dynamic", "int4"])
def test_a_table_alone_is_not_what_a_scheme_means(scheme: str) -> None:
    program = from_text(
        "g (int64[n] ids) => (float[] y) <float[40,8] e> { r = Gather(e, ids) y = Tanh(r) }"
    )
    feeds = [{"ids": np.arange(5)}]
    with pytest.raises(LegalityError, match="no region of this model can run as"):
        qc.compile(program, calibration=feeds, scheme=scheme)
    stored = qc.compile(program, calibration=feeds, scheme="int8-weights", recipe="fast")
    assert "int8-weights" in stored.plan.precisions.values()


def test_overrides_come_before_a_plan(compiled: Compile) -> None:
    plan = Plan("onnxruntime", {"mm0": Choice("int8"), "mm2": Choice("int8")})
    made = compiled(plan=plan, overrides={"mm0": FLOAT})
    assert made.plan.precisions == {"mm0": FLOAT, "mm1": FLOAT, "mm2": "int8"}


def test_a_plan_of_the_source_gives_the_source_again(
    digits_path: Path, digits_feeds: list[Feed], tmp_path: Path
) -> None:
    """`auto` that returns float unrewritten says so in its plan, and applied again it is that."""
    given = {"calibration": digits_feeds, "recipe": "fast", "budget": 0.1}
    first = qc.compile(digits_path, max_loss=0.0, overrides={"*": FLOAT}, **given)  # type: ignore[arg-type]
    source = replace(first.plan, rewritten=False)
    again = qc.compile(digits_path, plan=Plan.from_json(source.to_json()), **given)  # type: ignore[arg-type]
    rewritten = qc.compile(digits_path, plan=replace(source, rewritten=True), **given)  # type: ignore[arg-type]
    program = qc.load(digits_path)
    program.provenance = replace(program.provenance, data=again.program.provenance.data)
    kept = OnnxRuntime().lower(program)
    kept.save(tmp_path / "source.onnx")
    saved = [each.save(tmp_path / f"{i}.onnx") for i, each in enumerate((again, rewritten))]
    assert saved[0].read_bytes() == (tmp_path / "source.onnx").read_bytes()
    assert saved[1].read_bytes() != saved[0].read_bytes()


class Failing(Artifact):
    """Runs until a region is quantized that it cannot stand."""

    def __init__(self, inner: Artifact, fails: bool) -> None:
        self._inner, self._fails = inner, fails

    @property
    def nbytes(self) -> int:
        return self._inner.nbytes

    def run(self, feed: Feed) -> list[np.ndarray]:
        if self._fails:
            raise IndexError("the engine stumbled")
        return self._inner.run(feed)

    def save(self, path: Path) -> None:
        self._inner.save(path)

    def kernels(self) -> KernelCount:
        return self._inner.kernels()


@pytest.fixture
def stumbling(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime that fails while running, with an exception of its own, if mm1 is quantized."""
    lower = OnnxRuntime.lower

    def fail(self: OnnxRuntime, program: Program) -> Artifact:
        made = lower(self, program)
        plan = program.plan
        return Failing(made, plan is not None and plan.precision("mm1") != FLOAT)

    monkeypatch.setattr(OnnxRuntime, "lower", fail)


def test_a_candidate_that_fails_while_running_is_none(stumbling: None, compiled: Compile) -> None:
    made = compiled(budget=2.0)
    assert made.plan.precisions["mm1"] == FLOAT
    assert any("refused, IndexError: the engine stumbled" in line for line in made.log)
    assert any("part of every region: 1 regions quantized" in line for line in made.log)


def test_a_fixed_scheme_that_fails_names_the_region(stumbling: None, compiled: Compile) -> None:
    with pytest.raises(LoweringError, match="does not run on onnxruntime") as caught:
        compiled(scheme="int8")
    assert "mm1" in (caught.value.where or "")
    assert "the engine stumbled" in (caught.value.why or "")


def test_verify_without_samples_is_not_ok(compiled: Compile, feeds: list[Feed]) -> None:
    made = compiled(scheme="int8")
    assert made.verify().ok
    without = made.verify([])
    assert not without.ok
    assert without.summary.startswith("nothing was checked")


def test_nothing_is_asked_or_made_twice(compiled: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of these were several per step; most cost as much as a walk over the whole graph."""
    calls: dict[str, list[Any]] = {}

    def counted(owner: Any, name: str, of: Callable[..., Any] = lambda *given: given) -> None:
        plain = getattr(owner, name)

        def call(*given: Any, **named: Any) -> Any:
            calls.setdefault(name, []).append(of(*given))
            return plain(*given, **named)

        monkeypatch.setattr(owner, name, call)

    counted(asked, "planned")
    counted(ir.Graph, "clone")
    counted(contract, "find_regions")
    counted(placement, "find_regions")
    counted(OnnxRuntime, "implementations", lambda target, region: region.key)
    counted(roundings, "rounded", lambda array, space, axis: (array.tobytes(), space, axis))
    made = compiled(scheme="int8")
    assert made.plan.choices
    assert len(calls["planned"]) == 1
    # Float passes, observers, calibration, placement; origins of outputs; who is to blame.
    assert len(calls["clone"]) <= 7
    # To observe and to decide, and once in what was written.
    assert len(calls["find_regions"]) <= 3
    # Whether a region is worth observing, and what it may run as.
    assert max(calls["implementations"].count(each) for each in made.plan.choices) <= 2
    assert len(set(calls["rounded"])) == len(calls["rounded"]) == 3
