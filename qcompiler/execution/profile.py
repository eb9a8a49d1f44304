"""Reading ONNX Runtime's profile: seconds per kernel."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from qcompiler.files.scratch import unfinished

_SUFFIX = "_kernel_time"
_LEAST_SHARE = 0.02
"""Of a body's recorded time that is always believed."""
_CONTROL = frozenset({"If", "Loop", "Scan"})
"""Ops whose bodies' kernels are events of their own, inside theirs."""


@dataclass(frozen=True)
class KernelTime:
    """One kernel of the optimized graph.

    Attributes:
        node: Name of the node in the optimized graph.
        op: Its operator.
        seconds: Time in one run, iterations of a loop body added up: the fastest repetition of
            every feed (other work on the machine only ever adds time), averaged over the feeds.
            Of Loop, Scan and If, only what their bodies' kernels leave over.
        inside: Whether it is in the body of such an op, or such an op itself.
    """

    node: str
    op: str
    seconds: float
    inside: bool = False


def without_recording(kernels: Sequence[KernelTime], seconds: float) -> list[KernelTime]:
    """The kernels as if nobody had recorded them, where bodies run many small ones.

    Recording an event costs some 3 µs, which is nothing for a kernel but up to nine tenths of a
    Scan. What the profile takes longer than a plain run is taken off the bodies, all in proportion.

    Args:
        kernels: As read from a profile.
        seconds: Time of one plain run, averaged over the same feeds.
    """
    within = sum(each.seconds for each in kernels if each.inside)
    excess = sum(each.seconds for each in kernels) - seconds
    if within <= 0 or excess <= 0:
        return list(kernels)
    share = max(1.0 - excess / within, _LEAST_SHARE)
    return [replace(k, seconds=k.seconds * share) if k.inside else k for k in kernels]


def read_profile(path: Path, feeds: int, skip: int = 0) -> list[KernelTime]:
    """Kernel times from a profile file of ONNX Runtime.

    Args:
        path: The JSON file that `end_profiling` names (Chrome trace events, times in µs).
        feeds: Number of feeds; run `skip + i` ran feed `i % feeds`.
        skip: Leading runs to leave out (warm-up).

    Raises:
        LoweringError: The file is cut off, as on a full disk.
    """
    try:
        events = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError) as error:
        raise unfinished(path, error) from error
    starts = sorted(each["ts"] for each in events if each["name"] == "model_run")
    kernels: dict[tuple[str, str], dict[int, float]] = {}
    bodies: set[tuple[str, str]] = set()
    for event, seconds, inside in _own_times([each for each in events if _is_kernel(each)]):
        run = bisect_right(starts, event["ts"]) - 1 - skip
        if run < 0:
            continue
        key = (event["name"].removesuffix(_SUFFIX), str(event["args"].get("op_name", "")))
        bodies |= {key} if inside else set()
        runs = kernels.setdefault(key, {})
        runs[run] = runs.get(run, 0.0) + seconds
    return [KernelTime(*key, _typical(runs, feeds), key in bodies) for key, runs in kernels.items()]


_Own = tuple[dict[str, Any], float, bool]


def _own_times(events: Sequence[dict[str, Any]]) -> Iterator[_Own]:
    """Kernel events with their seconds, those of bodies taken off, and whether in a body."""
    ordered = sorted(events, key=lambda each: (each["ts"], -each["dur"]))
    own = [float(each["dur"]) for each in ordered]
    inside = [each["args"].get("op_name") in _CONTROL for each in ordered]
    around: list[tuple[float, int]] = []
    for index, event in enumerate(ordered):
        while around and around[-1][0] <= event["ts"]:
            around.pop()
        if around:
            own[around[-1][1]] -= event["dur"]
        if inside[index]:
            around.append((event["ts"] + event["dur"], index))
        inside[index] = inside[index] or len(around) > 0
    for event, spent, within in zip(ordered, own, inside, strict=True):
        yield event, max(spent, 0.0) * 1e-6, within


def _is_kernel(event: dict[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event["name"]).endswith(_SUFFIX)


def _typical(runs: dict[int, float], feeds: int) -> float:
    """Mean over feeds of the fastest repetition; a feed that skipped the kernel counts as 0."""
    fastest: dict[int, float] = {}
    for run, seconds in runs.items():
        feed = run % feeds
        fastest[feed] = min(seconds, fastest.get(feed, seconds))
    return mean(fastest.get(feed, 0.0) for feed in range(feeds))
