"""`qc.compile` on the embedded network, as a user calls it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.calibration.recorder import Recorder
from qcompiler.errors import CalibrationError, ConfigurationError, FeedError
from qcompiler.ir.plan import FLOAT, Plan

Array = npt.NDArray[Any]
Feeds = list[dict[str, Array]]


@pytest.fixture
def fast(digits_path: Path) -> Any:
    """`qc.compile` of the network with the recipe `fast` on one thread."""

    def run(feeds: Any, **options: Any) -> qc.Compiled:
        return qc.compile(digits_path, OnnxRuntime(1), feeds, **{"recipe": "fast", **options})

    return run


def _float_outputs(fast: Any, feeds: Feeds) -> list[Array]:
    plain = fast(feeds[:1], scheme="float32")
    return [np.asarray(plain.run(feed)[0]) for feed in feeds]


def test_int8_runs_every_convolution_in_integers(fast: Any, digits_feeds: Feeds) -> None:
    compiled = fast(digits_feeds, scheme="int8")
    assert compiled.kernels.ops.get("QLinearConv", 0) >= 3
    assert not {"Conv", "FusedConv"} & set(compiled.kernels.ops)
    assert compiled.verify().require().ok
    for wanted, feed in zip(_float_outputs(fast, digits_feeds), digits_feeds, strict=True):
        found = compiled.run(feed)[0]
        assert np.square(wanted - found).sum() <= 0.01 * np.square(wanted).sum()


def test_auto_is_within_the_default_loss_and_explains_itself(
    fast: Any, digits_feeds: Feeds
) -> None:
    compiled = fast(digits_feeds)
    assert compiled.report.summary
    assert len(compiled.report.regions) == len(compiled.plan.choices)
    outputs = [compiled.run(feed)[0] for feed in digits_feeds]
    wanted = np.concatenate(_float_outputs(fast, digits_feeds))
    noise = np.square(np.concatenate(outputs) - wanted).sum() / np.square(wanted).sum()
    assert noise <= 0.01 * 1.5  # judged on the kept samples, measured here on all


def test_dynamic_needs_no_calibration(fast: Any, digits_feeds: Feeds) -> None:
    compiled = fast(None, scheme="dynamic")
    used = {choice.precision for choice in compiled.plan.choices.values()}
    assert used == {FLOAT, "int8-dynamic"}
    assert np.all(np.isfinite(compiled.run(digits_feeds[0])[0]))


def test_overrides_pin_regions(fast: Any, digits_feeds: Feeds) -> None:
    compiled = fast(digits_feeds, scheme="int8", overrides={"op:Conv": FLOAT})
    kinds = {row.region: row.ops for row in compiled.report.regions}
    for key, choice in compiled.plan.choices.items():
        if kinds[key].startswith("Conv"):
            assert choice.precision == FLOAT
    assert "QLinearConv" not in compiled.kernels.ops


def test_an_override_that_matches_nothing_is_an_error(fast: Any, digits_feeds: Feeds) -> None:
    with pytest.raises(ConfigurationError, match="matches no"):
        fast(digits_feeds, overrides={"nowhere.*": FLOAT})


def test_a_plan_goes_through_json_and_gives_the_same_bytes(
    fast: Any, digits_feeds: Feeds, tmp_path: Path
) -> None:
    first = fast(digits_feeds, scheme="int8")
    again = fast(digits_feeds, plan=Plan.from_json(first.plan.to_json()))
    assert {k: c.precision for k, c in again.plan.choices.items()} == {
        k: c.precision for k, c in first.plan.choices.items()
    }
    one, other = first.save(tmp_path / "a.onnx"), again.save(tmp_path / "b.onnx")
    assert one.read_bytes() == other.read_bytes()


def test_points_of_the_frontier_can_be_had(fast: Any, digits_feeds: Feeds) -> None:
    compiled = fast(digits_feeds)
    assert compiled.frontier
    for point in compiled.frontier:
        other = compiled.at(point.index)
        quantized = [c for c in other.plan.choices.values() if c.precision != FLOAT]
        assert len(quantized) == point.quantized
        counts = other.report.counts()
        assert sum(counts.values()) == len(other.plan.choices)
        assert sum(counts.values()) - counts.get(FLOAT, 0) == point.quantized
        assert other.run(digits_feeds[0])[0].shape == compiled.run(digits_feeds[0])[0].shape
    with pytest.raises(ConfigurationError):
        compiled.at(10_000)


def test_evaluate_decides(fast: Any, digits_feeds: Feeds) -> None:
    """A score that any rounding spoils leaves nothing but float."""
    wanted = _float_outputs(fast, digits_feeds[:2])

    def strict(run: Any) -> float:
        found = [np.asarray(run(feed)[0]) for feed in digits_feeds[:2]]
        near = [np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(wanted, found, strict=True)]
        return float(all(near))

    compiled = fast(digits_feeds, evaluate=strict, max_loss=0.0)
    assert {choice.precision for choice in compiled.plan.choices.values()} == {FLOAT}
    assert strict(compiled.run) == 1.0


@pytest.mark.parametrize("empty", [[], iter(())], ids=["list", "iterator"])
def test_empty_calibration_is_an_error(fast: Any, empty: Any) -> None:
    with pytest.raises(CalibrationError, match="empty"):
        fast(empty, scheme="int8")


def test_no_calibration_for_a_static_scheme_is_an_error(fast: Any) -> None:
    with pytest.raises(CalibrationError, match="needs calibration"):
        fast(None, scheme="int8")


@pytest.mark.parametrize("wrong", ["bar", 1, [], object])
def test_what_shows_no_progress_is_refused(fast: Any, digits_feeds: Feeds, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="progress is"):
        fast(digits_feeds, progress=wrong)


def test_a_generator_is_read_once(fast: Any, digits_feeds: Feeds) -> None:
    taken = 0

    def feeds() -> Iterator[dict[str, Array]]:
        nonlocal taken
        for feed in digits_feeds:
            taken += 1
            yield feed

    streamed = fast(feeds(), scheme="int8")
    assert taken == len(digits_feeds)
    listed = fast(digits_feeds, scheme="int8")
    np.testing.assert_array_equal(streamed.run(digits_feeds[0])[0], listed.run(digits_feeds[0])[0])


def test_nan_in_calibration_is_an_error_that_names_the_input(
    fast: Any, digits_feeds: Feeds
) -> None:
    (name,) = digits_feeds[0]
    bad = digits_feeds[1][name].copy()
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(CalibrationError, match=r"(?i)nan|finite"):
        fast([digits_feeds[0], {name: bad}], scheme="int8")


def test_an_interrupted_calibration_goes_on_from_its_checkpoint(
    fast: Any, digits_feeds: Feeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupted run has to have kept something, and the second not to run it again."""
    feeds = digits_feeds * 8
    state, ran = tmp_path / "state.npz", []
    observe = Recorder.observe

    def counted(self: Recorder, feed: Any) -> None:
        ran.append(feed)
        observe(self, feed)

    monkeypatch.setattr(Recorder, "observe", counted)

    def interrupted() -> Iterator[dict[str, Array]]:
        yield from feeds[:-1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fast(interrupted(), scheme="int8", checkpoint=state)
    assert state.is_file()
    before = len(ran)
    resumed = fast(iter(feeds), scheme="int8", checkpoint=state)
    assert 0 < len(ran) - before < len(feeds)
    whole = fast(feeds, scheme="int8")
    np.testing.assert_array_equal(resumed.run(feeds[0])[0], whole.run(feeds[0])[0])


@pytest.mark.parametrize("wrong", ["name", "dtype", "rank"])
def test_a_wrong_feed_is_an_error(fast: Any, digits_feeds: Feeds, wrong: str) -> None:
    (name,) = digits_feeds[0]
    array = digits_feeds[0][name]
    feed = {
        "name": {"nothing": array},
        "dtype": {name: array.astype(np.int64)},
        "rank": {name: array[0, 0]},
    }[wrong]
    with pytest.raises(FeedError):
        fast([feed], scheme="int8")


def test_a_torch_module_keeps_its_own_call() -> None:
    torch = pytest.importorskip("torch")

    class Nested(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)

        def forward(self, x: Any, *, shift: Any) -> dict[str, Any]:
            hidden = torch.relu(self.one(x))
            return {"out": self.two(hidden) + shift, "parts": [hidden, (x + shift.mean(),)]}

    torch.manual_seed(0)
    module = Nested().eval()
    feeds = [{"x": torch.randn(8, 8), "shift": torch.randn(8, 4)} for _ in range(3)]
    compiled = qc.compile(module, OnnxRuntime(1), feeds, scheme="int8", recipe="fast")
    feed = feeds[0]
    found = compiled(feed["x"], shift=feed["shift"])
    wanted = module(feed["x"], shift=feed["shift"])
    assert found.keys() == wanted.keys()
    assert isinstance(found["parts"][1], tuple)
    _near(wanted["out"], found["out"])
    _near(wanted["parts"][0], found["parts"][0])


def _near(wanted: Any, found: Any) -> None:
    """Tensors within 23 dB of each other."""
    pair: Sequence[Array] = [each.detach().numpy() for each in (wanted, found)]
    assert np.square(pair[0] - pair[1]).sum() <= 0.005 * np.square(pair[0]).sum()


def test_few_feeds_that_judge_and_fit_are_counted_once(digits_path: Path) -> None:
    blank = np.full((2, 1, 32, 32), -0.0, np.float32)
    feeds = [{"image": blank.copy()} for _ in range(4)]
    compiled = qc.compile(digits_path, calibration=feeds, scheme="int8", recipe="fast")
    told = " ".join(each.message for each in compiled.report.diagnostics)
    assert "all 4 calibration samples are the same one" in told
    assert "'image' is 0 everywhere" in told
