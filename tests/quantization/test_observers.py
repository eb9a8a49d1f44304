"""Calibration methods on known data: T1, both tails, attention masks, and their optimality."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.quantization.histogram import Histogram
from qcompiler.quantization.numerics import fake_quantize
from qcompiler.quantization.observers import (
    OBSERVERS,
    HistogramObserver,
    MinMax,
    Observer,
    make_observer,
    observer_from_state,
)
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.peaks import Peaks
from qcompiler.quantization.qspace import S8_SYMMETRIC, U8_AFFINE, QSpace
from qcompiler.quantization.range_search import squared_error

Array = npt.NDArray[Any]
HISTOGRAMS = ["percentile", "entropy", "mse"]
S4 = QSpace(ir.DataType.INT4, symmetric=True)
SPACES = pytest.mark.parametrize("space", [U8_AFFINE, S8_SYMMETRIC, S4], ids=lambda s: s.name)


def _t1_samples() -> list[Array]:
    """100, then 1 to 4, in samples of lengths 4, 7, 5, 4, 6."""
    lengths = [4, 7, 5, 4, 6]
    values = [100, 1, 2, 3, 4]
    return [
        np.full((1, length, 8), value, np.float32)
        for value, length in zip(values, lengths, strict=True)
    ]


@pytest.mark.parametrize("method", ["minmax", *HISTOGRAMS])
@pytest.mark.parametrize("space", [U8_AFFINE, S8_SYMMETRIC], ids=lambda s: s.name)
def test_t01_the_range_is_one_to_a_hundred(method: str, space: QSpace) -> None:
    found = reduce(lambda seen, x: seen.update(x), _t1_samples(), make_observer(method))
    span = found.range_for(space)
    assert (span.low, span.high) == (1.0, 100.0)


def test_t01_the_moving_average_is_the_mean_of_the_samples() -> None:
    found = reduce(lambda seen, x: seen.update(x), _t1_samples(), make_observer("moving-average"))
    assert found.range_for(U8_AFFINE).low == (100 + 1 + 2 + 3 + 4) / 5
    assert (found.low, found.high) == (1.0, 100.0)


@pytest.mark.parametrize("method", OBSERVERS)
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_t01_worker_count_does_not_matter(method: str, workers: int) -> None:
    samples = _t1_samples()
    whole = reduce(lambda seen, x: seen.update(x), samples, make_observer(method))
    shards = [samples[worker::workers] for worker in range(workers)]

    def observe(shard: list[Array]) -> Observer:
        return reduce(lambda seen, x: seen.update(x), shard, make_observer(method))

    with ThreadPoolExecutor(workers) as pool:
        merged = reduce(lambda a, b: b.merge(a), pool.map(observe, shards))
    assert merged.range_for(U8_AFFINE) == whole.range_for(U8_AFFINE)
    assert merged.count == sum(sample.size for sample in samples)


def test_t01_keeping_the_last_samples_only_is_detected() -> None:
    """Negative control: what ORT's CalibMaxIntermediateOutputs does gives another range."""
    last = reduce(lambda seen, x: seen.update(x), _t1_samples()[3:], make_observer("minmax"))
    assert last.range_for(U8_AFFINE).high == 4.0


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentile_cuts_both_tails(percentile: float) -> None:
    values = np.random.default_rng(0).standard_normal((50, 4000)).astype(np.float32)
    found = make_observer("percentile", percentile=percentile).update(values)
    assert isinstance(found, HistogramObserver)
    span = found.range_for(U8_AFFINE)
    wanted = np.percentile(values, [100 - percentile, percentile])
    width = 2.0 ** found.histogram().exponent
    # Ends are rounded outwards to a bin edge; percentiles themselves lie between two samples.
    assert wanted[0] - 2 * width <= span.low <= wanted[0] + width
    assert wanted[1] - width <= span.high <= wanted[1] + 2 * width
    assert span.low < 0.0 < span.high


def test_percentile_100_is_minmax() -> None:
    values = np.random.default_rng(0).standard_normal((5, 400)).astype(np.float32)
    span = make_observer("percentile", percentile=100.0).update(values).range_for(U8_AFFINE)
    assert (span.low, span.high) == (values.min(), values.max())


def _data(kind: str) -> Array:
    rng = np.random.default_rng(3)
    draws = {
        "normal": rng.standard_normal(40_000),
        "relu": np.maximum(rng.laplace(size=40_000), 0.0),
        "heavy": rng.standard_t(3, 40_000),
        "outliers": rng.laplace(size=40_000) * 0.01 + (rng.random(40_000) > 0.9999) * 3.0,
    }
    return draws[kind].astype(np.float32)


def _true_error(
    values: Array, low: float, high: float, space: QSpace, cut_off: float = 1.0
) -> float:
    params = choose_qparams(low, high, space)
    error = (fake_quantize(values, params).astype(np.float64) - values) ** 2
    ends = params.scale * (np.asarray([space.qmin, space.qmax]) - params.zero_point)
    outside = (values < ends.min()) | (values > ends.max())
    return float(np.mean(np.where(outside, cut_off * error, error)))


CUT_OFF = 4.0
"""How many times an error of clipping counts beside one of rounding."""


@SPACES
@pytest.mark.parametrize("kind", ["normal", "relu", "heavy", "outliers"])
def test_mse_is_near_the_best_of_a_brute_force_search(kind: str, space: QSpace) -> None:
    values = _data(kind)
    found = make_observer("mse", cap=values.size).update(values[None])
    span = found.range_for(space)
    reached = _true_error(values, span.low, span.high, space, CUT_OFF)
    factors = 0.8 ** np.arange(12)
    ends = (
        [(f, f) for f in factors] if space.symmetric else [(f, g) for f in factors for g in factors]
    )
    best = min(_true_error(values, found.low * f, found.high * g, space, CUT_OFF) for f, g in ends)
    assert reached <= 1.05 * best
    assert reached <= 1.02 * _true_error(values, found.low, found.high, space, CUT_OFF)


def test_mse_keeps_what_is_cut_off_together() -> None:
    """Levels that differ by sample are clipped for all channels at once, with one sign.

    Behind a product these errors add up, rounding errors do not. The least squared error by
    itself, found by brute force, leaves more noise there on new samples.
    """
    rng = np.random.default_rng(1)

    def passages(count: int) -> Array:
        levels = 4 * rng.standard_normal((count, 1, 1)) + 0.3 * rng.standard_normal((count, 20, 1))
        return (levels + rng.laplace(size=(count, 20, 256))).astype(np.float32)

    seen, new = passages(16), passages(100)
    weight = rng.standard_normal((256, 32)) / 16 + 0.02
    found = make_observer("mse", cap=seen.size).update(seen)
    span = found.range_for(U8_AFFINE)
    factors = 0.93 ** np.arange(12)
    ends = [(found.low * f, found.high * g) for f in factors for g in factors]
    plain = min(ends, key=lambda each: _true_error(seen, each[0], each[1], U8_AFFINE))

    def noise(low: float, high: float) -> float:
        error = fake_quantize(new, choose_qparams(low, high, U8_AFFINE)) - new
        return float(np.mean((error @ weight) ** 2))

    assert noise(span.low, span.high) < noise(*plain) / 2


@SPACES
def test_the_predicted_error_is_the_measured_one(space: QSpace) -> None:
    values = _data("normal")
    found = make_observer("mse").update(values)
    assert isinstance(found, HistogramObserver)
    for factor in (1.0, 0.6, 0.2):
        low, high = found.low * factor, found.high * factor
        for cut_off in (1.0, CUT_OFF):
            span = np.asarray([low]), np.asarray([high])
            predicted = squared_error(found.histogram(), *span, space, cut_off)
            # 40000 values: the mean of squared errors scatters by about 1 %.
            true = _true_error(values, low, high, space, cut_off)
            np.testing.assert_allclose(predicted, true, rtol=0.05)


def test_entropy_drops_a_rare_outlier_and_keeps_a_common_one() -> None:
    rng = np.random.default_rng(0)
    body = rng.standard_normal(100_000).astype(np.float32)
    rare, common = body.copy(), body.copy()
    rare[:2], common[:20_000] = 50.0, 50.0
    spans = [
        make_observer("entropy").update(values).range_for(S8_SYMMETRIC) for values in (rare, common)
    ]
    assert spans[0].high < 10.0
    assert spans[1].high == 50.0


@pytest.mark.parametrize("mask", [-1e4, -65504.0, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("method", HISTOGRAMS)
def test_attention_masks_stay_out_of_the_range_and_are_reported(method: str, mask: float) -> None:
    scores = np.random.default_rng(0).standard_normal((1, 8, 16, 16)).astype(np.float32)
    masked = scores.copy()
    masked[..., 10:] += np.float32(mask)
    found = make_observer(method).update(masked)
    assert found.low == masked.min()
    assert found.low_without_sentinel == masked[..., :10].min()
    assert found.range_for(U8_AFFINE).low >= found.low_without_sentinel
    plain = make_observer(method).update(masked[..., :10])
    assert found.range_for(U8_AFFINE) == plain.range_for(U8_AFFINE)


@pytest.mark.parametrize("method", ["minmax", *HISTOGRAMS])
def test_large_values_without_a_gap_are_no_mask(method: str) -> None:
    values = np.linspace(-20_000, 5_000, 40_000, dtype=np.float32)
    found = make_observer(method).update(values)
    assert found.low_without_sentinel == found.low == -20_000
    assert found.range_for(U8_AFFINE).low < -15_000


def test_minmax_reports_a_mask_but_keeps_it() -> None:
    found = make_observer("minmax").update(np.asarray([[-1e4, 1.0, -2.0]], np.float32))
    assert found.low_without_sentinel == -2.0
    assert found.range_for(U8_AFFINE).low == -1e4
    reduced = MinMax().update_bounds(-1e4, 1.0, 3, Peaks())
    assert reduced.low_without_sentinel == -1e4  # what lies between is not known


@pytest.mark.parametrize("method", OBSERVERS)
def test_non_finite_values_are_counted_and_never_used(method: str) -> None:
    dirty = np.asarray([[1.0, np.nan, -np.inf], [np.inf, 2.0, np.nan]], np.float32)
    found = make_observer(method).update(dirty)
    assert found.nonfinite == (1, 1, 2)
    assert (found.low, found.high, found.count) == (1.0, 2.0, 2)
    assert np.isfinite(found.range_for(U8_AFFINE).high)
    with pytest.raises(CalibrationError, match="no finite value"):
        make_observer(method).update(np.asarray([np.nan])).range_for(U8_AFFINE)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint8, np.bool_])
def test_any_real_dtype_is_taken(dtype: type) -> None:
    found = make_observer("mse").update(np.asarray([[0, 1], [1, 1]], dtype))
    assert (found.low, found.high) == (0.0, 1.0)
    assert make_observer("minmax").update(np.float64(3.5)).high == 3.5
    assert make_observer("minmax").update(np.asarray([1e300])).nonfinite == (0, 1, 0)
    assert make_observer("minmax").update(np.zeros((0, 3))).count == 0


@pytest.mark.parametrize("method", OBSERVERS)
def test_a_checkpoint_file_restores_the_observer(method: str) -> None:
    found = make_observer(method).update(np.random.default_rng(0).standard_normal((5, 30)))
    file = io.BytesIO()
    np.savez(file, **found.state())  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file) as arrays:
        again = observer_from_state(dict(arrays))
    assert type(again) is type(found)
    assert again.range_for(U8_AFFINE) == found.range_for(U8_AFFINE)


def test_exact_zeros_cost_nothing() -> None:
    """A spike at 0 must not make the search believe that small values need resolution."""
    values = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    with_zeros = np.concatenate([values, np.zeros(500_000, np.float32)])
    plain, padded = (make_observer("mse").update(v) for v in (values, with_zeros))
    assert plain.range_for(U8_AFFINE) == padded.range_for(U8_AFFINE)


def test_wrong_options_and_mixed_merges_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="no calibration method"):
        make_observer("median")
    with pytest.raises(ConfigurationError, match="no option"):
        make_observer("minmax", percentile=3)
    with pytest.raises(ConfigurationError, match="percentile must be"):
        make_observer("percentile", percentile=10)
    with pytest.raises(ConfigurationError, match="cannot be merged"):
        make_observer("mse").merge(make_observer("entropy"))
    with pytest.raises(ConfigurationError, match="cannot be merged"):
        make_observer("mse").merge(make_observer("mse", bins=64))
    with pytest.raises(ConfigurationError, match="do not merge"):
        Histogram(bins=8).merge(Histogram(bins=16))
    with pytest.raises(CalibrationError, match="no observer state"):
        observer_from_state({"name": np.asarray("mse")})
