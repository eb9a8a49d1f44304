"""Memory of a model whose weights lie beside it: about one of them, besides what is made of it.

Measured from outside in a process of its own: memory that is no file's, which a file's may leave
at any time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.ir.text import from_text

_SIDE, _COUNT = 2048, 12
_MEGABYTES = _COUNT * _SIDE * _SIDE * 4 >> 20
_CHILD = """
import sys
import qcompiler as qc
from qcompiler.execution import saving, session_packing
from qcompiler.ir import tensors

path, scheme, large, small = sys.argv[1:]
for module, name in (
    (tensors, "LARGE_BYTES"), (session_packing, "SPILLED_BYTES"), (saving, "SINGLE_FILE_BYTES")
):
    assert getattr(module, name) > 1 << 24
    setattr(module, name, int(large))
qc.compile(small, scheme="int4-weights").save(path + ".warm.onnx")  # imports and threads
print("ready", flush=True)
sys.stdin.readline()
made = qc.compile(path, scheme=scheme)
saved = made.save(path + ".out.onnx")
print(made.plan.precisions, saved.stat().st_size)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of 192 MB with external data, and one of the same kind to begin with."""
    folder = tmp_path_factory.mktemp("large")
    array = np.random.default_rng(0).normal(size=(_SIDE, _SIDE)).astype(np.float32) / 45
    names = [f"w{i}" for i in range(_COUNT)]
    body = " ".join(f"h{i + 1} = MatMul(h{i}, w{i})" for i in range(_COUNT))
    stored = ", ".join(f"float[{_SIDE},{_SIDE}] {name}" for name in names)
    text = f"g (float[n,{_SIDE}] h0) => (float[n,{_SIDE}] h{_COUNT}) <{stored}> {{ {body} }}"
    model = from_text(text, {name: np.roll(array, i) for i, name in enumerate(names)}).model
    ir.save(model, folder / "m.onnx", external_data="m.data")
    small = "g (float[n,64] x) => (float[n,64] y) <float[64,64] w> { y = MatMul(x, w) }"
    ir.save(from_text(small).model, folder / "small.onnx")
    return folder / "m.onnx", folder / "small.onnx"


def _growth(models: tuple[Path, Path], scheme: str, large: int) -> float:
    """Megabytes that compiling and saving takes at most."""
    asked = [sys.executable, "-c", _CHILD, str(models[0]), scheme, str(large), str(models[1])]
    with subprocess.Popen(
        asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        before = most = _megabytes(child.pid)
        child.stdin.write("go\n")
        child.stdin.flush()
        while child.poll() is None:
            most = max(most, _megabytes(child.pid))
            time.sleep(0.005)
        told, errors = child.communicate()
    assert child.returncode == 0, errors[-2000:]
    assert scheme in told
    return most - before


def _megabytes(pid: int) -> float:
    """Memory of the process that no file holds; 0 once it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(each.split()[1]) for each in lines if each.startswith("RssAnon")) / 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux' /proc")
def test_a_large_model_is_never_copied_as_a_whole(models: tuple[Path, Path]) -> None:
    assert _growth(models, "float32", 1 << 24) < 0.4 * _MEGABYTES
    # The same model as one below the limit.
    assert _growth(models, "float32", 1 << 40) > _MEGABYTES
