"""What every measurable target has to pass: `class TestMine(TargetContract): target = Mine()`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from qcompiler.compile import compile as compile_model
from qcompiler.compiled import Compiled
from qcompiler.errors import ArtifactError, FeedError
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.target.contract import Target

Array = npt.NDArray[Any]

NETWORK = """
contract (float[N,3,8,8] x) => (float[N,10] y)
<float[8,3,3,3] w0, float[8] b0, float[8,8,3,3] w1, float[8] b1, float[10,8] w2, float[10] b2>
{
   [first] c0 = Conv<pads: ints = [1,1,1,1]>(x, w0, b0)
   [first_relu] r0 = Relu(c0)
   [pool] p0 = MaxPool<kernel_shape: ints = [2,2], strides: ints = [2,2]>(r0)
   [second] c1 = Conv<pads: ints = [1,1,1,1]>(p0, w1, b1)
   [sum] s = Add(c1, p0)
   [sum_relu] r1 = Relu(s)
   [mean] g = GlobalAveragePool(r1)
   [flat] f = Flatten(g)
   [head] y = Gemm<transB: int = 1>(f, w2, b2)
}
"""
"""Convolutions, a residual sum, pooling and a classifier, with an open batch."""

ODD = """
odd (float[N,4,6,6] x, float[4,4,1,1] k, double[N,8] d) => (float[N,4,6,6] y, double[N,4] z)
<double[8,4] w>
{
   [computed_weight] y = Conv(x, k)
   [doubles] z = MatMul(d, w)
}
"""
"""Nothing here can run in integers on any target."""


class TargetContract:
    """Subclasses set `target`, and `load` to run a saved artifact without this library's help.

    Attributes:
        target: The target under test.
        max_nsr: Noise-to-signal ratio allowed for 8 bits on this network (20 dB).
        uncounted: Regions whose kernels the engine does not tell.
        rows_apart: Relative difference of a row that is computed in another batch.
    """

    target: ClassVar[Target]
    max_nsr: ClassVar[float] = 0.01
    uncounted: ClassVar[frozenset[str]] = frozenset()
    rows_apart: ClassVar[float] = 0.0

    def load(self, path: Path) -> Callable[[dict[str, Array]], Sequence[Array]]:
        """Runs a saved artifact in the engine itself, as a user without qcompiler would."""
        raise AssertionError("the subclass has to say how its artifacts are loaded")

    @pytest.fixture
    def source(self) -> Program:
        return from_text(NETWORK)

    @pytest.fixture
    def compiled(self, source: Program) -> Compiled:
        return self.build(source)

    def build(self, source: Program, plan: Plan | None = None) -> Compiled:
        """Compiles with everything in 8 bits, or under the plan."""
        feeds = [{"x": images(4, seed)} for seed in range(4)]
        return compile_model(
            source, self.target, feeds, scheme="int8", plan=plan, recipe="fast", progress=False
        )

    def test_outputs_are_near_float(self, source: Program, compiled: Compiled) -> None:
        feed = {"x": images(5, 9)}
        (wanted,) = in_float(source, feed)
        (found,) = compiled.run(feed)
        noise = float(np.square(wanted - found).sum() / np.square(wanted).sum())
        assert 0 < noise <= self.max_nsr  # equality would mean that nothing was quantized

    def test_a_saved_artifact_runs_the_same(self, compiled: Compiled, tmp_path: Path) -> None:
        path = compiled.save(tmp_path / "artifact")
        feed = {"x": images(2, 5)}
        found = self.load(path)(feed)
        for one, other in zip(compiled.run(feed), found, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_every_planned_region_is_an_integer_kernel(self, compiled: Compiled) -> None:
        planned = {key for key, each in compiled.plan.choices.items() if each.precision != FLOAT}
        assert {"first", "second"} <= planned
        assert dict(compiled.kernels.missed) == {}
        assert planned - self.uncounted == set(compiled.kernels.integer)

    def test_a_region_without_integer_form_has_a_reason(self) -> None:
        regions = self.target.regions(from_text(ODD))
        for region in regions:
            assert self.target.implementations(region) == ()
            assert all(found.message for found in self.target.objections(region))
            assert self.target.objections(region)

    def test_a_plan_is_followed_to_the_letter(self, source: Program, compiled: Compiled) -> None:
        precision = compiled.plan.precision("second")
        plan = Plan(self.target.name, {"second": Choice(precision)})
        partly = self.build(source, plan)
        quantized = {k for k, each in partly.plan.choices.items() if each.precision != FLOAT}
        assert quantized == {"second"}
        assert partly.kernels.integer == ("second",)
        assert dict(partly.kernels.missed) == {}

    @pytest.mark.parametrize("batch", [1, 3, 17])
    def test_t10_one_artifact_runs_any_batch(self, compiled: Compiled, batch: int) -> None:
        whole = images(17, 3)
        (all_rows,) = compiled.run({"x": whole})
        (rows,) = compiled.run({"x": whole[:batch]})
        np.testing.assert_allclose(rows, all_rows[:batch], rtol=self.rows_apart, atol=0)

    @pytest.mark.parametrize(
        "feed",
        [
            {"wrong": np.zeros((1, 3, 8, 8), np.float32)},
            {"x": np.zeros((1, 3, 8, 9), np.float32)},
            {"x": np.zeros((1, 3, 8, 8), np.int64)},
            {},
        ],
        ids=["name", "shape", "dtype", "missing"],
    )
    def test_a_wrong_feed_is_refused(self, compiled: Compiled, feed: dict[str, Array]) -> None:
        with pytest.raises(FeedError):
            compiled.run(feed)

    def test_the_artifact_agrees_with_the_integer_reference(self, compiled: Compiled) -> None:
        found = compiled.verify()
        assert found.ok, found.text()
        compared = {check.region for check in found.checked}
        wanted = {key for key, each in compiled.plan.choices.items() if each.precision != FLOAT}
        assert wanted <= compared | set(found.unchecked)

    def test_an_unwritable_place_is_an_error_and_stays_empty(
        self, compiled: Compiled, tmp_path: Path
    ) -> None:
        with pytest.raises(ArtifactError):
            compiled.save(tmp_path / "missing" / "artifact")
        taken = tmp_path / "taken"
        taken.mkdir()
        with pytest.raises(ArtifactError):
            compiled.save(taken)  # a folder has this name
        assert [path.name for path in tmp_path.iterdir()] == ["taken"]
        assert list(taken.iterdir()) == []

    def test_the_same_input_gives_the_same_bytes(self, source: Program, tmp_path: Path) -> None:
        written = [
            self.build(source.clone()).save(tmp_path / f"artifact{i}").read_bytes()
            for i in range(2)
        ]
        assert written[0] == written[1]


def images(batch: int, seed: int) -> Array:
    """Normal float32 images [batch, 3, 8, 8]."""
    return np.random.default_rng(seed).standard_normal((batch, 3, 8, 8)).astype(np.float32)


def in_float(program: Program, feed: dict[str, Array]) -> list[Array]:
    """Outputs as onnx.reference computes them."""
    evaluator = ReferenceEvaluator(ir.to_proto(program.model))
    return [np.asarray(output) for output in evaluator.run(None, dict(feed))]
