"""A long chain through the whole static pipeline: time must grow linearly.

python -m benchmarks.chain [--nodes 100000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import onnx_ir as ir

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.config import FLOAT_PIPELINE
from qcompiler.decisions.binding import bound_regions
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.planning import planned
from qcompiler.ir.collector import rare_collections
from qcompiler.ir.program import Program
from qcompiler.ir.verifier import verify
from qcompiler.measurement.placing import decide
from qcompiler.pipeline.contract import PassContext
from qcompiler.quantization.observers import make_observer
from qcompiler.target.capability import Kernel


def chain(nodes: int) -> ir.Model:
    """MatMul [8, 8] and Relu in turn; every MatMul has a weight of its own."""
    generator = np.random.default_rng(0)
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 8]))
    current, made, weights = x, [], []
    for index in range(nodes // 2):
        array = generator.standard_normal((8, 8)).astype(np.float32)
        tensor = ir.Tensor(array, name=f"w{index}")
        weight = ir.Value(
            name=f"w{index}", type=ir.TensorType(tensor.dtype), shape=tensor.shape,
            const_value=tensor,
        )  # fmt: skip
        weights.append(weight)
        product = ir.node("MatMul", [current, weight])
        relu = ir.node("Relu", product.outputs)
        for node in (product, relu):
            node.outputs[0].type, node.outputs[0].shape = x.type, ir.Shape([1, 8])
        made += [product, relu]
        current = relu.outputs[0]
    graph = ir.Graph([x], [current], nodes=made, initializers=weights, opset_imports={"": 21})
    return ir.Model(graph, ir_version=10)


def observed(program: Program, target: OnnxRuntime) -> None:
    """Stands in for running 100 000 kernels: every value was seen in [-1, 1]."""
    seen = make_observer("minmax").update(np.array([-1.0, 1.0], np.float32))
    for region in target.regions(program):
        for value in [operand.value for operand in region.activations] + [region.output]:
            program.observations[value.name or ""] = seen


def seconds(nodes: int) -> dict[str, float]:
    """Wall time of each stage for a chain of this many nodes."""
    model, target = chain(nodes), OnnxRuntime()
    times = {}
    started = time.perf_counter()
    program = qc.load(model)
    times["load"] = time.perf_counter() - started
    started = time.perf_counter()
    found = verify(program)
    times["verify"] = time.perf_counter() - started
    assert found == (), "the chain is not valid"
    started = time.perf_counter()
    floating = qc.Pipeline.parse(f"{FLOAT_PIPELINE},insert-observers")
    floating.run(program, PassContext(target))
    times["float passes"] = time.perf_counter() - started
    observed(program, target)
    started = time.perf_counter()
    placed = quantized(program, target)
    times["placement"] = time.perf_counter() - started
    assert bound_regions(placed, Kernel.STATIC), "nothing was quantized"
    return times


@rare_collections()
def quantized(program: Program, target: OnnxRuntime) -> Program:
    """The chain in int8, by the steps of a candidate of `compile`."""
    options = region_options(program, target, target.regions(program))
    plan = planned(options, target, "int8", None, program.observations)
    placed = decide(program, options, plan)
    qc.Pipeline.parse(target.placement).run(placed, PassContext(target))
    return placed


def main() -> None:
    """Prints times for n / 10 and n nodes, and how they grow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100_000)
    nodes = parser.parse_args().nodes
    small, large = seconds(nodes // 10), seconds(nodes)
    for name in large:
        print(f"{name:14s} {small[name]:7.2f} s → {large[name]:7.2f} s")
    total = sum(large.values())
    growth = total / sum(small.values())
    print(f"{nodes} nodes in {total:.1f} s; 10x the nodes take {growth:.1f}x the time")


if __name__ == "__main__":
    main()
