"""The same bits serially, on threads, on processes, and resumed from a checkpoint."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from qcompiler.calibration.checkpoint import read_checkpoint
from qcompiler.calibration.instrument import FloatModel
from qcompiler.calibration.run import Calibration
from qcompiler.calibration.shard import shards
from qcompiler.errors import CalibrationError

Array = npt.NDArray[Any]
Observe = Callable[..., Calibration]
States = Callable[[Calibration], dict[str, bytes]]
METHODS = ["minmax", "moving-average", "percentile"]


@pytest.fixture(params=["threads", "processes"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    else:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
            yield processes


def test_any_executor_gives_the_same_bits(
    observe: Observe,
    states: States,
    digits_onnx: onnx.ModelProto,
    digits_feeds: list[dict[str, Array]],
    pool: Executor,
) -> None:
    feeds = [
        {n: a[i : i + 3] for n, a in feed.items()} for feed in digits_feeds[:6] for i in (0, 3, 6)
    ]
    for method in METHODS:
        alone = observe(digits_onnx, feeds, method)
        assert states(observe(digits_onnx, feeds, method, executor=pool)) == states(alone)


class _Broken(Exception):
    pass


def _until(feeds: list[Any], stop: int) -> Iterator[Any]:
    for number, feed in enumerate(feeds):
        if number == stop:
            raise _Broken
        yield feed


@pytest.fixture
def chain() -> str:
    return """<ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 4] x) => (float[n, 4] y) <float[4, 4] w = {1, -2, 3, 0, 0, 1, 1, 2,
                                                          5, 1, 0, 1, 1, 1, -3, 1}>
    { a = MatMul(x, w)  y = Relu(a) }"""


@pytest.fixture
def data(rng: np.random.Generator) -> list[Array]:
    return [rng.standard_normal((2, 4), dtype=np.float32) for _ in range(30)]


@pytest.mark.parametrize("method", METHODS)
def test_resume_after_the_last_shard(
    observe: Observe, states: States, tmp_path: Path, chain: str, data: list[Array], method: str
) -> None:
    path = tmp_path / "state.npz"
    with pytest.raises(_Broken):
        observe(chain, _until(data, 20), method, checkpoint=path)
    assert path.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["state.npz"]
    resumed = observe(chain, data, method, checkpoint=path)
    assert resumed.samples == 30
    assert states(resumed) == states(observe(chain, data, method))


def test_resumed_feeds_are_not_run_again(
    observe: Observe, tmp_path: Path, chain: str, data: list[Array]
) -> None:
    path = tmp_path / "state.npz"
    full = observe(chain, data, checkpoint=path)
    again = observe(chain, data, checkpoint=path)
    assert again.samples == full.samples
    assert again.observations["a"].count == full.observations["a"].count == 30 * 2 * 4


def test_damaged_checkpoints_are_refused(
    observe: Observe, tmp_path: Path, chain: str, data: list[Array]
) -> None:
    path = tmp_path / "state.npz"
    observe(chain, data, checkpoint=path)
    good = path.read_bytes()
    for bad in (good[: len(good) // 2], b"", b"nonsense", good[:100] + b"\0" * 50 + good[150:]):
        path.write_bytes(bad)
        with pytest.raises(CalibrationError, match="damaged"):
            observe(chain, data, checkpoint=path)
    path.write_bytes(good)
    assert observe(chain, data, checkpoint=path).samples == 30


def test_foreign_checkpoints_are_refused(
    observe: Observe, tmp_path: Path, chain: str, data: list[Array]
) -> None:
    path = tmp_path / "state.npz"
    observe(chain, data, checkpoint=path)
    with pytest.raises(CalibrationError, match="another model"):
        observe(chain, data, "percentile", checkpoint=path)
    with pytest.raises(CalibrationError, match="another model"):
        observe(chain.replace("5, 1", "5, 2"), data, checkpoint=path)
    with pytest.raises(CalibrationError, match="other calibration data"):
        observe(chain, data[::-1], checkpoint=path)
    with pytest.raises(CalibrationError, match="other calibration data"):
        observe(chain, data[:10], checkpoint=path)


def test_no_file_is_an_empty_checkpoint(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "none.npz", "f").samples == 0


def test_model_survives_pickling(make_model: Callable[..., FloatModel], chain: str) -> None:
    model = make_model(chain)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.packed.graph == model.packed.graph
    assert copy.sites == model.sites


def test_shards_keep_order_and_rest() -> None:
    feeds = [{"x": np.array(i)} for i in range(5)]
    assert [[int(f["x"]) for f in shard] for shard in shards(feeds, 2)] == [[0, 1], [2, 3], [4]]
