"""Laws of placement on random graphs under random plans, against fake quantization in numpy.

All steps are powers of two and all weights are multiples of theirs, so every sum is exact in
float32 in any order of addition: the comparison is of bits, not within a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.passes.placement.fold_qdq import FoldQdq
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.observers import MinMax
from tests.oracle import unoptimized

Array = npt.NDArray[Any]

_TEXTS = {
    "conv": "Conv({0}, w, b)",
    "relu": "Relu({0})",
    "add": "Add({0}, {1})",
    "pool": "MaxPool<kernel_shape = [3,3], pads = [1,1,1,1]>({0})",
    "turn": "Transpose<perm = [0,1,3,2]>({0})",
    "join": "Concat<axis = 1>({0}, {1})",
    "halve": "Conv({0}, v)",
    "sine": "Sin({0})",
}
_KEEPS_RANGE = {"pool", "turn"}
_REGIONS = {"conv", "add", "pool", "turn", "join", "halve"}
_HEAD = "g (float[2,4,3,3] x) => ({outputs}) <float[4,4,1,1] w, float[4] b, float[4,8,1,1] v>"


@dataclass(frozen=True)
class Step:
    """One node: its kind, the value it makes and the values it reads."""

    kind: str
    name: str
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A graph, what was observed of every value, and the regions that are to be int8."""

    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    ranges: dict[str, tuple[float, float]]
    quantized: frozenset[str]
    seed: int

    @property
    def text(self) -> str:
        shapes = {step.name: 8 if step.kind == "join" else 4 for step in self.steps}
        ends = ", ".join(f"float[2,{shapes[name]},3,3] {name}" for name in self.outputs)
        lines = [f"[n_{s.name}] {s.name} = {_TEXTS[s.kind].format(*s.reads)}" for s in self.steps]
        return f"{_HEAD.format(outputs=ends)} {{ {' '.join(lines)} }}"

    @property
    def weights(self) -> dict[str, Array]:
        """Multiples of 2**-7 whose largest one in every channel is 127 * 2**-7."""
        rng = np.random.default_rng(self.seed)
        found = {}
        for name, shape in (("w", (4, 4, 1, 1)), ("v", (4, 8, 1, 1))):
            whole = rng.integers(-127, 128, shape)
            whole[:, 0] = 127
            found[name] = (whole * 2.0**-7).astype(np.float32)
        found["b"] = (rng.integers(-99, 99, 4) * 2.0**-7).astype(np.float32)
        return found

    @property
    def feed(self) -> dict[str, Array]:
        rng = np.random.default_rng(self.seed + 1)
        return {"x": (rng.integers(-300, 300, (2, 4, 3, 3)) * 2.0**-7).astype(np.float32)}


@st.composite
def _cases(draw: st.DrawFn, exact: bool = False) -> Case:
    """Any graph; `exact` ones have every convolution in int8, since float ones add up digits."""
    kinds = [kind for kind in _TEXTS if kind != "halve" and not (exact and kind == "sine")]
    steps: list[Step] = []
    names = ["x"]
    ranges = {"x": _range(draw, signed=True)}
    for index in range(draw(st.integers(1, 10))):
        kind = draw(st.sampled_from(kinds))
        near, far = draw(st.sampled_from(names[-3:])), draw(st.sampled_from(names))
        reads = (near, far) if kind in ("add", "join") else (near,)
        steps.append(Step(kind, f"t{index}", reads))
        if kind == "join":
            ranges[f"t{index}"] = _range(draw, signed=True)
            steps.append(Step("halve", f"h{index}", (f"t{index}",)))
        name = steps[-1].name
        same = steps[-1].kind in _KEEPS_RANGE
        ranges[name] = ranges[reads[0]] if same else _range(draw, signed=kind != "relu")
        names.append(name)
    outputs = (names[-1], *draw(st.sets(st.sampled_from(names[1:]), max_size=2)) - {names[-1]})
    keys = [step.name for step in steps if step.kind in _REGIONS]
    sums = {s.name for s in steps if s.kind in ("conv", "halve")} if exact else set()
    quantized = sums | {key for key in keys if draw(st.integers(0, 3))}
    return Case(tuple(steps), outputs, ranges, frozenset(quantized), draw(st.integers(0, 9)))


def _range(draw: st.DrawFn, signed: bool) -> tuple[float, float]:
    """A range of 255 steps that are a power of two."""
    step = 2.0 ** -draw(st.integers(4, 6))
    zero = draw(st.sampled_from([64, 128])) if signed else 0
    return (-zero * step, (255 - zero) * step)


def _calibrated(case: Case) -> tuple[Program, PassContext]:
    program = from_text(case.text, case.weights)
    for name, (low, high) in case.ranges.items():
        program.observations[name] = MinMax.empty().update(np.asarray([[low, high]]))
    target = OnnxRuntime(1)
    keys = {region.key for region in target.regions(program)}
    choices = {f"n_{name}": Choice("int8") for name in case.quantized if f"n_{name}" in keys}
    return program, PassContext(target, options={"plan": Plan("onnxruntime", choices)})


def _run(program: Program, feed: dict[str, Array]) -> list[Array]:
    return unoptimized(program, feed)


class _Oracle:
    """Runs the steps in numpy; quantizes and dequantizes at the edges of int8 regions."""

    def __init__(self, case: Case, program: Program) -> None:
        assert program.plan is not None
        assert program.placement is not None
        self._case, self._placement = case, program.placement
        self._int8 = {k[2:] for k, c in program.plan.choices.items() if c.precision != FLOAT}
        readers = [name for step in case.steps for name in step.reads]
        # A ReLU is absorbed by its producer's kernel when it is the only one to read it.
        self._absorbed = {
            step.reads[0]
            for step in case.steps
            if step.kind == "relu"
            and readers.count(step.reads[0]) == 1
            and step.reads[0] not in case.outputs
            and self._kind(step.reads[0]) in ("conv", "add", "halve")
        }

    def _kind(self, name: str) -> str:
        return next((step.kind for step in self._case.steps if step.name == name), "input")

    def run(self) -> list[Array]:
        values = dict(self._case.feed)
        for step in self._case.steps:
            result = self._compute(step, values)
            owner = step.reads[0] if step.reads[0] in self._absorbed else step.name
            if owner in self._int8 and step.name not in self._absorbed:
                result = self._rounded(result, step.name)
            values[step.name] = result
        return [values[name] for name in self._case.outputs]

    def _rounded(self, value: Array, name: str) -> Array:
        params = self._placement.params(name)
        steps = np.rint(value / params.scale) + params.zero_point
        clamped = np.clip(steps, 0, 255) - params.zero_point
        return (clamped * params.scale).astype(np.float32)

    def _compute(self, step: Step, values: dict[str, Array]) -> Array:
        reads = [values[name] for name in step.reads]
        if step.name in self._int8:
            reads = [self._rounded(v, n) for v, n in zip(reads, step.reads, strict=True)]
        if step.kind in ("conv", "halve"):
            weight = self._case.weights["w" if step.kind == "conv" else "v"]
            sums = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0].astype(np.float64), reads[0])
            bias = self._case.weights["b"].reshape(1, -1, 1, 1) if step.kind == "conv" else 0.0
            return np.asarray(sums + bias, np.float32)
        if step.kind == "pool":
            padded = np.pad(reads[0], [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
            return np.asarray(windows.max((-2, -1)))
        if step.kind == "join":
            return np.concatenate(reads, 1)
        if step.kind == "add":
            return np.asarray(reads[0] + reads[1])
        return reads[0].transpose(0, 1, 3, 2) if step.kind == "turn" else np.maximum(reads[0], 0)


_PLACE = "assign-precision,resolve-placement,insert-qdq,fold-qdq,quantize-weights,quantize-bias"


@settings(max_examples=50, deadline=None)
@given(_cases(exact=True))
def test_a_placed_program_is_fake_quantization_bit_by_bit(case: Case) -> None:
    program, context = _calibrated(case)
    Pipeline.parse(_PLACE).run(program, context)
    assert [str(found) for found in verify(program)] == []
    for wanted, found in zip(_Oracle(case, program).run(), _run(program, case.feed), strict=True):
        np.testing.assert_array_equal(found, wanted)


@settings(max_examples=50, deadline=None)
@given(_cases())
def test_folding_keeps_every_bit_and_is_idle_the_second_time(case: Case) -> None:
    program, context = _calibrated(case)
    Pipeline.parse("assign-precision,resolve-placement,insert-qdq").run(program, context)
    before = _run(program, case.feed)
    FoldQdq().run(program, context)
    assert [str(found) for found in verify(program)] == []
    for wanted, found in zip(before, _run(program, case.feed), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert not FoldQdq().run(program, context).modified


@settings(max_examples=25, deadline=None)
@given(_cases())
def test_placing_is_deterministic(case: Case) -> None:
    texts = []
    for _ in range(2):
        program, context = _calibrated(case)
        Pipeline.parse(_PLACE).run(program, context)
        texts.append(ir.to_proto(program.model).SerializeToString(deterministic=True))
    assert texts[0] == texts[1]


def test_a_value_that_is_not_rounded_is_seen() -> None:
    """Negative control: the oracle sees it when a region of the plan was left in float."""
    steps = (Step("conv", "t0", ("x",)), Step("relu", "t1", ("t0",)))
    ranges = {"x": (-8.0, 7.9375), "t0": (-8.0, 7.9375), "t1": (0.0, 15.9375)}
    case = Case(steps, ("t1",), ranges, frozenset({"t0"}), 0)
    program, context = _calibrated(case)
    Pipeline.parse(_PLACE).run(program, context)
    (wanted,) = _Oracle(case, program).run()
    (found,) = _run(program, case.feed)
    np.testing.assert_array_equal(found, wanted)
    (unplaced,) = _run(from_text(case.text, case.weights), case.feed)
    assert np.any(unplaced != wanted)
