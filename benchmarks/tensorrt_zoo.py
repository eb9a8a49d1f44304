"""Zoo models placed for TensorRT, through the lint and NVIDIA's ahead-of-time builder, per GPU.

    python -m benchmarks.tensorrt_zoo --zoo FOLDER [--precision int8] [NAMES...]

Prints one row per model: weighted ops meant to be quantized, and for every compute capability how
many of them TensorRT-RTX compiled so. `lint Tnn` means that the lint rejects the graph for that GPU
and `refused` whether the builder does too. Nothing here is a speed or an accuracy on a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.models import Model, add_models, models_of
from qcompiler.backends.tensorrt.gate import CAPABILITIES, Gate
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.decisions.binding import bound_regions
from qcompiler.execution.saving import write_onnx
from qcompiler.frontends import load
from qcompiler.ir.diagnostics import Severity
from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.program import Program
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

_SAMPLES = 6


def placed(model: Model, target: TensorRT) -> Program:
    """The model with every legal region in the target's precision."""
    program = load(model.path)
    float_passes = "canonicalize,dead-code,insert-observers,calibrate"
    decided = f"assign-precision{{scheme={target.preferred}}},resolve-placement"
    text = f"{float_passes},{decided},{target.placement}"
    Pipeline.parse(text).run(program, PassContext(target, model.feeds[:_SAMPLES]))
    return program


def verdict(program: Program, path: Path, target: TensorRT, gate: Gate) -> str:
    """What lint and builder say for one compute capability, in a few characters."""
    regions = bound_regions(program, target.kernel)
    names = [each.region.anchor.name or "" for each in regions if each.region.kind in LINEAR]
    rejected = [d for d in target.legality(program) if d.severity is Severity.ERROR]
    result = gate.check(path, compute_capability=target.compute_capability)
    if rejected:
        rules = ", ".join(sorted({each.rule for each in rejected}))
        return f"lint {rules}; {'built' if result.built else 'refused'}"
    if not result.built:
        return f"refused: {(result.errors or ('no reason',))[0][:60]}"
    done = sum(result.runs_in(name, target.compiled_type) for name in names)
    return f"{done} of {len(names)}"


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--precision", default="int8", choices=("int8", "fp8"))
    given = parser.parse_args()
    models = models_of(given)
    lowest = {"int8": 75, "fp8": 89}[given.precision]
    capabilities = [each for each in CAPABILITIES if each >= lowest]
    print("| model | " + " | ".join(f"SM {each}" for each in capabilities) + " |")
    print("| --- " * (1 + len(capabilities)) + "|")
    for model in models:
        base = TensorRT(precision=given.precision, compute_capability=lowest)
        program = placed(model, base)
        with tempfile.TemporaryDirectory() as folder, Gate() as gate:
            path = Path(folder) / "model.onnx"
            write_onnx(program.model, path)
            cells = [
                verdict(program, path, replace(base, compute_capability=each), gate)
                for each in capabilities
            ]
        print(f"| {model.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
