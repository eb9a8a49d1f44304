"""Same bytes for the same model, data and options: `python -m benchmarks.determinism`.

The digits network, as a torch module and as an ONNX file, is compiled for each target by each fixed
scheme in processes that differ in hash seed and threads, and once more from the plan that came
out. One line for each, with the number of different files; exit code 1 unless all are 1. What
`auto` chooses depends on times: of it, only that its plan applied again gives the same file, also
where it returned the float model (`auto, no loss allowed`).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import qcompiler as qc
from examples.digits.data import ONNX_FILE, load_module
from qcompiler.errors import QCompilerError
from qcompiler.ir.signature import Feed

TARGETS = (
    "onnxruntime", "openvino", "tensorrt", "fbgemm", "onednn", "x86", "qnnpack", "executorch",
)  # fmt: skip
SCHEMES = ("int8", "dynamic", "int8-weights", "float32")
SEARCHED: dict[str, dict[str, Any]] = {"auto": {}, "auto, no loss allowed": {"max_loss": 0.0}}
ENVIRONMENTS = (("0", "1"), ("1", "1"), ("2", "2"), ("random", "2"))
"""Hash seed and threads of each process."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", nargs="*", default=TARGETS)
    parser.add_argument("--child", action="store_true", help="compile, and print digests")
    given = parser.parse_args()
    if given.child:
        for line in _made(given.targets):
            print(line, flush=True)
        return 0
    found: dict[str, set[str]] = {}
    for seed, threads in ENVIRONMENTS:
        for line in _in_process(seed, threads, given.targets):
            name, _, digest = line.rpartition(" ")
            found.setdefault(name, set()).add(digest)
    for name, digests in found.items():
        if any(each.startswith("differs") for each in digests):
            digests.add("another one from its plan")
        print(f"{name:40} {len(digests)} different, {digests if len(digests) > 1 else ''}")
    print(f"{sum(len(each) == 1 for each in found.values())} of {len(found)} are equal everywhere")
    return int(any(len(each) > 1 for each in found.values()))


def _in_process(seed: str, threads: str, targets: list[str]) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.determinism", "--child", "--targets", *targets]
    environment = {
        **os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "QCOMPILER_CACHE": "",
    }  # fmt: skip
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        check=True,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if line.startswith(("torch ", "onnx "))]


def _made(targets: list[str]) -> Iterator[str]:
    """`source target scheme digest` for what is compiled, and again from its plan."""
    import torch

    chance = np.random.default_rng(0)
    feeds: list[Feed] = [
        {"image": chance.standard_normal((2, 1, 32, 32), dtype=np.float32)} for _ in range(4)
    ]
    example = (torch.from_numpy(feeds[0]["image"]),)
    sources: dict[str, tuple[Any, list[Any], Any]] = {
        "onnx": (ONNX_FILE, feeds, None),
        "torch": (load_module(), [feed["image"] for feed in feeds], example),
    }
    for source, (model, data, inputs) in sources.items():
        for target in targets:
            for scheme in SCHEMES:
                given = {"calibration": data, "example_inputs": inputs, "budget": 0}
                for digest in _digests(model, target, {"scheme": scheme}, given):
                    yield f"{source} {target} {scheme} {digest}"
            for name, asked in SEARCHED.items():
                found = set(_digests(model, target, {"scheme": "auto", **asked}, given))
                told = "equal" if len(found) == 1 else f"differs:{os.getpid()}"
                yield f"{source} {target} {name} {told}"


def _digests(
    model: Any, target: str, asked: dict[str, Any], given: dict[str, Any]
) -> Iterator[str]:
    """Of what is asked for, and of its plan applied again."""
    try:
        made = qc.compile(model, target, recipe="fast", **asked, **given)
        again = qc.compile(model, target, plan=made.plan, recipe="fast", **given)
    except QCompilerError as error:
        yield f"refused:{hashlib.sha256(error.what.encode()).hexdigest()[:8]}"
        return
    with tempfile.TemporaryDirectory() as folder:
        for each in (made, again):
            path = each.save(Path(folder) / "artifact")
            yield hashlib.sha256(path.read_bytes()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
