"""Ctrl-C, as a real signal to a process of its own, in each phase: the best so far comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from qcompiler.choices.interrupts import interruptible

# The child says where it is, and stays there until the signal comes (or fails after a minute).
_CHILD = r"""
import json, sys, threading, time
import scipy.optimize
import numpy as np
import qcompiler as qc
from qcompiler.choices import assignment
from qcompiler.search import base_choice, losses, profiling, proof

def stuck(*args, **kwargs):
    sys.stderr.write("here\n")
    time.sleep(60)
    raise AssertionError("no signal came")

def put(owner, name, function):  # an assignment would make a name that nobody asks
    getattr(owner, name)
    setattr(owner, name, function)

def deaf(*args, **kwargs):  # as the solver: holds its thread, whatever signals come
    sys.stderr.write("here\n")
    threading.Event().wait(60)
    raise AssertionError("no signal came")

path, phase = sys.argv[1:]
feeds = [{"image": np.random.default_rng(i).normal(size=(2, 1, 32, 32)).astype(np.float32)}
         for i in range(4)]

def read():
    yield feeds[0]
    if phase == "calibration":
        stuck()
    yield from feeds[1:]

options = {}
if phase == "ranges":
    put(base_choice, "keep_if_better", stuck)
if phase == "profile":
    put(profiling, "foresee", stuck)
if phase == "solver":
    put(scipy.optimize, "milp", deaf)
if phase == "probes":
    options["max_loss"] = 1e-9
    put(losses.Prober, "losses", stuck)
if phase == "timing":
    honest = proof.compare_latency
    def first(*args, **kwargs):  # behind the signal, what was found is timed in short
        put(proof, "compare_latency", honest)
        stuck()
    put(proof, "compare_latency", first)
if phase == "evaluate":
    options["evaluate"] = stuck
try:
    made = qc.compile(path, calibration=read(), variants=["use-ranges{method=minmax}"], **options)
except KeyboardInterrupt:
    print(json.dumps("raised"))
else:
    made.run(feeds[0])
    report = made.report
    print(json.dumps([report.interrupted, report.warnings[0], report.summary, len(made.frontier)]))
"""


def _interrupted(path: Path, phase: str) -> Any:
    """What the child prints after a SIGINT in the phase."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path), phase], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "QCOMPILER_CACHE": ""},
    ) as child:  # fmt: skip
        watch = threading.Timer(120, child.kill)
        watch.start()
        assert child.stderr is not None
        told: list[str] = []  # of standard error: the solver's phase hides standard output
        while "here\n" not in told:
            told.append(child.stderr.readline())
            assert told[-1], "".join(told)
        child.send_signal(signal.SIGINT)
        printed = child.communicate()[0]
        watch.cancel()
    assert child.returncode == 0
    return json.loads(printed)


@pytest.mark.parametrize(
    "phase",
    ["solver", *(pytest.param(each, marks=pytest.mark.slow) for each in
                 ("ranges", "profile", "probes", "evaluate", "timing"))],
)  # fmt: skip
def test_the_best_so_far_is_returned(digits_path: Path, phase: str) -> None:
    interrupted, warning, summary, measured = _interrupted(digits_path, phase)
    assert interrupted
    assert warning.startswith("the search was interrupted")
    assert summary.endswith("; the search was interrupted")
    assert measured >= (0 if phase in ("ranges", "profile") else 1)


def test_outside_the_search_it_is_raised(digits_path: Path) -> None:
    assert _interrupted(digits_path, "calibration") == "raised"


def test_results_and_errors_of_the_call_reach_the_caller() -> None:
    assert interruptible(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_a_signal_ends_the_waiting_not_the_call() -> None:
    release = threading.Event()
    pressed = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    pressed.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: release.wait(60))
    assert time.monotonic() - started < 30
    release.set()
