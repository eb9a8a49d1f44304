"""`qcompiler bench`: models and artifacts timed beside each other, as they are deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from qcompiler.artifacts import load_compiled
from qcompiler.compiled import Compiled
from qcompiler.errors import ConfigurationError, FeedError
from qcompiler.execution.feeds import feed_of_another, normalize_feed
from qcompiler.execution.made_up import made_up
from qcompiler.execution.session import OrtSession
from qcompiler.execution.stamp import target_in
from qcompiler.execution.timing import Latency, compare_latency
from qcompiler.frontends.load import load
from qcompiler.ir.signature import Feed, Signature
from qcompiler.measurement.sources import reference_of
from qcompiler.search.goal import require_not_negative

Run = Callable[[Feed], object]
_OWN = "onnxruntime"


@dataclass(frozen=True)
class Timed:
    """A model that was timed.

    Attributes:
        name: What was given.
        engine: What ran it.
        nbytes: Of its file; None where there is none.
        latency: Time of a run, and relative to the first model.
    """

    name: str
    engine: str
    nbytes: int | None
    latency: Latency


@dataclass(frozen=True)
class _Ready:
    signature: Signature
    run: Run
    engine: str
    nbytes: int | None


def bench(
    models: Mapping[str, Any],
    feed: Any = None,
    *,
    seconds: float = 3.0,
    threads: int | None = None,
    batch: int = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> tuple[Timed, ...]:
    """Times models in interleaved rounds on one feed; ratios refer to the first.

    An ONNX file runs on ONNX Runtime unless it was compiled for another target, a torch module
    eagerly in torch, what a target saved on that target's engine.

    Args:
        models: By name: a path, a `Compiled`, or anything that `load` takes.
        feed: What all of them run; without, random numbers and zeros for integers.
        seconds: For the whole comparison.
        threads: Of ONNX Runtime and torch; the engine's default without.
        batch: Size of open dimensions where no feed is given.
        shapes: Of inputs by name, where no feed is given.

    Raises:
        ConfigurationError: Fewer than one model, or shapes beside a feed.
        FeedError: The feed fits a model not, or none can be made up.
    """
    require_not_negative("seconds", seconds)
    if not models:
        raise ConfigurationError("there is nothing to time", fix="name a model")
    if shapes and feed is not None:
        raise ConfigurationError("shapes of made-up inputs beside data", fix="give one of the two")
    ready = {name: _ready(model, feed, threads) for name, model in models.items()}
    first = next(iter(ready.values())).signature
    own = made_up(first, batch, shapes) if feed is None else normalize_feed(first, feed)
    runs = {
        name: partial(each.run, feed_of_another(each.signature, own))
        for name, each in ready.items()
    }
    with _threads_of_torch(models.values(), threads):
        for run in runs.values():
            run()
        timed = compare_latency(runs, seconds)
    return tuple(Timed(name, each.engine, each.nbytes, timed[name]) for name, each in ready.items())


def _ready(model: Any, feed: Any, threads: int | None) -> _Ready:
    if isinstance(model, Compiled):
        return _of_compiled(model, None)
    if isinstance(model, Path):
        if model.suffix != ".onnx":
            return _of_file(model)
        program = load(model)
        if _target_in(model) not in (None, _OWN):
            return _of_file(model)
        if not program.model.graph.inputs and not program.signature.inputs:
            raise FeedError(f"{model} takes no inputs", fix="time a model that does")
        session = OrtSession(model, threads=threads)
        return _Ready(session.signature, session.run_checked, _OWN, model.stat().st_size)
    program = load(model, feed)
    if isinstance(model, onnx.ModelProto | ir.Model):
        own = ir.from_proto(model) if isinstance(model, onnx.ModelProto) else model
        return _Ready(program.signature, OrtSession(own, threads=threads).run_checked, _OWN, None)
    return _Ready(program.signature, reference_of(model, program).run, "torch, eager", None)


def _of_file(artifact: Path) -> _Ready:
    opened = load_compiled(artifact)
    return _of_compiled(opened, artifact.stat().st_size)


def _of_compiled(compiled: Compiled, nbytes: int | None) -> _Ready:
    size = compiled.artifact.nbytes if nbytes is None else nbytes
    signature, run = compiled.program.signature, compiled.artifact.run
    return _Ready(signature, run, compiled.target.name, size)


def _target_in(path: Path) -> str | None:
    with path.open("rb") as opened:
        return target_in(path, opened.read(16))


@contextmanager
def _threads_of_torch(models: Iterable[Any], threads: int | None) -> Iterator[None]:
    """So many inside, where torch runs one of the models; those of the process again behind."""
    if threads is None or all(isinstance(each, Path | Compiled) for each in models):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
