"""Calibration end to end: feeds in, observers by value name out, in memory that stays bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcompiler.calibration.instrument import FloatModel
from qcompiler.calibration.recorder import DEFAULT_CAP, Observations, Recorder, merge_into
from qcompiler.errors import CalibrationError
from qcompiler.execution.feeds import normalize_feed
from qcompiler.ir.signature import Feed, Signature
from qcompiler.pipeline.contract import Progress, Silent


@dataclass(frozen=True)
class Calibration:
    """What came out.

    Attributes:
        observations: Observers by value name; a value that was never computed is missing.
        samples: Feeds that were run.
    """

    observations: Observations
    samples: int


def checked_feeds(signature: Signature, feeds: Iterable[Any]) -> Iterator[Feed]:
    """The feeds as arrays by name, one at a time.

    Raises:
        FeedError: A feed does not match the signature.
        CalibrationError: An input holds NaN or infinity.
    """
    for number, raw in enumerate(feeds):
        feed = normalize_feed(signature, raw)
        for name, array in feed.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                bad = "NaN" if np.isnan(array).any() else "infinity"
                raise CalibrationError(
                    f"calibration sample {number} holds {bad}",
                    where=f"input '{name}', sample {number} (counted from 0)",
                    fix="remove or repair this sample",
                )
        yield feed


def run_calibration(
    model: FloatModel,
    signature: Signature,
    feeds: Iterable[Any],
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    threads: int | None = None,
    cap: int = DEFAULT_CAP,
) -> Calibration:
    """Observes every site of the model over the feeds, which are read once.

    Args:
        model: The float model and its sites.
        signature: What the feeds are checked against.
        feeds: Dicts, tuples or arrays, see `normalize_feed`.
        progress: Told of every feed.
        executor: Workers for shards of feeds; None observes in this thread. The result is the
            same, bit for bit.
        threads: Threads of ONNX Runtime per worker, None for its choice.
        cap: Most bytes of observed values held at once, per worker.

    Raises:
        FeedError: A feed does not match the signature.
        CalibrationError: No feeds, or NaN or infinity in one.
    """
    result = _serially(model, checked_feeds(signature, feeds), progress or Silent(), threads, cap)
    if not result.samples:
        raise CalibrationError(
            "the calibration data is empty",
            why="the iterable gave no feed; a generator can be read only once",
            fix="pass a list, or a fresh generator, with at least one feed",
        )
    return result


def _serially(
    model: FloatModel,
    feeds: Iterable[Feed],
    progress: Progress,
    threads: int | None,
    cap: int,
) -> Calibration:
    recorder = Recorder(model, threads, cap)
    total: Observations = {}
    samples = 0
    for feed in feeds:
        merge_into(total, recorder.observe(feed))
        samples += 1
        progress.advance()
    return Calibration(total, samples)
