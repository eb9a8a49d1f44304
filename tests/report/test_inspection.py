"""What `inspect` says of sizes: counted where the inputs tell them, named where only a run does."""

from __future__ import annotations

import numpy as np

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.text import from_text
from qcompiler.report.inspection import facts, show_facts

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


def test_regions_that_are_not_listed_are_counted() -> None:
    told = show_facts(facts(from_text(KNOWN), OnnxRuntime(1)), most=0)
    assert "  and 1 more: --all\n" in told
