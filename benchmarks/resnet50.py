"""ResNet-50 (random weights): front end against torch's exporter, int8 against float at 1 thread.

python -m benchmarks.resnet50
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from functools import partial
from statistics import median

import torch

import qcompiler as qc
from benchmarks.networks import resnet50
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.execution.timing import compare_latency


def front_end(rounds: int = 5) -> float:
    """Median over rounds of (module → Program) / torch.onnx.export."""
    network, x = resnet50(), torch.randn(1, 3, 224, 224)
    ratios = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        torch.onnx.export(network, (x,), dynamo=True, verbose=False)
        middle = time.perf_counter()
        qc.load(network, (x,))
        ratios.append((time.perf_counter() - middle) / (middle - started))
    return median(ratios[1:])


def int8() -> None:
    """Prints the speed-up and what ONNX Runtime runs."""
    feeds = [(torch.randn(1, 3, 224, 224),) for _ in range(8)]
    network = resnet50()
    target = OnnxRuntime(threads=1)
    source = target.lower(qc.load(network, feeds[0]))
    compiled = qc.compile(network, target, feeds, scheme="int8", recipe="fast")
    feed = {compiled.program.signature.inputs[0].name: feeds[0][0].numpy()}
    timed = compare_latency(
        {"float": partial(source.run, feed), "int8": partial(compiled.artifact.run, feed)},
        budget_seconds=20,
        min_rounds=21,
        decisive=0.001,
    )
    ops = Counter(compiled.kernels.ops)
    print(
        f"int8 {1 / timed['int8'].ratio:.2f}x of float at 1 thread "
        f"({1e3 * timed['float'].seconds:.1f} → {1e3 * timed['int8'].seconds:.1f} ms); "
        f"{ops['QLinearConv']} of 53 convolutions and {ops['QLinearAdd']} of 16 adds in integers"
    )


def main() -> None:
    """Prints both figures."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    print(f"front end {front_end():.2f} x torch.onnx.export")
    int8()


if __name__ == "__main__":
    main()
