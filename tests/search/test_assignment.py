"""The solver against every plan there is, priced by a second, plain reading of the cost model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.forms import Options, region_options
from qcompiler.errors import ConfigurationError
from qcompiler.frontends import load
from qcompiler.ir.plan import FLOAT
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.search.assignment import Costs, assign

Plan = Mapping[str, str]


@pytest.fixture
def options() -> Callable[[int], list[Options]]:
    """Regions of a random net of convolutions, adds, sigmoids and pools over [1, 4, 8, 8]."""

    def build(seed: int) -> list[Options]:
        draw = np.random.default_rng(seed)
        nodes, weights, value, skip = [], [], "x", "x"
        for index in range(int(draw.integers(3, 6))):
            kind = str(draw.choice(["conv", "conv", "add", "sigmoid", "pool"]))
            result, name = f"v{index}", f"n{index}"
            if kind == "conv":
                array = draw.normal(size=(4, 4, 1, 1)).astype(np.float32)
                weights.append(numpy_helper.from_array(array, f"w{index}"))
                nodes.append(helper.make_node("Conv", [value, f"w{index}"], [result], name=name))
                skip = value
            elif kind == "add":
                nodes.append(helper.make_node("Add", [value, skip], [result], name=name))
            elif kind == "sigmoid":
                nodes.append(helper.make_node("Sigmoid", [value], [result], name=name))
            else:
                node = helper.make_node(
                    "MaxPool", [value], [result], name, kernel_shape=[3, 3], pads=[1] * 4
                )
                nodes.append(node)
            value = result
        ends = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 8, 8]) for n in ("x", value)
        ]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        program, target = load(made), OnnxRuntime()
        feeds = [{"x": draw.normal(size=(1, 4, 8, 8)).astype(np.float32)}]
        steps = Pipeline.parse("insert-observers{method=minmax},calibrate")
        steps.run(program, PassContext(target, feeds))
        return region_options(program, target, target.regions(program))

    return build


def random_costs(options: Sequence[Options], seed: int) -> Costs:
    draw = np.random.default_rng(seed)
    names = {o.region.output.name or "" for o in options} | {"x"}
    choices = [(o.region.key, p) for o in options for p in _precisions(o)]
    return Costs(
        regions={each: float(draw.uniform(1, 10)) for each in choices},
        quantize={name: float(draw.uniform(0, 4)) for name in names},
        dequantize={name: float(draw.uniform(0, 4)) for name in names},
        value_loss={name: float(draw.uniform(0, 1)) for name in names},
        weight_loss={each: float(draw.uniform(0, 1)) for each in choices if each[1] != FLOAT},
    )


def _precisions(options: Options) -> list[str]:
    return [FLOAT, *(form.precision for form in options.implementations)]


def priced(options: Sequence[Options], costs: Costs, plan: Plan) -> tuple[float, float]:
    """(cost, loss): regions, conversions once per value, losses of integer values and weights."""
    forms = {o.region.key: o.named(plan[o.region.key]) for o in options}
    written: set[str] = set()
    integer: set[str] = set()
    floating: set[str] = set()
    for each in options:
        form, region = forms[each.region.key], each.region
        if form is not None and form.output is not None:
            written.add(region.output.name or "")
        if region.output.is_graph_output():
            floating.add(region.output.name or "")
        for operand in region.activations:
            reads = form is not None and form.activation is not None
            (integer if reads else floating).add(operand.value.name or "")
    cost = float(sum(costs.regions[each] for each in plan.items()))
    cost += sum(costs.quantize[name] for name in integer - written)
    cost += sum(costs.dequantize[name] for name in floating & written)
    loss = float(sum(costs.value_loss[name] for name in integer | written))
    return cost, loss + sum(costs.weight_loss.get(each, 0.0) for each in plan.items())


def every_plan(options: Sequence[Options]) -> list[dict[str, str]]:
    keys = [o.region.key for o in options]
    found = itertools.product(*map(_precisions, options))
    return [dict(zip(keys, each, strict=True)) for each in found]


@pytest.mark.parametrize("seed", range(8))
def test_the_cheapest_plan_is_found(options: Callable[[int], list[Options]], seed: int) -> None:
    regions = options(seed)
    costs = random_costs(regions, seed)
    best = min(priced(regions, costs, plan)[0] for plan in every_plan(regions))
    found = assign(regions, costs)
    assert found.cost == pytest.approx(best, rel=2e-4)  # the solver's own gap is 1e-4
    assert priced(regions, costs, found.precisions)[0] == pytest.approx(best, rel=2e-4)


@pytest.mark.parametrize("seed", range(8))
def test_the_cheapest_plan_within_a_bound(
    options: Callable[[int], list[Options]], seed: int
) -> None:
    regions = options(seed)
    costs = random_costs(regions, seed)
    known = [priced(regions, costs, plan) for plan in every_plan(regions)]
    bound = float(np.median([loss for _, loss in known]))
    best = min(cost for cost, loss in known if loss <= bound)
    found = assign(regions, costs, bound)
    cost, loss = priced(regions, costs, found.precisions)
    assert loss <= bound + 1e-6
    assert cost == pytest.approx(best, rel=2e-4)


def test_a_pinned_region_that_breaks_the_bound(options: Callable[[int], list[Options]]) -> None:
    regions = options(0)
    costs = random_costs(regions, 0)
    assert assign(regions, costs, 0.0).precisions == dict.fromkeys(
        (o.region.key for o in regions), FLOAT
    )
    forced = next(o for o in regions if o.implementations)
    precision = forced.implementations[0].precision
    pinned = [replace(o, pinned=precision) if o is forced else o for o in regions]
    assert assign(pinned, costs).precisions[forced.region.key] == precision
    with pytest.raises(ConfigurationError, match="keeps the loss bound"):
        assign(pinned, costs, 0.0)
