"""`qc.compare`: two models on the same feeds: how far apart their outputs are, which is faster."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.first_feeds import at_feed, given_feeds, length_of
from qcompiler.compiled import Compiled
from qcompiler.errors import ConfigurationError
from qcompiler.execution.feed_surplus import with_labels
from qcompiler.execution.feeds import feed_of_another, normalize_feed
from qcompiler.execution.session import OrtSession
from qcompiler.execution.timing import Latency, compare_latency
from qcompiler.frontends import load
from qcompiler.ir.signature import Feed, Signature
from qcompiler.markup import block
from qcompiler.pipeline.contract import Progress, step
from qcompiler.printable import one_line
from qcompiler.report.reporter import reporter_of
from qcompiler.search.goal import require_not_negative

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class OutputDifference:
    """How far one output of `b` is from that of `a`, over all feeds.

    Attributes:
        name: Of the output, in `a`.
        largest: Largest absolute difference; inf where one is finite and the other is not.
        noise: Noise-to-signal ratio, sum (a - b)^2 / sum a^2; 0 for equality.
        same_top: Share of rows (last axis) with the same largest element; None without rows.
    """

    name: str
    largest: float
    noise: float
    same_top: float | None

    @property
    def level(self) -> str:
        """Signal over noise: `31.2 dB`, or `equal`."""
        return "equal" if self.noise == 0 else f"{-10 * math.log10(self.noise):.1f} dB"


@dataclass(frozen=True)
class ModelComparison:
    """What `compare` found.

    Attributes:
        outputs: One entry per output.
        samples: Feeds that were run.
        latency: Time of `b` relative to `a`, interleaved; None if it was not asked for.
    """

    outputs: tuple[OutputDifference, ...]
    samples: int
    latency: Latency | None = None

    def __repr__(self) -> str:
        worst = max(self.outputs, key=lambda each: each.noise, default=None)
        told = "no outputs" if worst is None else f"worst {one_line(worst.name)}, {worst.level}"
        return f"<ModelComparison of {self.samples} samples: {told}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: a row per output, the time below."""
        rows = [
            (
                each.name,
                each.level,
                f"{each.largest:.4g}",
                "" if each.same_top is None else f"{100 * each.same_top:.1f} %",
            )
            for each in self.outputs
        ]
        head = ("output", "signal over noise", "largest difference", "same top")
        latency = self.latency
        time = (
            "" if latency is None else f"speed of the second model by the first's: {latency.speed}"
        )
        return block(f"{self.samples} samples", [time], [(head, rows)], note="comparison.text()")

    def text(self) -> str:
        """One line per output and one for the time."""
        lines = [f"{self.samples} samples"]
        for each in self.outputs:
            level = each.level
            top = "" if each.same_top is None else f", same top {100 * each.same_top:.1f} %"
            lines.append(f"{each.name}: {level}, largest difference {each.largest:.4g}{top}")
        if self.latency is not None:
            told = f"speed of the second model by the first's: {self.latency.speed}"
            lines.append(f"{told} ({self.latency.evidence})")
            lines += [self.latency.certainty] if self.latency.certainty else []
        return "\n".join(lines) + "\n"


def compare(
    a: object,
    b: object,
    feeds: Iterable[Any],
    *,
    seconds: float = 0.0,
    progress: bool | Progress = False,
) -> ModelComparison:
    """Runs two models on the same feeds, which are read once and streamed.

    Args:
        a: The model to compare with: a `Compiled`, or anything that `load` takes, which runs in
            float on ONNX Runtime.
        b: The other one, likewise.
        feeds: Dicts by input name, tuples in input order, or arrays. Where input names of the
            models differ, inputs are paired by position.
        seconds: Time for interleaved timing on the first feed; 0 for none.
        progress: As that of `compile`.

    Raises:
        ConfigurationError: No feeds, or the models differ in their numbers of inputs or outputs.
        FeedError: A feed does not match `a`, or `b` takes other shapes or dtypes.
    """
    require_not_negative("seconds", seconds)
    runs: list[tuple[Signature, Callable[[Feed], Sequence[Any]]]] = []
    sums: list[_Sums] = []
    first: Feed | None = None
    samples = 0
    told = reporter_of(progress)
    given = given_feeds(feeds)
    with step(told, "compare", length_of(feeds) or None):
        for raw in given:
            runs = runs or [_runnable(each, raw) for each in (a, b)]
            (signature, run), (other, other_run) = runs
            with at_feed(samples):
                feed = normalize_feed(signature, raw)
            sums = sums or [_Sums(spec.name) for spec in signature.outputs]
            _add(sums, run(feed), other_run(feed_of_another(other, feed)))
            first = feed if first is None else first
            samples += 1
            told.advance()
    if first is None:
        raise ConfigurationError("there are no feeds to compare on", fix="give at least one")
    latency = None
    if seconds > 0:
        (_, run), (other, other_run) = runs
        timed = {"a": partial(run, first), "b": partial(other_run, feed_of_another(other, first))}
        latency = compare_latency(timed, seconds)["b"]
    return ModelComparison(tuple(each.result() for each in sums), samples, latency)


def _add(sums: Sequence[_Sums], first: Sequence[Any], second: Sequence[Any]) -> None:
    if len(first) != len(second):
        raise ConfigurationError(
            f"the models have {len(first)} and {len(second)} outputs",
            fix="compare models of the same outputs, such as an artifact and its source",
        )
    for total, one, two in zip(sums, first, second, strict=True):
        total.add(one, two)


def _runnable(model: object, raw: Any) -> tuple[Signature, Callable[[Feed], Sequence[Any]]]:
    if isinstance(model, Compiled):
        return with_labels(model.program.signature, raw), model.run
    program = load(model, raw, surplus=True)
    return with_labels(program.signature, raw), OrtSession(program.model).run_checked


class _Sums:
    """Running totals of one output."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._signal = self._noise = self._largest = 0.0
        self._rows = self._same = 0

    def add(self, wanted: Any, found: Any) -> None:
        """Takes over a sample: tensors, or sequences of them."""
        wanted, found = _tensors(wanted), _tensors(found)
        if len(wanted) != len(found):
            raise ConfigurationError(
                f"output '{self._name}' has {len(wanted)} tensors in one model and {len(found)} in "
                "the other",
                fix="compare models of equal outputs",
            )
        for one, two in zip(wanted, found, strict=True):
            self._add_tensor(one, two)

    def _add_tensor(self, wanted: Array, found: Array) -> None:
        if wanted.shape != found.shape:
            raise ConfigurationError(
                f"output '{self._name}' has shape {list(wanted.shape)} in one model and "
                f"{list(found.shape)} in the other",
                fix="compare models of equal outputs; rows that come and go (boxes) cannot be held "
                "against each other",
            )
        if wanted.dtype.kind not in "fiub":
            self._largest = max(self._largest, 0.0 if np.array_equal(wanted, found) else math.inf)
            return
        if wanted.ndim and wanted.shape[-1] > 1 and wanted.size:
            same = wanted.argmax(-1) == found.argmax(-1)
            self._rows += same.size
            self._same += int(np.count_nonzero(same))
        one, two = wanted.astype(np.float64), found.astype(np.float64)
        apart = np.zeros_like(one)
        np.subtract(one, two, out=apart, where=~((one == two) | (np.isnan(one) & np.isnan(two))))
        apart = np.where(np.isfinite(apart), np.abs(apart), math.inf)
        self._largest = max(self._largest, float(apart.max(initial=0.0)))
        self._noise += float(np.square(apart).sum())
        self._signal += float(np.square(one[np.isfinite(one)]).sum())

    def result(self) -> OutputDifference:
        noise = self._noise / self._signal if self._signal else math.inf
        return OutputDifference(
            self._name,
            self._largest,
            0.0 if self._largest == 0 else noise,
            self._same / self._rows if self._rows else None,
        )


def _tensors(output: Any) -> list[Array]:
    """Those of a sequence, which may differ in shape, or the one tensor."""
    if isinstance(output, list) and all(isinstance(each, np.ndarray) for each in output):
        return output
    return [np.asarray(output)]
