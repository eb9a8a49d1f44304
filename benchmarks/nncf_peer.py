"""NNCF as a peer: it lives in an environment of its own, whose Python is given.

Not `nncf.py`: the worker runs as a script, and would import that in the place of the package.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.models import Model

_WORKER = Path(__file__).with_name("nncf_worker.py")


def nncf_file(model: Model, python: Path, destination: Path) -> Path:
    """NNCF's result for the model's calibration feeds.

    Args:
        model: The model and its feeds.
        python: Interpreter of an environment with NNCF.
        destination: `.onnx`, or `.xml` for OpenVINO.

    Raises:
        RuntimeError: NNCF failed; the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        for index, feed in enumerate(model.feeds):
            np.savez(Path(folder) / f"{index:05d}.npz", allow_pickle=False, **feed)
        command = [str(python), str(_WORKER), str(model.path), folder, str(destination)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"NNCF failed on {model.name}:\n{done.stderr[-2000:]}")
    return destination
