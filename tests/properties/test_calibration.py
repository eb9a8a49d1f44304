"""Laws of calibration on random data: splits, order, sharding and caps change no bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from hypothesis import given
from hypothesis import strategies as st

from qcompiler.calibration.instrument import FloatModel, float_model
from qcompiler.calibration.recorder import DEFAULT_CAP, Observations, Recorder, merge_into
from qcompiler.calibration.shard import Job, observe_shard, shards
from qcompiler.calibration.sites import find_sites
from qcompiler.execution.shipping import Shipment
from qcompiler.frontends.load import load
from qcompiler.passes.insert_observers import InsertObservers
from qcompiler.pipeline.contract import PassContext
from qcompiler.quantization.observers import OBSERVERS, MinMax
from qcompiler.quantization.peaks import KEPT

Array = npt.NDArray[Any]
TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[n, s, 4] x) => (float[n, s, 4] y) <float[4, 4] w = {1, -2, 3, 0, 0, 1, 1, 2,
                                                            5, 1, 0, 1, 1, 1, -3, 1}>
{ a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, w) }"""
METHODS = st.sampled_from(sorted(OBSERVERS))
VALUES = st.floats(-20000, 20000, width=32)


@st.composite
def samples(draw: st.DrawFn) -> list[Array]:
    """One to eight samples [1, s, 4] of a few lengths."""
    count = draw(st.integers(1, 8))
    lengths = draw(st.lists(st.sampled_from([1, 2, 5]), min_size=count, max_size=count))
    numbers = st.lists(VALUES, min_size=4, max_size=4)
    rows = [draw(numbers) for _ in lengths]
    return [
        np.tile(np.asarray(row, np.float32), (1, length, 1))
        for row, length in zip(rows, lengths, strict=True)
    ]


@lru_cache
def model_for(method: str) -> FloatModel:
    program = load(onnx.parser.parse_model(TEXT))
    InsertObservers(method=method).run(program, PassContext())
    return float_model(program, find_sites(program))


def state(total: Observations) -> dict[str, bytes]:
    return {
        f"{name}/{key}": array.tobytes()
        for name, observer in total.items()
        for key, array in observer.state().items()
    }


@lru_cache
def recorder_for(method: str, cap: int = DEFAULT_CAP) -> Recorder:
    return Recorder(model_for(method), cap=cap)


def observed(method: str, arrays: Sequence[Array], cap: int = DEFAULT_CAP) -> dict[str, bytes]:
    recorder = recorder_for(method, cap)
    recorder.take()
    for array in arrays:
        recorder.observe({"x": array})
    return state(recorder.take())


@given(samples(), METHODS, st.randoms(use_true_random=False))
def test_order_does_not_matter(data: list[Array], method: str, random: Any) -> None:
    mixed = list(data)
    random.shuffle(mixed)
    assert observed(method, mixed) == observed(method, data)


@given(samples(), METHODS)
def test_batching_does_not_matter(data: list[Array], method: str) -> None:
    lengths = {array.shape[1] for array in data}
    batched = [np.concatenate([a for a in data if a.shape[1] == n]) for n in lengths]
    assert observed(method, batched) == observed(method, data)


@given(samples(), METHODS, st.integers(1, 4), st.booleans())
def test_sharding_does_not_matter(
    data: list[Array], method: str, size: int, backwards: bool
) -> None:
    job = Job(Shipment(model_for(method), method), None, DEFAULT_CAP)
    parts = [observe_shard(job, part) for part in shards([{"x": a} for a in data], size)]
    total: Observations = {}
    for part in reversed(parts) if backwards else parts:
        merge_into(total, part)
    assert state(total) == observed(method, data)


@given(samples(), METHODS)
def test_the_cap_does_not_matter(data: list[Array], method: str) -> None:
    assert observed(method, data, cap=100) == observed(method, data)


@given(samples())
def test_extremes_are_numpys(data: list[Array]) -> None:
    recorder = recorder_for("minmax")
    recorder.take()
    for array in data:
        recorder.observe({"x": array})
    total = recorder.take()
    values = np.concatenate([array.ravel() for array in data])
    (seen,) = (found for request, found in total.items() if request.value == "x")
    assert isinstance(seen, MinMax)
    assert (seen.low, seen.high, seen.count) == (values.min(), values.max(), values.size)
    ends = [(array.min(), array.max()) for array in data]  # each is one row
    lows, highs = (sorted(each) for each in zip(*ends, strict=True))
    kept = min(len(data), KEPT)
    assert seen.peaks.rows == len(data)
    assert seen.peaks.lows.tolist() == lows[:kept]
    assert seen.peaks.highs.tolist() == highs[-kept:]
