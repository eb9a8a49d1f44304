"""Kernel times from a profile, with bodies inside other kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qcompiler.execution.profile import KernelTime, read_profile, without_recording


def event(name: str, op: str, start: int, dur: int) -> dict[str, Any]:
    args = {"op_name": op}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": dur, "args": args}


def test_time_inside_a_body_counts_once(tmp_path: Path) -> None:
    """Two steps of a Scan, an If inside the second; what they leave over is their own."""
    events = [
        {"cat": "Session", "name": "model_run", "ts": 0, "dur": 200},
        event("before", "Relu", 5, 10),
        event("scan", "Scan", 20, 100),
        event("step", "MatMul", 25, 30),
        event("step", "MatMul", 60, 20),
        event("branch", "If", 85, 30),
        event("inner", "Add", 90, 10),
        event("after", "Relu", 120, 7),
    ]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(events))
    found = {each.node: each.seconds * 1e6 for each in read_profile(path, 1)}
    assert found == pytest.approx(
        {"before": 10, "scan": 20, "step": 50, "branch": 20, "inner": 10, "after": 7}
    )
    assert sum(found.values()) == pytest.approx(10 + 100 + 7)
    inside = {each.node for each in read_profile(path, 1) if each.inside}
    assert inside == {"scan", "step", "branch", "inner"}


def test_recording_is_taken_off_bodies_alone() -> None:
    """A plain run takes 7 µs, the profile 22: the bodies' 20 shrink to 5."""
    kernels = [KernelTime("a", "Relu", 2e-6), KernelTime("s", "Scan", 8e-6, True)]
    kernels.append(KernelTime("b", "MatMul", 12e-6, True))
    found = {each.node: each.seconds * 1e6 for each in without_recording(kernels, 7e-6)}
    assert found == pytest.approx({"a": 2, "s": 2, "b": 3})
    assert without_recording(kernels, 30e-6) == kernels  # noise: nothing to take off
    assert without_recording(kernels[:1], 1e-6) == kernels[:1]
