"""The solver against exhaustive search, its time on large nets, and the search on ResNet-50.

    python -m benchmarks.search_exact [--resnet50]

Small nets are random chains and diamonds of convolutions and adds for ONNX Runtime; every legal
assignment is priced by the same cost model (times by region and precision, conversions on edges).
The ten best by that model and what `qc.compile` returns are run on the engine, interleaved.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.calibration.keeper import Keeper
from qcompiler.choices.assignment import Costs, assign
from qcompiler.choices.cost import CostModel, elements_per_run, uniform_trials
from qcompiler.config import FLOAT_PIPELINE
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.execution.timing import compare_latency
from qcompiler.frontends import load
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.regions import Region
from qcompiler.measurement.candidates import Workshop
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.qspace import U8_AFFINE
from qcompiler.target.capability import Implementation


def network(seed: int, regions: int) -> onnx.ModelProto:
    """A random net: convolutions of random widths, some residual adds, a sigmoid somewhere."""
    draw = np.random.default_rng(seed)
    nodes, weights = [], []
    value, channels, skip = "x", 64, None
    for index in range(regions):
        kind = draw.choice(["conv", "conv", "conv", "add", "sigmoid"])
        result = f"v{index}"
        if kind == "add" and skip is not None:
            nodes.append(helper.make_node("Add", [value, skip], [result], name=f"n{index}"))
        elif kind == "sigmoid":
            nodes.append(helper.make_node("Sigmoid", [value], [result], name=f"n{index}"))
        else:
            shape = (channels, channels, *([int(draw.choice([1, 3]))] * 2))
            array = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
            weights.append(numpy_helper.from_array(array.astype(np.float32), f"w{index}"))
            pads = [shape[-1] // 2] * 4
            node = helper.make_node("Conv", [value, f"w{index}"], [result], f"n{index}", pads=pads)
            nodes.append(node)
            skip = value if value != "x" else None
        value = result
    sizes = [1, channels, 28, 28]
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, sizes)],
        weights,
    )
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def priced(options: Sequence[Options], costs: Costs, plan: Mapping[str, str]) -> float:
    """The cost model written out a second time: regions, and conversions once per value."""
    total = sum(costs.regions[key, precision] for key, precision in plan.items())
    forms: dict[str, Implementation | None] = {
        each.region.key: each.named(plan[each.region.key]) for each in options
    }
    written: dict[str, str] = {}
    for each in options:
        form = forms[each.region.key]
        if form is not None and form.output is not None:
            written[each.region.output.name or ""] = form.output.dtype.name
    made: set[tuple[str, str]] = set()
    back = {v.name or "" for each in options for v in _graph_outputs(each.region)} & set(written)
    for each in options:
        form = forms[each.region.key]
        kind = None if form is None or form.activation is None else form.activation.dtype.name
        for name in (operand.value.name or "" for operand in each.region.activations):
            if name in written and written[name] != kind:
                back.add(name)
            if kind is not None and written.get(name) != kind:
                made.add((name, kind))
    total += sum(costs.quantize[name] for name, _ in made)
    return total + sum(costs.dequantize[name] for name in back)


def _graph_outputs(region: Region) -> list:  # type: ignore[type-arg]
    return [region.output] if region.output.is_graph_output() else []


def against_exhaustive(seed: int, regions: int) -> tuple[float, float]:
    """(solver's cost / optimum by the model, measured time of `compile` / best of all measured)."""
    model = network(seed, regions)
    draw = np.random.default_rng(seed)
    feeds = [{"x": draw.standard_normal((1, 64, 28, 28)).astype(np.float32)} for _ in range(4)]
    source, target = load(model), OnnxRuntime(threads=1)
    program = source.clone()
    keeper = Keeper(program.signature, feeds, 4)
    context = PassContext(target, keeper)
    Pipeline.parse(FLOAT_PIPELINE).run(program, context)
    Pipeline.parse("insert-observers{method=minmax},calibrate").run(program, context)
    options = region_options(program, target, target.regions(program))
    workshop = Workshop(program, target, options)
    learned = CostModel(elements_per_run(program, options, 4), target.conversion_cost())
    for wanted in ({}, *uniform_trials(options)):
        candidate = workshop.measured(workshop.plan(wanted), feeds)
        assert candidate is not None
        learned.learn(candidate)
    costs = learned.costs()
    chosen = dict(assign(options, costs).precisions)
    names = [[FLOAT, *(form.precision for form in each.implementations)] for each in options]
    keys = [each.region.key for each in options]
    plans = [dict(zip(keys, each, strict=True)) for each in itertools.product(*names)]
    plans.sort(key=lambda plan: priced(options, costs, plan))
    ratio = priced(options, costs, chosen) / priced(options, costs, plans[0])
    compiled = qc.compile(load(model), target, feeds, max_loss=1e6)
    artifacts = [compiled.artifact]
    artifacts += [workshop.build(workshop.plan(plan)).artifact for plan in plans[:10]]
    runs = {
        str(number): lambda artifact=artifact: [artifact.run(feed) for feed in feeds]
        for number, artifact in enumerate(artifacts)
    }
    timed = compare_latency(runs, budget_seconds=4.0, min_rounds=31, baseline="0")
    return ratio, 1 / min(each.ratio for each in timed.values())


def solver_time(regions: int, forms: int) -> tuple[float, bool]:
    """Seconds for a chain with residual adds, and whether optimality was proved."""
    source, target = load(network(7, regions)), OnnxRuntime()
    found = target.regions(source)
    base = [f for row in target.capabilities.rows for f in row.implementations if f.weight]
    kinds = [Implementation(f"p{i}", f.kernel, f.activation, f.weight, output=f.output)
             for i, f in enumerate(itertools.islice(itertools.cycle(base), forms - 1))]  # fmt: skip
    options = [Options(region, tuple(kinds)) for region in found]
    draw = np.random.default_rng(0)
    table = {(e.region.key, f): float(draw.uniform(1e-5, 1e-3))
             for e in options for f in (FLOAT, *(k.precision for k in kinds))}  # fmt: skip
    values = [e.region.output.name or "" for e in options] + ["x"]
    each = {name: float(draw.uniform(1e-6, 1e-4)) for name in values}
    losses = {key: 0.0 if key[1] == FLOAT else float(draw.lognormal(-9, 2)) for key in table}
    kind = U8_AFFINE.dtype.name
    noise = {(name, kind): float(draw.lognormal(-9, 2)) for name in values}
    costs = Costs(table, each, each, noise, losses)
    started = time.perf_counter()
    free = assign(options, costs, None)
    bounded = assign(options, costs, 0.2 * free.loss, 10.0)
    return time.perf_counter() - started, bounded.optimal


def resnet50() -> str:
    """Wall time of the whole compilation of a ResNet-50 with random weights."""
    import torch

    from benchmarks import networks

    module = networks.resnet50().eval()
    feeds = [(torch.randn(1, 3, 224, 224),) for _ in range(8)]
    started = time.perf_counter()
    compiled = qc.compile(module, calibration=feeds)
    return f"{time.perf_counter() - started:.0f} s: {compiled.report.summary}"


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resnet50", action="store_true", help="needs torch")
    given = parser.parse_args()
    ratios = []
    for seed, regions in enumerate((4, 6, 8, 9, 10, 10, 11, 12)):
        model, measured = against_exhaustive(seed, regions)
        ratios.append((model, measured))
        print(f"{regions:2d} regions: model {model:.4f}, measured {measured:.3f}", flush=True)
    worst = max(model for model, _ in ratios), max(measured for _, measured in ratios)
    print(f"worst against exhaustive: model {worst[0]:.4f}, measured {worst[1]:.3f} (1 = optimum)")
    seconds, optimal = solver_time(500, 5)
    print(f"500 regions x 5 precisions: {seconds:.1f} s for two solves, proved {optimal}")
    if given.resnet50:
        print("ResNet-50:", resnet50())


if __name__ == "__main__":
    main()
