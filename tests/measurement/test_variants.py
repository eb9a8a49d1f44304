"""Variants: which ones a recipe tries, and that one is kept only where the loss is lower."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.config import RECIPES
from qcompiler.decisions.binding import decided
from qcompiler.decisions.roundings import Rounding
from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.text import from_text
from qcompiler.measurement.gain import Look
from qcompiler.measurement.judge import Judgement
from qcompiler.measurement.trying import Allowance, helps, keep_if_better
from qcompiler.measurement.variants import Variant, variants_of, with_base
from qcompiler.outputs.tolerance import Verdict
from qcompiler.pipeline import registry
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.targets import target_of
from qcompiler.quantization.qspace import U8_AFFINE
from qcompiler.report.rows import VariantRow
from qcompiler.statistics.kinds import ChannelMean
from qcompiler.target.contract import Target

TEXT = "g (float[2,8] x) => (float[2,4] y) <float[8,4] w> { [it] y = MatMul(x, w) }"


def feeds() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((2, 8)).astype(np.float32)} for _ in range(8)]


@dataclasses.dataclass(frozen=True)
class _Shifted(Pass):
    """Moves every integer of every weight: a rounding that is worse."""

    name: ClassVar[str] = "toy-shifted"
    stage: ClassVar[Stage] = Stage.PLACED
    recipes: ClassVar[frozenset[str]] = frozenset({"best"})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        changed = {}
        for key, region in decided(program).regions.items():
            assert region.rounding is not None
            integers = np.clip(region.rounding.integers, -100, 100)
            moved = Rounding(region.rounding.params, integers.astype(np.int8), "toy")
            changed[key] = dataclasses.replace(region, rounding=moved)
        program.placement = decided(program).with_regions(changed)
        return Outcome()


@dataclasses.dataclass(frozen=True)
class _Costly(Pass):
    """Says that it takes long."""

    name: ClassVar[str] = "toy-costly"
    stage: ClassVar[Stage] = Stage.PLACED

    def price(self, samples: int) -> str:
        return "a thousand runs"

    def runs(self, samples: int, program: Program | None) -> float:
        return 1000.0

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        return Outcome()


@dataclasses.dataclass(frozen=True)
class _Doubled(Pass):
    """Doubles a weight in the float program and says nothing of it: not the same function."""

    name: ClassVar[str] = "toy-doubled"
    stage: ClassVar[Stage] = Stage.FLOAT

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        node = next(node for node in program.graph if node.op_type == "MatMul")
        weight = node.inputs[1]
        assert weight is not None
        assert weight.const_value is not None
        doubled = rewriter.constant(2 * weight.const_value.numpy(), "doubled")
        rewriter.set_input(node, 1, doubled)
        return Outcome()


@dataclasses.dataclass(frozen=True)
class _Asking(Pass):
    """Wants the means of the channels of x and y."""

    name: ClassVar[str] = "toy-asking"
    stage: ClassVar[Stage] = Stage.PLACED

    def requests(self, program: Program, target: Target | None) -> tuple[Request, ...]:
        return MEANS

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        return Outcome()


MEANS = tuple(Request.of(name, "channel-mean", axis=1) for name in ("x", "y"))


@dataclasses.dataclass(frozen=True)
class _Broken(Pass):
    """Raises what no author of a pass has foreseen, wherever it is asked to."""

    name: ClassVar[str] = "toy-broken"
    stage: ClassVar[Stage] = Stage.FLOAT
    at: str = "apply"

    def _maybe(self, where: str) -> None:
        if where == self.at:
            raise IndexError(f"tuple index out of range in {where}")

    def requests(self, program: Program, target: Target | None) -> tuple[Request, ...]:
        self._maybe("requests")
        return ()

    def price(self, samples: int) -> str:
        self._maybe("price")
        return "nothing"

    def runs(self, samples: int, program: Program | None) -> float:
        self._maybe("runs")
        return 0.0

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        self._maybe("apply")
        return Outcome()


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    for toy in (_Shifted, _Doubled, _Costly, _Asking, _Broken):
        registry.register_pass(toy)
    yield
    for toy in (_Shifted, _Doubled, _Costly, _Asking, _Broken):
        registry.PASSES.forget(toy.name)


find = registry.find_pass


def calibrated() -> Program:
    program = from_text(TEXT)
    context = PassContext(target_of("onnxruntime"), feeds())
    Pipeline.parse("canonicalize,insert-observers{method=mse},calibrate").run(program, context)
    return program


def lost(*each: float) -> Judgement:
    """What a candidate loses, sample by sample."""
    loss = sum(each) / len(each)
    return Judgement(loss, (loss,), compared=Look(loss, each))


def test_a_registered_pass_takes_part_in_the_recipes_that_it_names() -> None:
    texts = [each.text for each in variants_of(RECIPES["best"], "best")]
    listed = RECIPES["best"].variants
    asking = {name for name in registry.PASSES.names() if "best" in find(name).recipes}
    assert [text for text in texts if text in listed] == list(listed)
    assert set(texts) - set(listed) == asking
    assert "toy-shifted" in texts
    assert [v.text for v in variants_of(RECIPES["fast"], "fast")] == []


def test_passes_of_our_own_are_asked_by_the_list_of_their_recipe_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To ask every pass what recipes it wants imported all of them, a fifth of a small compile."""
    own = [name for name in registry.PASSES.names() if registry.PASSES.is_own(name)]
    assert "correct-bias" in own
    assert "toy-shifted" not in own
    assert [name for name in own if find(name).recipes] == []
    asked: list[str] = []

    def noted(name: str) -> type[Pass]:
        asked.append(name)
        return find(name)

    monkeypatch.setattr(registry, "find_pass", noted)
    variants_of(RECIPES["fast"], "fast")
    assert "toy-shifted" in asked
    assert set(asked).isdisjoint(own)


def test_what_is_given_is_tried_instead() -> None:
    given = variants_of(RECIPES["best"], "best", ["correct-bias"])
    assert [each.text for each in given] == ["correct-bias"]
    assert variants_of(RECIPES["best"], "best", []) == ()


@pytest.mark.parametrize("text", ["canonicalize", "correct-bias,use-ranges{method=minmax}", ""])
def test_what_is_no_accuracy_pass_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no variant"):
        Variant(text)


@pytest.mark.parametrize("given", [3, 2.5, True, {"gptq": 1}.keys(), [None], [["gptq"]], [1]])
def test_what_is_no_list_of_passes_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="variant"):
        variants_of(RECIPES["fast"], "fast", given)


def test_only_what_lowers_the_loss_is_kept() -> None:
    losses = {"correct-bias": 0.5, "use-ranges": 0.7, "toy-shifted": 0.25}

    def attempt(state: tuple[str, ...], variant: Variant) -> tuple[tuple[str, ...], Judgement]:
        if variant.text == "toy-doubled":
            raise RuntimeError("an engine")
        return (*state, variant.text), lost(losses[variant.text])

    variants = [
        Variant(text) for text in ("correct-bias", "use-ranges", "toy-doubled", "toy-shifted")
    ]
    start: tuple[str, ...] = ()
    best, tried = keep_if_better(start, lost(1.0), variants, attempt, Allowance(samples=4))
    assert best == ("correct-bias", "toy-shifted")
    assert [(each.after, each.kept) for each in tried] == [
        (0.5, True), (0.7, False), (None, False), (0.25, True),
    ]  # fmt: skip
    assert all(each.begun for each in tried)
    assert tried[2].told == "toy-doubled: failed, an engine"


def never(state: int, variant: Variant) -> tuple[int, Judgement]:
    raise AssertionError("it was begun")


def test_a_variant_that_costs_more_than_is_left_is_not_begun() -> None:
    """toy-costly takes as long as 1000 runs of 10 ms, and 2 s to build: 12 s of 11."""
    allowance = Allowance(lambda: 11.0, samples=4, run_seconds=0.01, build_seconds=2.0)
    variants = [Variant("toy-costly"), Variant("correct-bias")]

    def attempt(state: int, variant: Variant) -> tuple[int, Judgement]:
        assert variant.text == "correct-bias"
        return state + 1, lost(0.5)

    best, (costly, cheap) = keep_if_better(0, lost(1.0), variants, attempt, allowance)
    assert (best, costly.begun, costly.price, cheap.kept) == (1, False, 12.0, True)
    assert costly.told == "toy-costly: not begun, about 12 s: a thousand runs, and 11 s are left"
    allowance.left = lambda: 13.0
    variants = variants[:1]
    assert keep_if_better(0, lost(1.0), variants, lambda s, v: (s, lost(2.0)), allowance)[1][
        0
    ].begun


def test_a_price_has_the_runs_that_ranges_are_taken_anew_with() -> None:
    """toy-doubled rewrites the float program: 4 runs of its own, 8 samples observed at 4 runs."""
    allowance = Allowance(samples=4, run_seconds=0.5, build_seconds=1.0)
    assert allowance.price(Variant("toy-doubled")).seconds == 0.5 * (4 + 4 * 8) + 1
    assert allowance.price(Variant("toy-shifted")).seconds == 0.5 * 4 + 1
    assert allowance.price(Variant("use-ranges{method=minmax}")).seconds == 1


def test_nothing_is_begun_where_nothing_can_be_gained() -> None:
    variants = [Variant("correct-bias")]
    found = keep_if_better(0, lost(0.0005), variants, never, Allowance(enough=0.001))[1][0]
    assert found.told == "correct-bias: not begun, 33.0 dB are far within the bound"
    assert (
        "nothing is lost" in keep_if_better(0, lost(0.0), variants, never, Allowance())[1][0].told
    )


def test_a_variant_has_to_help_by_more_than_chance_does() -> None:
    """0.3 dB on average over the samples, 1 dB of what rewrites float or gives regions back."""
    before = lost(*(1.0,) * 8)
    for db, stages in (
        (0.2, ()),
        (0.5, (Stage.RANGES, Stage.PLACED)),
        (1.2, (Stage.PLAN, Stage.FLOAT, Stage.RANGES, Stage.PLACED)),
    ):
        found = lost(*(10 ** (-db / 10),) * 8)
        assert tuple(stage for stage in Stage if helps(found, before, stage)) == stages, db
    lucky = lost(0.1, *(1.0,) * 7)  # 1.25 dB on average, all of one sample
    assert not helps(lucky, before, Stage.PLACED)


def test_what_is_within_the_limit_stays_so() -> None:
    before, found = lost(*(0.5,) * 8), lost(*(0.25,) * 8)
    assert helps(found, before, Stage.PLACED, limit=0.6)
    broken = dataclasses.replace(found, loss=0.7)  # smaller in logits, and larger in the output
    assert not helps(broken, before, Stage.PLACED, limit=0.6)
    assert helps(broken, dataclasses.replace(before, loss=0.8), Stage.PLACED, limit=0.6)
    flipped = Verdict(3, 10, 0.3, 0.3, good=False)
    worse = dataclasses.replace(found, verdicts=(flipped,))
    assert not helps(worse, before, Stage.PLACED)
    assert helps(worse, dataclasses.replace(before, verdicts=(flipped,)), Stage.PLACED)


def test_a_variant_that_changes_nothing_is_not_built() -> None:
    program = calibrated()
    idle = with_base(program, target_of("onnxruntime"), Variant("convolve-transposed"), feeds())
    assert idle is program
    moved = with_base(program, target_of("onnxruntime"), Variant("toy-doubled"), feeds())
    assert moved is not program
    found = keep_if_better(0, lost(1.0), [Variant("correct-bias")], lambda s, v: None, Allowance())
    assert found[1][0].told == "correct-bias: not kept, it changes nothing here"


def test_values_that_a_variant_leaves_alone_keep_what_calibration_saw() -> None:
    """toy-doubled changes y; x is as it was, though the kept feed holds a part of what was seen."""
    program = calibrated()
    program.statistics = {each: ChannelMean(rows=10**6) for each in MEANS}
    target = target_of("onnxruntime")
    asking = [Variant("toy-asking")]
    moved = with_base(program, target, Variant("toy-doubled"), feeds()[:1], asking)
    assert moved.observations["x"] is program.observations["x"]
    assert [moved.statistics[each].count for each in MEANS] == [10**6, 2]
    assert set(MEANS) < moved.requests.keys()
    old, new = (each.observations["y"].range_for(U8_AFFINE) for each in (program, moved))
    assert moved.observations["y"].count < program.observations["y"].count
    assert (old.low, old.high) != (new.low, new.high)


def test_variants_are_tried_in_the_order_of_their_stages() -> None:
    given = ["correct-bias", "use-ranges{method=minmax}", "toy-doubled", "toy-shifted"]
    found = [each.text for each in variants_of(RECIPES["best"], "best", given)]
    assert found == ["toy-doubled", "use-ranges{method=minmax}", "correct-bias", "toy-shifted"]
    for name, recipe in RECIPES.items():
        listed = tuple(each.text for each in variants_of(recipe, name, recipe.variants))
        assert listed == recipe.variants, name


def test_a_budget_holds_for_variants() -> None:
    """What a variant would cost is told, with what it took; nothing is begun past the budget."""
    program = from_text(TEXT)

    def tried(budget: float) -> VariantRow:
        compiled = qc.compile(
            program, calibration=feeds(), scheme="int8", variants=["toy-shifted"], budget=budget
        )
        return compiled.report.variants[0]

    none, some = tried(0), tried(60)
    assert (none.after, none.seconds, none.kept) == (None, 0.0, False)
    assert "not begun" in none.told
    assert some.after is not None
    assert some.seconds > 0
    assert some.price > 0
    assert "foreseen" in some.told


@pytest.mark.parametrize("text", ["toy-shifted", "toy-doubled"])
def test_a_variant_that_makes_it_worse_is_not_in_the_result(text: str) -> None:
    program = from_text(TEXT)
    plain = qc.compile(program, calibration=feeds(), scheme="int8", variants=())
    tried = qc.compile(program, calibration=feeds(), scheme="int8", variants=[text])
    np.testing.assert_array_equal(tried.run(feeds()[0])[0], plain.run(feeds()[0])[0])
    assert tried.plan.variants == ()
    assert any(text in row.name and not row.kept for row in tried.report.variants)


@pytest.mark.parametrize("at", ["requests", "price", "runs", "apply"])
def test_a_variant_that_raises_is_none(at: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a pass does, the network is compiled; what happened is told."""
    text = f"toy-broken{{at={at}}}"
    tried = qc.compile(from_text(TEXT), calibration=feeds(), scheme="int8", variants=[text])
    assert not any(row.kept for row in tried.report.variants)
    told = [row.told for row in tried.report.variants if "toy-broken" in row.name]
    raised = [each for each in (*told, caplog.text) if f"in {at}" in each or "IndexError" in each]
    assert raised
    assert tried.verify(feeds()[:1]).ok


def test_a_plan_is_applied_with_its_variants() -> None:
    program = from_text(TEXT)
    compiled = qc.compile(program, calibration=feeds(), scheme="int8")
    plan = dataclasses.replace(compiled.plan, variants=("toy-shifted",))
    again = qc.compile(program, calibration=feeds(), plan=qc.Plan.from_json(plan.to_json()))
    assert again.plan.variants == ("toy-shifted",)
    assert not np.array_equal(again.run(feeds()[0])[0], compiled.run(feeds()[0])[0])
