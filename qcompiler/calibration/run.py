"""Calibration end to end: feeds in, statistics by request out, in memory that stays bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from qcompiler.calibration.ahead import WORKERS, Work, cores, done_ahead
from qcompiler.calibration.checkpoint import (
    Checkpoint,
    chain_digest,
    fingerprint,
    read_checkpoint,
)
from qcompiler.calibration.first_feeds import normalized
from qcompiler.calibration.instrument import FloatModel
from qcompiler.calibration.recorder import DEFAULT_CAP, Observations, Recorder, merge_into
from qcompiler.calibration.shard import SHARD, observe_shards, shards
from qcompiler.errors import CalibrationError
from qcompiler.ir.collector import usual_collections
from qcompiler.ir.requests import Request
from qcompiler.ir.signature import Feed, Signature, arrays_of, copied
from qcompiler.pipeline.contract import Progress, Silent
from qcompiler.quantization.observer import Observer
from qcompiler.statistics.statistic import Statistic


@dataclass(frozen=True)
class Calibration:
    """What came out.

    Attributes:
        results: Statistics by request; that of a value that was never computed is missing.
        samples: Feeds that were run.
    """

    results: Observations
    samples: int

    @property
    def observations(self) -> dict[str, Observer]:
        """Ranges by value name."""
        return {
            request.value: seen
            for request, seen in self.results.items()
            if isinstance(seen, Observer)
        }

    @property
    def statistics(self) -> dict[Request, Statistic]:
        """What was seen of requests of other kinds."""
        found = self.results.items()
        return {request: seen for request, seen in found if isinstance(seen, Statistic)}


def checked_feeds(signature: Signature, feeds: Iterable[Any]) -> Iterator[Feed]:
    """The feeds as arrays by name, one at a time.

    Infinity is let in: it masks positions of an attention mask, and bars its own tensor only.

    Raises:
        FeedError: A feed does not match the signature.
        CalibrationError: An input holds NaN.
    """
    for number, feed in enumerate(normalized(signature, feeds)):
        for name, array in arrays_of(feed):
            if array.dtype.kind == "f" and np.isnan(array).any():
                raise CalibrationError(
                    f"calibration sample {number} holds NaN",
                    where=f"input '{name}', sample {number} (counted from 0)",
                    fix="remove or repair this sample",
                )
        yield feed


@usual_collections()
def run_calibration(
    model: FloatModel,
    signature: Signature,
    feeds: Iterable[Any],
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Path | str | None = None,
    threads: int | None = None,
    cap: int = DEFAULT_CAP,
) -> Calibration:
    """Observes every site of the model over the feeds, which are read once.

    The result does not depend on how feeds are batched, ordered, sharded or interrupted.

    Args:
        model: The float model and its sites.
        signature: What the feeds are checked against.
        feeds: Dicts, tuples or arrays, see `normalize_feed`.
        progress: Told of every feed.
        executor: Workers for shards of feeds; None observes in this thread.
        checkpoint: File that holds the state after every shard. If it exists, its feeds are read
            again, compared by digest, and not run.
        threads: Threads of ONNX Runtime per worker, None for its choice.
        cap: Most bytes of observed values held at once, per worker.

    Raises:
        FeedError: A feed does not match the signature.
        CalibrationError: No feeds, NaN or infinity in one, a damaged or foreign checkpoint.
    """
    checked = checked_feeds(signature, feeds)
    told = progress or Silent()
    engine = _Engine(model, executor, threads, cap)
    if checkpoint is None:
        result = _observe(engine, checked, told)
    else:
        result = _observe_with_checkpoint(engine, checked, told, Path(checkpoint))
    if not result.samples:
        raise CalibrationError(
            "the calibration data is empty",
            why="the iterable gave no feed; a generator can be read only once",
            fix="pass a list, or a fresh generator, with at least one feed",
        )
    return result


@dataclass(frozen=True, eq=False)
class _Engine:
    """Observes shards here or on an executor."""

    model: FloatModel
    executor: Executor | None
    threads: int | None
    cap: int

    def observe(
        self, feeds: Iterable[Feed], size: int
    ) -> Iterator[tuple[list[Feed], Observations]]:
        """Shards of at most `size` feeds with their observations, in order."""
        if self.executor is not None:
            split = shards(feeds, size)
            yield from observe_shards(self.executor, self.model, split, self.threads, self.cap)
            return
        recorder = Recorder(self.model, self.threads, self.cap)
        for shard in shards(feeds, size):
            for feed in shard:
                recorder.observe(feed)
            yield shard, recorder.take()


def _observe(engine: _Engine, feeds: Iterable[Feed], progress: Progress) -> Calibration:
    if engine.executor is None:
        return _observe_here(engine, feeds, progress)
    total: Observations = {}
    samples = 0
    for shard, seen in engine.observe(feeds, SHARD):
        merge_into(total, seen)
        samples += len(shard)
        progress.advance(len(shard))
    return Calibration(total, samples)


def _observe_here(engine: _Engine, feeds: Iterable[Feed], progress: Progress) -> Calibration:
    """A few feeds at a time, so that only these are alive."""
    rest = iter(feeds)
    first = deque(islice(rest, 2))
    workers = WORKERS if len(first) == 2 and engine.threads is None and cores() >= WORKERS else 1
    threads = engine.threads if workers == 1 else cores() // workers
    recorder = Recorder(engine.model, threads, engine.cap // workers)
    drawn = chain((first.popleft() for _ in range(len(first))), rest)
    samples = 0

    def works() -> Iterator[Work[dict[str, Any]]]:
        nonlocal samples
        for feed in drawn:
            # A generator may fill the same array again while a run reads it.
            yield from recorder.works(copied(feed) if workers > 1 else feed)
            samples += 1
            progress.advance()

    done_ahead(works(), workers, engine.cap)
    return Calibration(recorder.take(), samples)


def _observe_with_checkpoint(
    engine: _Engine, feeds: Iterator[Feed], progress: Progress, path: Path
) -> Calibration:
    state = read_checkpoint(path, fingerprint(engine.model))
    _skip_known(feeds, state, path)
    progress.advance(state.samples, "from the checkpoint")
    for shard, seen in engine.observe(feeds, SHARD):
        total = dict(state.observations)
        merge_into(total, seen)
        data = state.data
        for feed in shard:
            data = chain_digest(data, feed)
        state = Checkpoint(state.fingerprint, state.samples + len(shard), data, total)
        state.save(path)
        progress.advance(len(shard))
    return Calibration(dict(state.observations), state.samples)


def _skip_known(feeds: Iterator[Feed], state: Checkpoint, path: Path) -> None:
    """Reads the feeds that the checkpoint holds and makes sure that they are the same."""
    data = ""
    read = 0
    for feed in islice(feeds, state.samples):
        data = chain_digest(data, feed)
        read += 1
    if read < state.samples or data != state.data:
        raise CalibrationError(
            f"the checkpoint {path} was made from other calibration data",
            why=f"the first {state.samples} feeds are not the ones it holds",
            fix="feed the same data in the same order, or delete the checkpoint",
        )
