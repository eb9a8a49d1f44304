"""`verify` names the region that differs, counts its steps, and says what it did not look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import VerificationError
from qcompiler.execution.verification import Verification
from qcompiler.execution.verifying import verify_artifact
from qcompiler.ir.signature import Feed
from qcompiler.ir.text import from_text
from qcompiler.target.artifact import Artifact, KernelCount

Array = npt.NDArray[Any]

NETWORK = """
g (float[N,4,8,8] x, float[N,4,8,8] z) => (float[N,5] y)
<float[4,4,3,3] w0, float[4] b0, float[6,4,3,3] w1, float[5,24] w2, float[5] b2>
{
   [one] c0 = Conv<pads = [1,1,1,1]>(x, w0, b0)
   [one_relu] r0 = Relu(c0)
   [sum] s = Add(r0, z)
   [two] c1 = Conv<strides = [4,4]>(s, w1)
   [squash] g = Sigmoid(c1)
   [flat] f = Flatten(g)
   [head] y = Gemm<transB = 1>(f, w2, b2)
}
"""


class Shifted(Artifact):
    """An engine whose value `name` is off by `steps` in the first `count` elements."""

    def __init__(self, inner: Artifact, name: str, steps: int, count: int) -> None:
        self._inner, self._name, self._steps, self._count = inner, name, steps, count

    def run(self, feed: Feed) -> list[Array]:
        return self._inner.run(feed)

    def save(self, path: Path) -> None:
        self._inner.save(path)

    @property
    def nbytes(self) -> int:
        return self._inner.nbytes

    def kernels(self) -> KernelCount:
        return self._inner.kernels()

    def tap(
        self, feeds: Sequence[Feed], values: Sequence[str]
    ) -> Iterator[Mapping[str, Array]] | None:
        runs = self._inner.tap(feeds, values)
        assert runs is not None
        return self._shifted(runs)

    def _shifted(self, runs: Iterator[Mapping[str, Array]]) -> Iterator[Mapping[str, Array]]:
        for run in runs:
            wrong = dict(run)
            flat = wrong[self._name].reshape(-1).astype(np.int64)
            flat[: self._count] += np.where(flat[: self._count] > 127, -self._steps, self._steps)
            wrong[self._name] = flat.reshape(run[self._name].shape).astype(run[self._name].dtype)
            yield wrong


class Reshaped(Shifted):
    """An engine that gives a value `name` without its last `count` rows."""

    def _shifted(self, runs: Iterator[Mapping[str, Array]]) -> Iterator[Mapping[str, Array]]:
        for run in runs:
            yield {**run, self._name: run[self._name][: -self._count]}


class Silent(Shifted):
    """An engine that shows no interior values."""

    def tap(
        self, feeds: Sequence[Feed], values: Sequence[str]
    ) -> Iterator[Mapping[str, Array]] | None:
        return None


def _feed(batch: int, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    shape = (batch, 4, 8, 8)
    return {name: rng.standard_normal(shape).astype(np.float32) for name in ("x", "z")}


@pytest.fixture
def compiled() -> qc.Compiled:
    feeds = [_feed(3, seed) for seed in range(3)]
    return qc.compile(from_text(NETWORK), OnnxRuntime(1), feeds, scheme="int8", recipe="fast")


def _output_of(compiled: qc.Compiled, key: str) -> str:
    """Name of the integers that a region writes."""
    for region in compiled.target.regions(compiled.program):
        if region.key == key:
            (use,) = region.output.uses()
            return use.node.outputs[0].name or ""
    raise AssertionError(key)


def _verified(compiled: qc.Compiled, artifact: Artifact, **options: Any) -> Verification:
    return verify_artifact(compiled.program, compiled.target, artifact, [_feed(3, 9)], **options)


def test_onnx_runtime_is_bit_exact(compiled: qc.Compiled) -> None:
    found = compiled.verify().require()
    compared = {check.region: check for check in found.checked}
    assert {"one", "sum", "two", "squash", "head"} == set(compared)
    assert all(check.lsb.keys() == {0} for check in compared.values())
    # Three kept samples of three rows, four channels of 8 x 8.
    assert compared["one"].elements == 3 * 3 * 4 * 8 * 8
    assert dict(found.unchecked) == {"flat": "it only moves integers"}
    assert found.text().startswith("ok: 5 regions")


def test_given_feeds_and_rows_bound_the_work(compiled: qc.Compiled) -> None:
    found = compiled.verify([_feed(5, 1)], rows=2)
    assert {check.region: check.elements for check in found.checked}["one"] == 2 * 4 * 8 * 8


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (3, 7)])
def test_a_wrong_kernel_is_named_with_its_steps(
    compiled: qc.Compiled, steps: int, count: int
) -> None:
    wrong = Shifted(compiled.artifact, _output_of(compiled, "head"), steps, count)
    found = _verified(compiled, wrong)
    assert not found.ok
    (failed,) = found.failed
    assert failed.region == "head"
    assert failed.lsb[steps] == count
    with pytest.raises(VerificationError, match="head") as caught:
        found.require()
    assert len(caught.value.diagnostics) == 1
    assert found.text().startswith("FAILED")
    assert f"head: {steps} LSB in {count} of" in found.text()


def test_a_result_of_another_shape_is_wrong(compiled: qc.Compiled) -> None:
    found = _verified(compiled, Reshaped(compiled.artifact, _output_of(compiled, "head"), 0, 1))
    assert [each.region for each in found.failed] == ["head"]


def test_a_tolerance_is_what_the_target_declares(compiled: qc.Compiled) -> None:
    class Loose(OnnxRuntime):
        tolerance_lsb = 1

    wrong = Shifted(compiled.artifact, _output_of(compiled, "head"), 1, 4)
    loose = replace(compiled, target=Loose(1))
    assert _verified(loose, wrong).ok
    wrong = Shifted(compiled.artifact, _output_of(compiled, "head"), 2, 4)
    assert not _verified(loose, wrong).ok


def test_an_engine_without_taps_checks_nothing_and_says_so(compiled: qc.Compiled) -> None:
    found = _verified(compiled, Silent(compiled.artifact, "", 0, 0))
    assert found.checked == ()
    assert set(found.unchecked) == {"one", "sum", "two", "squash", "flat", "head"}
    assert "shows no interior values" in found.text()


def test_no_time_leaves_regions_unchecked(compiled: qc.Compiled) -> None:
    found = _verified(compiled, compiled.artifact, seconds=0.0)
    assert found.checked == ()
    assert found.unchecked["one"] == "the time for verification was up"


def test_reading_values_keeps_the_kernels(compiled: qc.Compiled) -> None:
    """A float value inside a fused kernel cannot be shown without splitting it: it is left out."""
    interior = "c0"  # between Conv and the Relu that QLinearConv absorbs
    runs = compiled.artifact.tap([_feed(1, 0)], [interior, _output_of(compiled, "one")])
    assert runs is not None
    (values,) = runs
    assert set(values) == {_output_of(compiled, "one")}


def test_the_report_carries_the_outcome() -> None:
    feeds = [_feed(3, seed) for seed in range(3)]
    compiled = qc.compile(from_text(NETWORK), OnnxRuntime(1), feeds, scheme="int8")
    rules = [found.rule for found in compiled.report.diagnostics]
    assert rules.count("VERIFY00") == 1


@pytest.mark.parametrize("target", ["onnxruntime", "fbgemm"])
def test_data_without_a_range_is_not_compared(target: str) -> None:
    dynamic = qc.compile(from_text(NETWORK), target, scheme="dynamic", recipe="fast")
    fine, broken = _feed(3, 0), _feed(3, 1)
    broken["x"][1] = np.nan
    key = dynamic.verify([fine]).require().checked[0].region
    found = dynamic.verify([broken])
    assert key not in {each.region for each in found.checked}
    assert "not finite" in found.unchecked[key]


def test_a_quantized_program_without_a_plan_is_not_ok(
    compiled: qc.Compiled, tmp_path: Path
) -> None:
    program = compiled.program.clone()
    program.plan = None
    found = verify_artifact(program, compiled.target, compiled.artifact, [_feed(2, 0)])
    assert not found.ok
    assert "does not say which regions" in found.text()
    file = compiled.save(tmp_path / "a.onnx")
    again = qc.load_compiled(file)
    assert again.verify([_feed(2, 0)]).require().checked
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, file)
    bare = qc.load_compiled(file, "onnxruntime")
    assert not bare.verify([_feed(2, 0)]).ok
    assert "holds no plan" in bare.report.warnings[0]
