"""The same model, data and options give the same bytes, whatever the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_COMPILE = """
import hashlib, sys
from pathlib import Path
import numpy as np
import qcompiler as qc

folder, source, target, scheme = sys.argv[1:]
feeds = [np.random.default_rng(i).normal(size=(2, 1, 32, 32)).astype(np.float32) for i in range(4)]
if source == "torch":
    from examples.digits.data import load_module
    model = load_module()
else:
    model = source
made = qc.compile(
    model, target, calibration=feeds, scheme=scheme, recipe="fast", budget=0,
    example_inputs=(__import__("torch").from_numpy(feeds[0]),) if source == "torch" else None,
)
path = made.save(Path(folder) / "artifact")
again = qc.compile(
    model, target, calibration=feeds, plan=qc.Plan.from_json(made.plan.to_json()), recipe="fast",
    budget=0,
    example_inputs=(__import__("torch").from_numpy(feeds[0]),) if source == "torch" else None,
)
other = again.save(Path(folder) / "again")
print(hashlib.sha256(path.read_bytes()).hexdigest(), hashlib.sha256(other.read_bytes()).hexdigest())
"""
ENVIRONMENTS = (
    {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
    {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "2"},
)


def _digests(folder: Path, source: str, target: str, scheme: str) -> set[str]:
    """Of artifacts made in different processes, the plan's applied again among them."""
    found = set()
    for index, each in enumerate(ENVIRONMENTS):
        place = folder / str(index)
        place.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _COMPILE, str(place), source, target, scheme],
            env={**os.environ, **each}, capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
        found |= set(done.stdout.split()[-2:])
    return found


def test_an_onnx_source(digits_path: Path, tmp_path: Path) -> None:
    assert len(_digests(tmp_path, str(digits_path), "onnxruntime", "int8")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "scheme"),
    [
        ("onnx", "onnxruntime", "dynamic"),
        ("onnx", "fbgemm", "int8"),
        ("torch", "onnxruntime", "int8"),
        ("torch", "fbgemm", "int8"),
        ("torch", "openvino", "int8"),
    ],
)
def test_other_sources_targets_and_schemes(
    source: str, target: str, scheme: str, digits_path: Path, tmp_path: Path
) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    given = str(digits_path) if source == "onnx" else source
    assert len(_digests(tmp_path, given, target, scheme)) == 1


ENGINES = ("onnxruntime", "openvino", "fbgemm", "executorch")
"""One of each kind: torch's engines share their code, TensorRT's files are checked elsewhere."""
_ENGINE = """
import gc, hashlib, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
import qcompiler as qc

source, folder, target = sys.argv[1:4]

def once(number=0):
    feeds = [
        {"image": np.random.default_rng(i).normal(size=(2, 1, 32, 32)).astype(np.float32)}
        for i in range(3)
    ]
    made = qc.compile(
        source, target, calibration=feeds, scheme="int8", recipe="fast", budget=0
    )
    path = made.save(Path(folder) / f"artifact-{number}")
    return hashlib.sha256(path.read_bytes()).hexdigest()
"""
_SIDE_BY_SIDE = (
    _ENGINE
    + """
alone = once()
pid = os.fork()
if pid == 0:
    os._exit(0 if once(3) == alone else 1)
with ThreadPoolExecutor(2) as threads:
    print(*(digest == alone for digest in threads.map(once, (1, 2))))
timer = threading.Timer(120, os.kill, (pid, 9))
timer.start()
status = os.waitpid(pid, 0)[1]
timer.cancel()
print(status == 0)
"""
)
_REPEATED = (
    _ENGINE
    + """
count, kept = int(sys.argv[4]), []

def state():
    gc.collect()
    files = len(list(Path("/proc/self/fd").iterdir()))
    return len(gc.get_objects()), files, threading.active_count()

for number in range(count):
    once()
    if sys.argv[5:]:
        kept.append(qc.load(source))
    if number == 9:
        before = state()
print(*(after - first for after, first in zip(state(), before)))
"""
)


def _in_a_process(script: str, target: str, *given: Any) -> list[str]:
    pytest.importorskip("torch" if target == "fbgemm" else target)
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, given)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "QCOMPILER_CACHE": ""},
        capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("target", ENGINES)
def test_two_threads_and_a_forked_process_at_once(
    target: str, digits_path: Path, tmp_path: Path
) -> None:
    """In a process of its own: what other tests' threads hold is not forked."""
    found = _in_a_process(_SIDE_BY_SIDE, target, digits_path, tmp_path, target)
    assert " ".join(found[-2:]).split() == ["True"] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "count"), [("onnxruntime", 50), ("openvino", 20), ("fbgemm", 20)]
)
def test_compilations_keep_no_objects_files_or_threads(
    target: str, count: int, digits_path: Path, tmp_path: Path
) -> None:
    """Counted, not weighed: those after the tenth leave fewer objects than one program has.

    ExecuTorch's lowering leaves some 20 000 each time, in caches of torch and of its own.
    """
    found = _in_a_process(_REPEATED, target, digits_path, tmp_path, target, count)
    objects, files, threads = map(int, found[-1].split())
    assert objects < _OF_A_PROGRAM
    assert files <= 0
    assert threads <= 0


@pytest.mark.slow
def test_programs_that_are_kept_are_counted(digits_path: Path, tmp_path: Path) -> None:
    """The control of the test above."""
    given = (digits_path, tmp_path, "onnxruntime", 12, "keep")
    objects = int(_in_a_process(_REPEATED, "onnxruntime", *given)[-1].split()[0])
    assert objects > 2 * _OF_A_PROGRAM


_OF_A_PROGRAM = 400
"""Objects that the collector follows in the smallest program tried, rounded down."""
