"""Reading ONNX Runtime's profile: seconds per kernel."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class KernelTime:
    """One kernel of the optimized graph.

    Attributes:
        node: Name of the node in the optimized graph.
        op: Its operator.
        seconds: Time in one run, iterations of a loop body added up: the fastest repetition of
            every feed (other work on the machine only ever adds time), averaged over the feeds.
    """

    node: str
    op: str
    seconds: float


def read_profile(path: Path, feeds: int, skip: int = 0) -> list[KernelTime]:
    """Kernel times from a profile file of ONNX Runtime.

    Args:
        path: The JSON file that `end_profiling` names (Chrome trace events, times in µs).
        feeds: Number of feeds; run `skip + i` ran feed `i % feeds`.
        skip: Leading runs to leave out (warm-up).
    """
    events = json.loads(path.read_text())
    starts = sorted(each["ts"] for each in events if each["name"] == "model_run")
    kernels: dict[tuple[str, str], dict[int, float]] = {}
    for event in events:
        run = bisect_right(starts, event.get("ts", 0)) - 1 - skip
        if run < 0 or not _is_kernel(event):
            continue
        key = (event["name"].removesuffix(_SUFFIX), str(event["args"].get("op_name", "")))
        runs = kernels.setdefault(key, {})
        runs[run] = runs.get(run, 0.0) + event["dur"] * 1e-6
    return [KernelTime(node, op, _typical(runs, feeds)) for (node, op), runs in kernels.items()]


def _is_kernel(event: dict[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event["name"]).endswith(_SUFFIX)


def _typical(runs: dict[int, float], feeds: int) -> float:
    """Mean over feeds of the fastest repetition; a feed that skipped the kernel counts as 0."""
    fastest: dict[int, float] = {}
    for run, seconds in runs.items():
        feed = run % feeds
        fastest[feed] = min(seconds, fastest.get(feed, seconds))
    return mean(fastest.get(feed, 0.0) for feed in range(feeds))
