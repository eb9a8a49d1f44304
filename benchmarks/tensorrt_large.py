"""Models over 2 GiB through the TensorRT target: load, place, lint, save, NVIDIA's builder.

    python -m benchmarks.tensorrt_large [--gate] [float32|float16 ...]

`float32`: ten products of 8192 x 8192 (2.7 GB), two of them in int8 afterwards, the rest float.
`float16`: eighteen in fp16 (2.4 GB), a user's half-precision file, nothing quantized. Weights are
repeated noise. Needs about 12 GB of memory and 6 GB of disk; prints seconds and sizes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir

from qcompiler.backends.tensorrt.gate import check
from qcompiler.backends.tensorrt.lint import lint
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.frontends import load
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

_WIDTH = 8192
_LAYERS = {"float32": 10, "float16": 18}
_QUANTIZED = 2


def write(path: Path, kind: str) -> None:
    """A chain of products, weights in an external file."""
    dtype = ir.DataType.FLOAT if kind == "float32" else ir.DataType.FLOAT16
    shape = ir.Shape([1, _WIDTH])
    value = source = ir.Value(name="x", type=ir.TensorType(dtype), shape=shape)
    noise = np.random.default_rng(0).normal(0, _WIDTH**-0.5, (_WIDTH, _WIDTH)).astype(kind)
    nodes, weights = [], []
    for index in range(_LAYERS[kind]):
        tensor = ir.Tensor(np.roll(noise, index, axis=0), name=f"w{index}")
        weight = ir.Value(
            name=tensor.name, type=ir.TensorType(dtype), shape=tensor.shape, const_value=tensor
        )
        weights.append(weight)
        node = ir.node("MatMul", [value, weight], name=f"product{index}")
        value = node.outputs[0]
        value.name, value.type, value.shape = f"y{index}", ir.TensorType(dtype), shape
        nodes.append(node)
    graph = ir.Graph([source], [value], nodes=nodes, initializers=weights, opset_imports={"": 21})
    ir.save(ir.Model(graph, ir_version=10), path, external_data="source.data")


def through(kind: str, folder: Path, gate: bool) -> None:
    """Writes, loads, places, lowers, saves, lints; prints what each took."""
    source, result = folder / "source.onnx", folder / "result.onnx"
    write(source, kind)
    clock = _Clock()
    program = load(source)
    clock.lap("load")
    target = TensorRT()
    if kind == "float32":
        kept = {f"product{i}": "float32" for i in range(_QUANTIZED, _LAYERS[kind])}
        feeds = [
            {"x": np.random.default_rng(i).normal(0, 1, (1, _WIDTH)).astype(kind)} for i in range(2)
        ]
        text = "canonicalize,insert-observers,calibrate,"
        text += "assign-precision{scheme=int8},resolve-placement,"
        context = PassContext(target, feeds, options={"overrides": kept})
        Pipeline.parse(text + target.placement).run(program, context)
        clock.lap("calibrate and place")
    artifact = target.lower(program)
    clock.lap("lower")
    artifact.save(result)
    clock.lap("save")
    sizes = {path.name: path.stat().st_size for path in folder.glob("result*")}
    print(f"  saved {sizes}")
    worst = {each.severity.name for each in lint(result)}
    clock.lap(f"lint ({', '.join(sorted(worst)) or 'clean'})")
    if gate:
        answer = check(result)
        clock.lap(f"gate: built {answer.built} {answer.errors[:1]} {dict(answer.layers)}")


class _Clock:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self, what: str) -> None:
        """Prints the seconds since the last lap."""
        now = time.perf_counter()
        print(f"  {now - self._last:6.1f} s  {what}", flush=True)
        self._last = time.perf_counter()


def main() -> None:
    """Runs the models that are named, or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*_LAYERS, []])
    parser.add_argument("--gate", action="store_true", help="also parse and build with RTX")
    given = parser.parse_args()
    for kind in given.kinds or _LAYERS:
        print(kind, flush=True)
        with tempfile.TemporaryDirectory() as text:
            through(kind, Path(text), given.gate)


if __name__ == "__main__":
    main()
