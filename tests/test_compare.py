"""`qc.compare` and `qc.lint`: figures against hand sums, findings against the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.bench import bench
from qcompiler.errors import ConfigurationError, FeedError, RegistryError
from qcompiler.ir.text import from_text
from tests.counting import Counting

BASE = "g (float[2,3] x) => (float[2,3] y) { y = Identity(x) }"
SHIFTED = "g (float[2,3] u) => (float[2,3] v) <float[3] c = {0.0, 0.0, 3.0}> { v = Add(u, c) }"
FEED = {"x": np.asarray([[1.0, 2.0, 0.0], [5.0, 0.0, 1.0]], np.float32)}


def test_differences_are_what_one_computes_by_hand() -> None:
    """3 is added to two of six elements: noise 2 * 9, signal 1 + 4 + 25 + 1; row 0's top moves."""
    found = qc.compare(from_text(BASE), from_text(SHIFTED), iter([FEED, FEED]))
    assert found.samples == 2
    (output,) = found.outputs
    assert output.name == "y"
    assert output.largest == 3.0
    assert output.noise == pytest.approx(18 / 31)
    assert output.same_top == 0.5
    assert "2.4 dB" in found.text()  # 10 log10(31 / 18)
    assert found.latency is None


def test_a_model_equals_itself() -> None:
    found = qc.compare(from_text(BASE), from_text(BASE), [FEED], seconds=0.05)
    assert (found.outputs[0].largest, found.outputs[0].noise, found.outputs[0].same_top) == (
        0,
        0,
        1,
    )
    assert "equal" in found.text()
    assert found.latency is not None
    assert found.latency.rounds >= 1
    assert found.latency.certainty in found.text()
    assert "not slower, by" in found.text()


def test_progress_counts_the_feeds() -> None:
    told = Counting()
    qc.compare(from_text(BASE), from_text(BASE), [FEED] * 3, progress=told)
    qc.compare(from_text(BASE), from_text(BASE), iter([FEED] * 3), progress=told)
    assert told.steps == {"compare": [3, 3]}  # a list's iterator knows its length
    qc.compare(from_text(BASE), from_text(BASE), (FEED for _ in range(3)), progress=told)
    assert told.steps == {"compare": [3, None]}


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), "1", True])
def test_seconds_are_a_number(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="seconds must be a number"):
        qc.compare(from_text(BASE), from_text(BASE), [FEED], seconds=seconds)
    with pytest.raises(ConfigurationError, match="seconds must be a number"):
        bench({"a": from_text(BASE)}, FEED, seconds=seconds)


def test_a_feed_that_does_not_fit_is_numbered() -> None:
    with pytest.raises(FeedError) as caught:
        qc.compare(from_text(BASE), from_text(BASE), [FEED, FEED, {"z": FEED["x"]}])
    assert "feed 2 (counted from 0)" in str(caught.value)


def test_labels_beside_the_inputs_are_left_out() -> None:
    labelled = [(FEED["x"], np.arange(2)), ({"x": FEED["x"]}, np.arange(2))]
    for feed in labelled:
        found = qc.compare(from_text(BASE), from_text(SHIFTED), [feed])
        assert found.outputs[0].largest == 3.0


def test_nan_in_one_model_only_is_no_agreement() -> None:
    logarithm = "g (float[2,3] x) => (float[2,3] y) { y = Log(x) }"
    absolute = "g (float[2,3] x) => (float[2,3] y) { a = Abs(x) y = Log(a) }"
    feed = {"x": np.asarray([[-1.0, 1.0, 2.0]] * 2, np.float32)}
    (found,) = qc.compare(from_text(logarithm), from_text(absolute), [feed]).outputs
    assert np.isinf(found.largest)
    (same,) = qc.compare(from_text(logarithm), from_text(logarithm), [feed]).outputs
    assert (same.largest, same.noise) == (0, 0)


def test_sequences_are_compared_tensor_by_tensor() -> None:
    """Their tensors may differ in shape, and their number in two models."""
    text = "g (float[2] x, float[3] y) => (seq(float) s) { s = SequenceConstruct(%s) }"
    one = from_text(text % "x, y")
    more = """g (float[2] x, float[3] y) => (seq(float) s) <float k = {1}> {
        z = Add(y, k) s = SequenceConstruct(x, z) }"""
    feed = {"x": np.ones(2, np.float32), "y": np.full(3, 2, np.float32)}
    assert qc.compare(one, one, [feed]).outputs[0].noise == 0
    (found,) = qc.compare(one, from_text(more), [feed]).outputs
    assert found.largest == 1
    with pytest.raises(ConfigurationError, match="2 tensors in one model and 1 in the other"):
        qc.compare(one, from_text(text % "y"), [feed])


def test_compiled_against_its_source(digits_path: Path, digits_feeds: list[dict[str, Any]]) -> None:
    compiled = qc.compile(digits_path, OnnxRuntime(1), digits_feeds, scheme="int8", recipe="fast")
    (found,) = qc.compare(digits_path, compiled, digits_feeds).outputs
    assert 0 < found.noise < 0.01
    assert found.same_top is not None
    assert found.same_top >= 0.98
    told = Counting()
    assert compiled.verify(digits_feeds[:2], progress=told).ok
    assert told.steps == {"verify": [2, 2]}
    assert compiled.verify([(digits_feeds[0]["image"], np.arange(16))]).ok
    for rows in (0, -1, "2", True):
        with pytest.raises(ConfigurationError, match="nothing to compare"):
            compiled.verify(rows=rows)  # type: ignore[arg-type]
    for bound in (-1.0, float("nan"), "40"):
        with pytest.raises(ConfigurationError, match="bound_db must be a number"):
            compiled.bisect(bound)  # type: ignore[arg-type]


def test_what_cannot_be_compared_is_an_error() -> None:
    two = "g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Identity(x) z = Abs(x) }"
    with pytest.raises(ConfigurationError, match="no feeds"):
        qc.compare(from_text(BASE), from_text(BASE), [])
    with pytest.raises(ConfigurationError, match="1 and 2 outputs"):
        qc.compare(from_text(BASE), from_text(two), [FEED])
    with pytest.raises(FeedError, match="shape"):
        qc.compare(from_text(BASE), from_text(BASE.replace("2,3", "2,4")), [FEED])
    inputs = "g (float[2,3] x, float[2,3] z) => (float[2,3] y) { y = Add(x, z) }"
    with pytest.raises(FeedError, match="1 and 2 inputs"):
        qc.compare(from_text(BASE), from_text(inputs), [FEED])


COMPUTED = """g (float[4,8] x, float[8,8] w) => (float[4,8] y)
{ [dynamic] a = Gemm(x, w) y = Relu(a) }"""


def test_lint_names_what_the_table_refuses() -> None:
    found = qc.lint(from_text(COMPUTED), "onnxruntime")
    assert [(each.rule, each.node) for each in found] == [("ORT02", "dynamic")]
    constant = COMPUTED.replace(", float[8,8] w)", ")").replace("{ [", "<float[8,8] w> { [")
    assert qc.lint(from_text(constant), "onnxruntime{threads=1}") == ()


def test_lint_of_a_target_with_rules_of_its_own_reads_the_model_as_it_is() -> None:
    """TensorRT takes no zero point but 0; the finding is there for a proto and for a Program."""
    text = """g (float[1,8,4,4] x) => (float[1,8,4,4] y)
    <float s = {0.1}, uint8 z = {128}>
    { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    wanted = {each.rule for each in qc.lint(proto, "tensorrt") if each.severity > 0}
    assert wanted
    assert {
        each.rule for each in qc.lint(qc.load(proto), "tensorrt") if each.severity > 0
    } == wanted


def test_lint_of_an_unknown_target() -> None:
    with pytest.raises(RegistryError, match="mean 'onnxruntime'"):
        qc.lint(from_text(BASE), "onnxruntim")
