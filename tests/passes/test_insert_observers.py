"""insert-observers: which values are watched, as text and against a target's regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx
import pytest

from qcompiler.errors import ConfigurationError, LoweringError
from qcompiler.frontends.load import load
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Epilogue, RegionPattern, Stage
from qcompiler.ir.text import from_text, to_text
from qcompiler.ir.verifier import verify
from qcompiler.passes.insert_observers import InsertObservers
from qcompiler.pipeline.contract import PassContext
from qcompiler.quantization.qspace import S8_SYMMETRIC_PER_CHANNEL, U8_AFFINE
from qcompiler.target.artifact import Artifact
from qcompiler.target.capability import CapabilityTable, Constraint, Implementation, OpCapability
from qcompiler.target.contract import Target

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
INT8 = Implementation("int8", activation=U8_AFFINE, weight=S8_SYMMETRIC_PER_CHANNEL)
RELU = Epilogue(Stage.ACTIVATION, frozenset({"Relu"}))


@dataclass(frozen=True)
class ConvOnly(Target):
    """Runs Conv (+ Relu) in int8 unless the anchor's name says no."""

    name: ClassVar[str] = "conv-only"

    @property
    def capabilities(self) -> CapabilityTable:
        def refuse(region: object) -> str | None:
            return "refused" if "stay_float" in str(region) else None

        row = OpCapability(
            RegionPattern("Conv", (RELU,)), (INT8,), (Constraint("not-this", refuse),)
        )
        return CapabilityTable((row,))

    def lower(self, program: Program) -> Artifact:
        raise LoweringError("this target is for placement only")


def program_of(graph: str) -> Program:
    return load(onnx.parser.parse_model(HEAD + graph))


def observed(program: Program) -> list[str]:
    return [request.value for request in program.requests]


CONV = """g (float[n, 2, 8, 8] x) => (float[n, 2, 8, 8] y)
<float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2, 2, 1, 1] k = {1, 2, 3, 4}>
{ c = Conv(x, w)  r = Relu(c)  p = MaxPool<kernel_shape = [1, 1]>(r)
  t = Transpose<perm = [0, 1, 3, 2]>(p)  e = Exp(t)  stay_float = Conv(e, k)  y = Exp(stay_float) }
"""


BEFORE = (
    HEAD
    + """g (float[2, 4] x) => (float[2, 2] y) <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}>
{ m = MatMul(x, w)  y = Relu(m) }"""
)
AFTER = """\
<
   ir_version: 10,
   opset_import: ["" : 21]
>
g (float[2,4] x) => (float[2,2] y)
   <float[4,2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}>
{
   [MatMul_m] m = MatMul (x, w)
   [Relu_y] y = Relu (m)
}
# observe "x": range {"method": "percentile", "percentile": 99.5}
# observe "m": range {"method": "percentile", "percentile": 99.5}
# observe "y": range {"method": "percentile", "percentile": 99.5}
"""


def test_golden_text() -> None:
    program = from_text(BEFORE)
    InsertObservers(method="percentile", percentile=99.5).run(program, PassContext())
    assert to_text(program) == AFTER
    again = from_text(to_text(program))
    assert (to_text(again), again.requests) == (AFTER, program.requests)


def test_with_a_target_its_regions_and_what_shares_their_scale() -> None:
    program = program_of(CONV)
    report = InsertObservers().run(program, PassContext(target=ConvOnly()))
    # c is inside the kernel; p and t keep the scale of r; e, stay_float, y belong to no region.
    assert observed(program) == ["x", "r", "p", "t"]
    assert not report.modified  # the graph is as it was
    assert report.details == {"observed": 4}
    assert not [found for found in verify(program) if found.severity.name == "ERROR"]


def test_results_that_nobody_reads_are_left_out() -> None:
    program = program_of(
        """g (float[2, 3, 8, 8] x) => (float[1, 1, 8, 8] y)
        <float[1, 3, 1, 1] w = {1, 2, 3}>
        { a, unread = Split<axis = 0, num_outputs = 2>(x)  y = Conv(a, w) }"""
    )
    InsertObservers().run(program, PassContext(target=ConvOnly()))
    assert observed(program) == ["x", "a", "y"]


def test_without_a_target_every_activation() -> None:
    program = program_of(CONV)
    InsertObservers().run(program, PassContext())
    assert observed(program) == ["x", "c", "r", "p", "t", "e", "stay_float", "y"]


def test_running_twice_replaces_the_observers() -> None:
    program = program_of(CONV)
    InsertObservers().run(program, PassContext())
    InsertObservers(method="mse").run(program, PassContext(target=ConvOnly()))
    assert observed(program) == ["x", "r", "p", "t"]
    assert {request.given["method"] for request in program.requests} == {"mse"}


def test_integers_and_constants_are_left_out() -> None:
    program = program_of(
        """g (int64[n] i, float[n, 2] x) => (float[n, 2] y, int64[n] j) <float[2] b = {1, 2}>
        { j = Add(i, i)
          k = Constant<value_floats = [1.0, 2.0]>()  a = Add(x, k)  y = Add(a, b) }"""
    )
    InsertObservers().run(program, PassContext())
    assert observed(program) == ["x", "a", "y"]


def test_bodies_and_outer_values() -> None:
    program = program_of(
        """g (float[n, 4] x, bool c) => (float[n, 4] y) <float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8,
        1, 2, 3, 4, 5, 6, 7, 8}>
        { o = Tanh(x)
          y = If (c) <then_branch = t () => (float[n, 4] a) { a = MatMul(o, w) },
            else_branch = e () => (float[n, 4] b) { m = MatMul(o, w)  b = Relu(m) }> }"""
    )
    InsertObservers().run(program, PassContext())
    assert sorted(observed(program)) == ["a", "b", "m", "o", "x"]
    assert not [found for found in verify(program) if found.severity.name == "ERROR"]


ATTENTION = """g (float[n, 4] q, float[4, n] k, float[n] mask) => (float[n, n] y)
<float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}, float one = {1},
 float big = {-10000}, float eight = {8}>
{ p = MatMul(q, w)  scores = MatMul(p, k)  scaled = Div(scores, eight)
  inverse = Sub(one, mask)  bias = Mul(inverse, big)
  masked = Add(scaled, bias)  y = Softmax(masked) }"""


def test_masks_and_masked_scores_are_left_out() -> None:
    program = program_of(ATTENTION)
    InsertObservers().run(program, PassContext())
    seen = observed(program)
    assert "bias" not in seen
    assert "masked" not in seen
    assert {"q", "k", "p", "scores", "scaled", "y"} <= set(seen)


def test_an_add_of_two_products_is_no_mask() -> None:
    program = program_of(ATTENTION.replace("Add(scaled, bias)", "Add(scaled, scores)"))
    InsertObservers().run(program, PassContext())
    assert {"masked", "scaled", "scores"} <= set(observed(program))


def test_an_add_without_softmax_is_no_mask() -> None:
    program = program_of(ATTENTION.replace("Softmax(masked)", "Relu(masked)"))
    InsertObservers().run(program, PassContext())
    assert {"masked", "bias"} <= set(observed(program))


def test_declared_properties() -> None:
    assert InsertObservers.establishes == {Property.OBSERVED}
    assert Property.CALIBRATED in InsertObservers.destroys


def test_wrong_options() -> None:
    with pytest.raises(ConfigurationError, match="no calibration method"):
        InsertObservers(method="guess")
    with pytest.raises(ConfigurationError, match="percentile"):
        InsertObservers(method="minmax", percentile=99.0)
