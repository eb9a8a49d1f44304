"""Models that may kill OpenVINO's process run once in a process of their own.

Known faults are rules (`float_faults`). A loop, a branch or a sequence is compiled into more than
one graph, and what the plugin does there with unusual sizes ends in SIGFPE or SIGSEGV now and then;
nobody can catch that, so the user's process does not run it first.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.files.scratch import scratch_folder
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import all_nodes

_SECONDS = 120.0
"""A run that takes longer is taken for one that goes on: nothing was killed."""
_RISKY = ("Loop", "Scan", "If", "SequenceMap")
_RUN = """
import sys
import numpy as np, openvino
model, feed = sys.argv[1:]
compiled = openvino.Core().compile_model(model, "CPU")
held = np.load(feed)
given = {port: held[name] for port in compiled.inputs for name in port.names if name in held}
compiled.create_infer_request().infer(given)
"""


def is_risky(model: ir.Model) -> bool:
    """Whether a model holds other graphs."""
    return any(node.op_type in _RISKY for node in all_nodes(model))


def probe(model: ir.Model, feed: Feed) -> None:
    """Runs a model once on a feed, somewhere else.

    What ends in an exception there will do so here, too, and be told then.

    Raises:
        LoweringError: The process was killed by a signal.
    """
    with scratch_folder() as folder:
        path, data = folder / "model.onnx", folder / "feed.npz"
        ir.save(model.clone(), path, external_data="model.data")
        with data.open("wb") as file:
            np.savez(file, **{name: np.asarray(array) for name, array in feed.items()})  # type: ignore[arg-type]
        killed = _killed_by(path, data)
    if killed is not None:
        raise LoweringError(
            f"OpenVINO is killed by this model ({killed})",
            why="it was run on the first feed in a process of its own, which died",
            fix="choose the target onnxruntime",
        )


def _killed_by(model: Path, feed: Path) -> str | None:
    command = [sys.executable, "-c", _RUN, str(model), str(feed)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    return signal.Signals(-done.returncode).name if done.returncode < 0 else None
