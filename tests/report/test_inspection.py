"""What `inspect` says of sizes: counted where the inputs tell them, named where only a run does."""

from __future__ import annotations

import numpy as np

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.text import from_text
from qcompiler.report.inspection import facts
from qcompiler.report.inspection_text import show_facts

KNOWN = """
g (float[n,3,8,8] x) => (float[n,4,8,8] y) <float[4,3,1,1] w> {
  y = Conv (x, w) }"""
# Slice's ends are an input: the height and width behind it are known in a run only.
UNKNOWN = """
g (float[n,3,8,8] x, int64[2] ends) => (float[n,4,h,v] y)
  <float[4,3,1,1] w, int64[2] s = {0, 0}, int64[2] axes = {2, 3}> {
  part = Slice (x, s, ends, axes)
  y = Conv (part, w) }"""


def test_sizes_that_inputs_tell_are_counted() -> None:
    found = facts(from_text(KNOWN), OnnxRuntime(1))
    assert (found["macs"], found["macs_of_unknown_size"]) == (4 * 3 * 8 * 8, 0)
    assert "multiply-accumulates: 768, n at 1\n" in show_facts(found)


def test_sizes_that_only_a_run_tells_are_named() -> None:
    found = facts(from_text(UNKNOWN), OnnxRuntime(1))
    assert found["macs_of_unknown_size"] == 1
    told = show_facts(found)
    assert "multiply-accumulates: at least " in told
    assert "products whose sizes only a run tells: 1" in told


def test_sizes_are_those_of_a_run_on_what_is_given() -> None:
    feed = {"x": np.zeros((2, 3, 8, 8), np.float32), "ends": np.array([5, 4])}
    found = facts(from_text(UNKNOWN), OnnxRuntime(1), feed=feed)
    assert (found["macs"], found["macs_of_unknown_size"]) == (2 * 4 * 3 * 5 * 4, 0)
    assert "multiply-accumulates: 480 with x 2x3x8x8, ends 2\n" in show_facts(found)


ALIKE = """
g (float[n,3,8,8] x) => (float[n,3,8,8] y) <float[3,3,1,1] w, float[3,3,1,1] v> {
  [one] a = Conv (x, w)
  [two] b = Conv (a, v)
  [last] y = Sin (b) }"""


def test_regions_that_are_alike_share_a_line() -> None:
    found = facts(from_text(ALIKE), OnnxRuntime(1))
    (line,) = [line for line in show_facts(found).splitlines() if " Conv " in line]
    assert line.split()[:3] == ["2", "Conv", "int8"]
    assert line.endswith("one, two")
    assert [line.split()[:2] for line in show_facts(found, every=True).splitlines()[-2:]] == [
        ["one", "Conv"],
        ["two", "Conv"],
    ]


def test_sizes_that_take_a_line_to_compute_are_not_spelled_out() -> None:
    found = facts(from_text(KNOWN), OnnxRuntime(1))
    long = "(floor(floor(Max(h, 2)/2 - 1/2)/2) + 1)*(floor(w/2) + 1)"
    found["outputs"] = [f"y: float[n, Max(1, h), {long}]", f"z: sequence(float[{long}, 4])"]
    told = show_facts(found)
    assert "  out y: float[n, Max(1, h), computed]\n" in told
    assert "  out z: sequence(float[computed, 4])\n" in told
