"""Reading ONNX Runtime's profile: seconds per kernel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class KernelTime:
    """One kernel of the optimized graph.

    Attributes:
        node: Name of the node in the optimized graph.
        op: Its operator.
        seconds: Median over the runs; a node in a loop body counts each iteration on its own.
    """

    node: str
    op: str
    seconds: float


def read_profile(path: Path, skip: int = 0) -> list[KernelTime]:
    """Kernel times from a profile file of ONNX Runtime.

    Args:
        path: The JSON file that `end_profiling` names (Chrome trace events, `dur` in µs).
        skip: Leading runs to leave out (warm-up).
    """
    events = json.loads(path.read_text())
    runs = sorted(
        (each["ts"], each["ts"] + each["dur"]) for each in events if each["name"] == "model_run"
    )
    start = runs[skip][0] if skip < len(runs) else float("-inf")
    samples: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith(_SUFFIX):
            continue
        if event["ts"] < start:
            continue
        key = (event["name"].removesuffix(_SUFFIX), str(event["args"].get("op_name", "")))
        samples.setdefault(key, []).append(event["dur"] * 1e-6)
    return [KernelTime(node, op, median(times)) for (node, op), times in samples.items()]
