"""Good files of every kind that is read, made in a process of its own, and what reads each."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import qcompiler as qc
from qcompiler.calibration.checkpoint import Checkpoint, read_checkpoint
from qcompiler.calibration.feed_files import FeedFiles
from qcompiler.calibration.recorder import Observations
from qcompiler.errors import QCompilerError
from qcompiler.ir.requests import Request
from qcompiler.quantization.observers import OBSERVERS, make_observer
from qcompiler.report.report import Report
from qcompiler.search.cache import CostCache

TARGETS = ("onnxruntime", "openvino", "tensorrt", "fbgemm", "qnnpack", "executorch")
_PRINT = "fingerprint"
PIPELINES = (
    "canonicalize,fuse-conv-bn",
    'fixed-point{limit=3}(canonicalize,dead-code),insert-observers{method="mse"}',
    "insert-observers{method=percentile,percentile=99.9,bins=128},calibrate",
)
CONFIGS = (
    """target = "onnxruntime"
scheme = "int8"
recipe = "balanced"
objective = "latency"
max_loss = 0.01
budget = 0
variants = ["correct-bias", "use-ranges{method=minmax}"]

[ranges]
r = [-8.0, 8.0]

[overrides]
"op:GlobalAveragePool" = "float32"

[overrides."Conv*"]
bits = 8
observer = "mse"
""",
    """scheme = "int8"
recipe = "fast"
budget = 0
objective = { latency = 1, size = 0.5 }
loss = { y = "top1" }

[overrides.r]
scale = 0.05
zero_point = 3
dtype = "uint8"

[overrides."op:Conv"]
range = [-4, 4.5]
""",
)
VARIANTS = ("equalize-layers", "use-ranges{method=minmax}", "choose-ranges", "correct-bias")
_SCHEMES = {
    "onnxruntime": (
        "int8", "int8-per-tensor", "dynamic", "ternary", "int4-weights", "int3-weights",
        "codebook4-weights", "log2-weights",
    ),
    "fbgemm": ("int8", "dynamic"),
}  # fmt: skip
"""Of artifacts, where other schemes than `int8` make other files."""
_ENGINES = (
    "qcompiler.backends.torch_engines.restoring",
    "executorch.runtime",
    "executorch.backends.xnnpack",
)
_TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 3, 8, 8] x, bool c) => (float[n, 4] y)
<float[4, 3, 3, 3] k, float[4] b, float[4, 4] w> {
  h = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, k, b)
  r = Relu(h)
  p = GlobalAveragePool(r)
  f = Flatten(p)
  m = MatMul(f, w)
  y = If(c) <then_branch = t () => (float[n, 4] a) { a = Add(m, b) },
             else_branch = e () => (float[n, 4] d) { d = Identity(m) }>
}"""
_PLAIN = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2, 3, 8, 8] x) => (float[2, 4] y)
<float[32, 3, 3, 3] k, float[32] b, float[32, 4] w> {
  h = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, k, b)
  r = Relu(h)
  p = GlobalAveragePool(r)
  f = Flatten(p)
  y = MatMul(f, w)
}"""


def make(folder: Path) -> None:
    """Writes the good files: one folder for each kind."""
    chance = np.random.default_rng(0)
    feeds = _feeds(chance)
    kinds = (
        "onnx",
        "npz",
        "plan",
        "applied",
        "config",
        "report",
        "checkpoint",
        "cache",
        "pipeline",
    )
    for kind in kinds:
        (folder / kind).mkdir()
    branching, plain = (_with_weights(text, chance) for text in (_TEXT, _PLAIN))
    onnx.save(branching, folder / "onnx" / "branching")
    onnx.save(plain, folder / "onnx" / "plain")
    arrays = {"x": np.concatenate([feed["x"] for feed in feeds])}
    np.savez(folder / "npz" / "stored.npz", **arrays)  # type: ignore[arg-type]
    np.savez_compressed(folder / "npz" / "packed.npz", **arrays)  # type: ignore[arg-type]
    ragged = {f"in_{i}_x": feed["x"] for i, feed in enumerate(feeds)}
    np.savez(folder / "npz" / "ragged.npz", **ragged)
    compiled = qc.compile(plain, calibration=feeds, scheme="int8", recipe="fast", budget=0)
    observers: Observations = {
        Request.of(name, method=name): make_observer(name) for name in OBSERVERS
    }
    for each in observers.values():
        each.update(feeds[0]["x"])
    Checkpoint(_PRINT, 4, "data", observers).save(folder / "checkpoint" / "good")
    varied = replace(compiled.plan, variants=VARIANTS)
    for kind in ("plan", "applied"):
        (folder / kind / "good").write_text(compiled.plan.to_json())
        (folder / kind / "variants").write_text(varied.to_json())
    (folder / "report" / "good").write_text(compiled.report.to_json())
    for index, text in enumerate(CONFIGS):
        (folder / "config" / str(index)).write_text(text)
    cache = CostCache(folder / "cache" / "good")
    cache.update({(f"{i:016x}", "int8"): 1e-4 * i for i in range(5)})
    for index, text in enumerate(PIPELINES):
        (folder / "pipeline" / str(index)).write_text(text)
    for target in TARGETS:
        for scheme in _SCHEMES.get(target, ("int8",)):
            _artifact(folder / f"artifact-{target}", plain, feeds, target, scheme)


def _feeds(chance: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": chance.standard_normal((2, 3, 8, 8), dtype=np.float32)} for _ in range(4)]


def _artifact(folder: Path, model: Any, feeds: list[Any], target: str, scheme: str) -> None:
    try:
        made = qc.compile(model, target, calibration=feeds, scheme=scheme, recipe="fast", budget=0)
    except QCompilerError as error:
        if "not installed" not in error.what:
            raise
        print(f"no artifact for {target}, {scheme}: {error.what}")
        return
    folder.mkdir(exist_ok=True)
    made.save(folder / f"good-{scheme}")


def _with_weights(text: str, chance: np.random.Generator) -> onnx.ModelProto:
    """The declared but not given values of the text, drawn."""
    model = onnx.parser.parse_model(text)
    for info in list(model.graph.value_info):
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        array = chance.standard_normal(shape, dtype=np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    del model.graph.value_info[:]
    return model


def preload() -> None:
    """Imports the whole package and what readers import, so that children need not."""
    for each in pkgutil.walk_packages(qc.__path__, "qcompiler."):
        if not each.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(each.name)
    for name in _ENGINES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def reader(kind: str) -> Callable[[Path], Any]:
    """What the package does with a file of this kind."""
    if kind.startswith("artifact-"):
        return lambda path: _run(path, kind.removeprefix("artifact-"))
    readers: dict[str, Callable[[Path], Any]] = {
        "onnx": qc.load,
        "npz": lambda path: [list(FeedFiles(path)), FeedFiles(path, 3)[-1]],
        "plan": _plan,
        "applied": lambda path: _compiled(plan=path),
        "config": lambda path: _compiled(**qc.read_config(path)),
        "report": _report,
        "checkpoint": lambda path: read_checkpoint(path, _PRINT),
        "cache": lambda path: CostCache(path).get("0", "int8"),
        "pipeline": lambda path: qc.Pipeline.parse(
            path.read_text(encoding="utf-8", errors="replace")
        ),
    }
    return readers[kind]


def _plan(path: Path) -> None:
    plan = qc.Plan.read(path)
    plan.to_json()


def _report(path: Path) -> None:
    report = Report.from_json(path.read_text(encoding="utf-8", errors="replace"))
    str(report)
    report.to_json()


def _compiled(**given: Any) -> None:
    """What is written in the file, done with a small model."""
    chance = np.random.default_rng(0)
    model, feeds = _with_weights(_PLAIN, chance), _feeds(chance)
    qc.compile(model, calibration=feeds, **{"recipe": "fast", "budget": 0, **given})


def _run(path: Path, target: str) -> None:
    """As a user would: by what the file says of itself, but for the files that do not tell."""
    named = None if target in ("onnxruntime", "fbgemm", "qnnpack", "executorch") else "onnxruntime"
    compiled = qc.load_compiled(path, named)
    compiled.run(np.ones((2, 3, 8, 8), np.float32))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
