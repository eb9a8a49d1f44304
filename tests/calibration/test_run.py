"""Calibration end to end: right extremes, T1, T10, errors, bounded memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest

from qcompiler.calibration.run import Calibration
from qcompiler.errors import CalibrationError, FeedError
from qcompiler.quantization.observers import OBSERVERS
from qcompiler.quantization.qspace import U8_AFFINE

Array = npt.NDArray[Any]
Observe = Callable[..., Calibration]
States = Callable[[Calibration], dict[str, bytes]]
METHODS = sorted(OBSERVERS)
T1 = """<ir_version: 10, opset_import: ["" : 21]>
g (float[b, s, 8] x) => (float[b, s, 2] y) <float[8, 2] w = {1, 1, 1, 1, 1, 1, 1, 1,
                                                           1, 1, 1, 1, 1, 1, 1, 1}>
{ y = MatMul(x, w) }"""
CHAIN = """<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4] x) => (float[n, 4] y) <float[4, 4] w = {1, -2, 3, 0, 0, 1, 1, 2,
                                                      5, 1, 0, 1, 1, 1, -3, 1}>
{ a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, w) }"""


def t1_samples() -> list[Array]:
    """One value per sample (100, then 1 to 4), lengths 4, 7, 5, ..."""
    pairs = zip((100, 1, 2, 3, 4), (4, 7, 5, 4, 7), strict=True)
    return [np.full((1, length, 8), value, np.float32) for value, length in pairs]


def shape_batches(samples: list[Array]) -> list[Array]:
    """The same samples with those of equal length put together."""
    lengths = sorted({each.shape[1] for each in samples})
    return [np.concatenate([e for e in samples if e.shape[1] == n]) for n in lengths]


def test_extremes_equal_those_of_a_plain_run(
    observe: Observe, digits_onnx: onnx.ModelProto, digits_feeds: list[dict[str, Array]]
) -> None:
    result = observe(digits_onnx, digits_feeds[:4])
    assert len(result.observations) > 5
    shown = onnx.ModelProto.FromString(digits_onnx.SerializeToString())
    known = {output for node in shown.graph.node for output in node.output}
    names = [name for name in result.observations if name in known]
    assert len(names) > 5
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    plain = ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [plain.run(None, feed) for feed in digits_feeds[:4]]
    for index, name in enumerate(names):
        values = np.concatenate([each[index].ravel() for each in outputs])
        observer = result.observations[name]
        # Other fusions, other summation order: float32 rounding of the largest value.
        slack = 1e-5 * float(np.abs(values).max())
        assert observer.low == pytest.approx(float(values.min()), abs=slack)
        assert observer.high == pytest.approx(float(values.max()), abs=slack)
        assert observer.count == values.size


@pytest.mark.parametrize("method", METHODS)
def test_t1_variable_lengths_for_every_method(
    observe: Observe, states: States, method: str
) -> None:
    samples = t1_samples()
    expected = observe(T1, samples, method)
    reached = expected.observations["x"].range_for(U8_AFFINE)
    if method in ("minmax", "percentile"):
        assert (reached.low, reached.high) == (1.0, 100.0)
    if method == "moving-average":
        assert (reached.low, reached.high) == (22.0, 22.0)  # mean of 100, 1, 2, 3, 4
    assert (expected.observations["x"].low, expected.observations["x"].high) == (1.0, 100.0)
    assert (expected.observations["y"].low, expected.observations["y"].high) == (8.0, 800.0)
    for feeds in (samples[::-1], shape_batches(samples), [samples[i] for i in (2, 0, 4, 1, 3)]):
        assert states(observe(T1, feeds, method)) == states(expected)


@pytest.mark.parametrize("method", METHODS)
def test_t10_symbolic_and_fixed_batch_give_the_same(
    observe: Observe, states: States, rng: np.random.Generator, method: str
) -> None:
    data = rng.standard_normal((12, 4), dtype=np.float32)
    symbolic = observe(CHAIN, np.split(data, 12), method)
    fixed = observe(CHAIN.replace("n, 4", "3, 4"), np.split(data, 4), method)
    assert states(fixed) == states(symbolic)
    other = observe(CHAIN, np.split(2 * data, 12), method)
    assert states(other) != states(symbolic)


def test_negative_side_is_kept(observe: Observe, rng: np.random.Generator) -> None:
    """ORT 10571: percentile calibration dropped the negative side."""
    data = [rng.standard_normal((8, 4), dtype=np.float32) for _ in range(3)]
    for method in ("percentile", "mse", "entropy"):
        reached = observe(CHAIN, data, method).observations["a"].range_for(U8_AFFINE)
        assert reached.low < -1 < 1 < reached.high


def test_groups_under_the_cap_change_nothing(
    observe: Observe, states: States, rng: np.random.Generator
) -> None:
    data = [rng.standard_normal((n, 4), dtype=np.float32) for n in (2, 9, 1, 40)]
    whole = observe(CHAIN, data, "percentile")
    assert states(observe(CHAIN, data, "percentile", cap=40)) == states(whole)


def test_mixed_kinds_of_feeds(observe: Observe, states: States) -> None:
    torch = pytest.importorskip("torch")
    a, b, c, d = np.arange(16, dtype=np.float32).reshape(4, 1, 4)
    mixed = [{"x": a}, (b,), c.astype(np.float64), {"x": torch.from_numpy(d)}]
    assert states(observe(CHAIN, mixed)) == states(observe(CHAIN, [a, b, c, d]))


def test_nan_hidden_from_a_reduction_is_found(observe: Observe) -> None:
    """0/0 in the middle of a large tensor: ReduceMin and ReduceMax of ORT skip such a NaN."""
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 64] x) => (float[n, 64] y) { q = Div(x, x)  y = Relu(q) }"""
    clean = np.ones((3, 64), np.float32)
    dirty = clean.copy()
    dirty[1, 37] = 0
    assert observe(text, [clean]).observations["q"].nonfinite == (0, 0, 0)
    seen = observe(text, [clean, dirty]).observations["q"]
    assert seen.nonfinite == (0, 0, 1)
    assert seen.count == 2 * 192 - 1


def test_sentinels_are_told_apart(observe: Observe, states: States) -> None:
    values = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    masked = values.copy()
    masked[1, 2] = -10000
    observer = observe(CHAIN, [values, masked]).observations["x"]
    assert observer.low == -10000
    assert observer.low_without_sentinel == -1
    both = np.concatenate([values, masked])
    assert states(observe(CHAIN, [both])) == states(observe(CHAIN, [masked, values]))


def test_infinity_is_counted_and_in_no_range(observe: Observe) -> None:
    masked = np.asarray([[0, 1, -np.inf, 2]], np.float32)
    observer = observe(CHAIN, [masked]).observations["x"]
    assert (observer.low, observer.high, observer.nonfinite) == (0, 2, (1, 0, 0))


def test_bad_feeds_are_named(observe: Observe) -> None:
    good = np.ones((2, 4), np.float32)
    wrong = good.copy()
    wrong[1, 1] = np.nan
    with pytest.raises(CalibrationError, match=r"sample 2") as caught:
        observe(CHAIN, [good, good, wrong])
    assert "'x'" in str(caught.value)
    assert observe(CHAIN, [good, good]).samples == 2


def test_no_feeds(observe: Observe) -> None:
    with pytest.raises(CalibrationError, match="empty"):
        observe(CHAIN, iter([]))


def test_wrong_feed(observe: Observe) -> None:
    with pytest.raises(FeedError, match="unknown z"):
        observe(CHAIN, [{"z": np.ones((1, 4), np.float32)}])


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_feeds_are_not_kept(observe: Observe, method: str) -> None:
    """Peak memory does not grow with the number of samples: at most two are alive at a time."""
    alive: list[weakref.ref[Array]] = []
    most = 0

    def feeds() -> Iterator[Array]:
        nonlocal most
        for number in range(40):
            array = np.full((1, 4), number, np.float32)
            alive.append(weakref.ref(array))
            most = max(most, sum(each() is not None for each in alive))
            yield array
            del array

    assert observe(CHAIN, feeds(), method).samples == 40
    assert most <= 2


SEQUENCE = """<ir_version: 10, opset_import: ["" : 21]>
g (seq(float[4]) s, int64 i, string[2] t) => (float[4] y, string[2] u)
{ a = SequenceAt(s, i)  b = Relu(a)  y = Neg(b)  u = Identity(t) }"""


def _sequence_feeds() -> list[dict[str, Any]]:
    first, second = np.array([-1, 2, 0, 1], np.float32), np.array([5, 0, -7, 1], np.float32)
    texts = np.array(["a", "long"], object)
    return [{"s": [first, second], "i": np.array(k), "t": texts} for k in (0, 1)]


def test_sequences_and_strings_are_fed(observe: Observe, tmp_path: Any) -> None:
    """Also with a checkpoint, whose digest is of what the arrays hold."""
    for options in ({}, {"checkpoint": tmp_path / "state"}, {"checkpoint": tmp_path / "state"}):
        result = observe(SEQUENCE, _sequence_feeds(), **options)
        seen = result.observations["b"]
        assert (seen.low, seen.high) == (0, 5)
    other = _sequence_feeds()
    other[0]["t"] = np.array(["a", "lonG"], object)
    with pytest.raises(CalibrationError, match="other calibration data"):
        observe(SEQUENCE, other, checkpoint=tmp_path / "state")


def test_nan_inside_a_sequence_is_found(observe: Observe) -> None:
    feeds = _sequence_feeds()
    feeds[1]["s"][0] = np.full(4, np.nan, np.float32)
    with pytest.raises(CalibrationError, match="sample 1 holds NaN"):
        observe(SEQUENCE, feeds)


def test_what_readers_do_not_tell_apart_is_seen_as_the_bound(observe: Observe) -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
        g (float[n, 4] x) => (float[n, 4] y, float[n, 4] z) {
        a = Neg(x) b = HardSwish(a) y = Neg(b) c = Neg(x) d = Abs(c) z = Add(d, b) }"""
    feeds = [{"x": np.asarray([[9, 1, -2, -7]], np.float32)}]
    for method in METHODS:
        seen = observe(onnx.parser.parse_model(text), feeds, method=method).observations
        assert (seen["a"].low, seen["a"].high) == (-3, 7), method
        assert (seen["c"].low, seen["c"].high) == (-9, 7), method
