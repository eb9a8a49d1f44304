"""The solver against every plan there is, priced by a second, plain reading of the cost model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.choices.assignment import Costs, assign
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.errors import ConfigurationError
from qcompiler.frontends import load
from qcompiler.ir.plan import FLOAT
from qcompiler.measurement.gate import passed_on
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.qspace import U16_AFFINE, QSpace
from qcompiler.target.capability import Implementation

Plan = Mapping[str, str]


@pytest.fixture
def options() -> Callable[..., list[Options]]:
    """Regions of a random net of convolutions, adds, sigmoids and pools over [1, 4, 8, 8]."""

    def build(seed: int, count: int | None = None) -> list[Options]:
        draw = np.random.default_rng(seed)
        nodes, weights, value, skip = [], [], "x", "x"
        for index in range(int(draw.integers(3, 6)) if count is None else count):
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
    names = sorted({o.region.output.name or "" for o in options} | {"x"})
    types = sorted({s.dtype.name for o in options for f in o.implementations for s in _spaces(f)})
    choices = [(o.region.key, p) for o in options for p in _precisions(o)]
    return Costs(
        regions={each: float(draw.uniform(1, 10)) for each in choices},
        quantize={name: float(draw.uniform(0, 4)) for name in names},
        dequantize={name: float(draw.uniform(0, 4)) for name in names},
        value_loss={(name, kind): float(draw.uniform(0, 1)) for name in names for kind in types},
        weight_loss={each: float(draw.uniform(0, 1)) for each in choices if each[1] != FLOAT},
    )


def _spaces(form: Implementation) -> list[QSpace]:
    return [space for space in (form.activation, form.output) if space is not None]


def _precisions(options: Options) -> list[str]:
    return [FLOAT, *(form.precision for form in options.implementations)]


def priced(options: Sequence[Options], costs: Costs, plan: Plan) -> tuple[float, float]:
    """(cost, loss) of a plan.

    Cost: regions; every type that a value is made in besides the one it is written in; once the way
    back where someone reads anything else. Loss: every (value, type) that exists, aliases of one
    value once; and weights.
    """
    forms = {o.region.key: o.named(plan[o.region.key]) for o in options}
    written = {
        o.region.output.name or "": form.output.dtype.name
        for o in options
        if (form := forms[o.region.key]) is not None and form.output is not None
    }
    exists, made, back = set(written.items()), set(), set()
    for each in options:
        form, region = forms[each.region.key], each.region
        name = region.output.name or ""
        if region.output.is_graph_output() and name in written:
            back.add(name)
        read = None if form is None or form.activation is None else form.activation.dtype.name
        for name in (operand.value.name or "" for operand in region.activations):
            if name in written and written[name] != read:
                back.add(name)
            if read is not None:
                exists.add((name, read))
                made |= {(name, read)} - set(written.items())
    cost = float(sum(costs.regions[each] for each in plan.items()))
    cost += sum(costs.quantize[name] for name, _ in made)
    cost += sum(costs.dequantize[name] for name in back)
    roots = {(costs.alias.get(name, name), kind) for name, kind in exists}
    loss = float(sum(costs.value_loss[each] for each in roots))
    return cost, loss + sum(costs.weight_loss.get(each, 0.0) for each in plan.items())


def every_plan(options: Sequence[Options]) -> list[dict[str, str]]:
    keys = [o.region.key for o in options]
    found = itertools.product(*map(_precisions, options))
    plans = [dict(zip(keys, each, strict=True)) for each in found]
    return [plan for plan in plans if follows(options, plan)]


def follows(options: Sequence[Options], plan: Plan) -> bool:
    """Whether forms that pay behind integers only stand there."""
    forms = {o.region.output.name: o.named(plan[o.region.key]) for o in options}
    for each in options:
        own = forms[each.region.output.name]
        if own is None or not own.follows or own.activation is None:
            continue
        before = [forms.get(operand.value.name) for operand in each.region.activations]
        if any(
            b is None or b.output is None or b.output.dtype != own.activation.dtype for b in before
        ):
            return False
    return True


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


def test_a_form_that_pays_behind_integers_only(options: Callable[[int], list[Options]]) -> None:
    """Costing nothing by itself, it is chosen behind integers and not behind float."""
    seed = next(n for n in range(50) if _pooled(options(n)))
    regions = options(seed)
    first, pool = _pooled(regions)[0]
    free = {(o.region.key, p): float(p == FLOAT) for o in regions for p in _precisions(o)}
    pinned = [replace(o, pinned=FLOAT) if o is first else o for o in regions]
    assert assign(regions, Costs(free)).precisions[pool.region.key] == "int8"
    assert assign(pinned, Costs(free)).precisions[pool.region.key] == FLOAT
    asked = [replace(o, pinned="int8") if o is pool else o for o in pinned]
    assert assign(asked, Costs(free)).precisions[pool.region.key] == "int8"


def _pooled(regions: Sequence[Options]) -> list[tuple[Options, Options]]:
    """Pairs of a region and the MaxPool that reads it."""
    return [
        (a, b)
        for a in regions
        for b in regions
        if b.region.kind == "MaxPool" and b.region.activations[0].value is a.region.output
    ]


def wide(options: Sequence[Options]) -> list[Options]:
    """The same with a second integer type for every region that has an 8-bit one.

    16 bits in and out, or 16 bits in and 8 bits out (which ties no scales).
    """
    found = []
    for index, each in enumerate(options):
        forms = list(each.implementations)
        for form in each.implementations:
            if form.activation is not None and form.output is not None:
                mixed = index % 2 and not form.shares_scale
                output = form.output if mixed else U16_AFFINE
                forms.append(replace(form, precision="wide", activation=U16_AFFINE, output=output))
        found.append(replace(each, implementations=tuple(forms)))
    return found


@pytest.mark.parametrize(("seed", "count"), [*((seed, seed % 3 + 3) for seed in range(8)), (8, 8)])
@pytest.mark.parametrize("shared", [False, True])
def test_two_integer_types_of_one_value(
    options: Callable[..., list[Options]], seed: int, count: int, shared: bool
) -> None:
    regions = wide(options(seed, count))
    costs = random_costs(regions, seed)
    if shared:
        costs = replace(costs, alias=passed_on(regions))
    known = [priced(regions, costs, plan) for plan in every_plan(regions)]
    bound = float(np.median([loss for _, loss in known]))
    for limit in (None, bound):
        best = min(cost for cost, loss in known if limit is None or loss <= limit)
        found = assign(regions, costs, limit)
        cost, loss = priced(regions, costs, found.precisions)
        assert limit is None or loss <= limit + 1e-6
        assert cost == pytest.approx(best, rel=2e-4)
        assert found.cost == pytest.approx(best, rel=2e-4)


def test_passing_integers_on_costs_nothing_and_another_type_does(
    options: Callable[[int], list[Options]],
) -> None:
    """Two regions pinned to types that differ pay DQ and Q between them, alike ones do not."""
    regions = wide(options(0))
    chain = next(
        (a, b)
        for a in regions
        for b in regions
        if a.named("wide") and b.named("wide") and b.region.activations[0].value is a.region.output
    )
    between = chain[0].region.output.name or ""
    costs = random_costs(regions, 0)
    only = replace(costs, quantize={between: 1.0}, dequantize={between: 10.0}, regions={})

    def cost(first: str, second: str) -> float:
        pins = {chain[0].region.key: first, chain[1].region.key: second}
        pinned = [replace(o, pinned=pins.get(o.region.key, FLOAT)) for o in regions]
        priced_regions = {(o.region.key, o.pinned or ""): 0.0 for o in pinned}
        return assign(pinned, replace(only, regions=priced_regions)).cost

    others = (
        any(
            o.region not in (chain[0].region, chain[1].region)
            and any(operand.value is chain[0].region.output for operand in o.region.activations)
            for o in regions
        )
        or chain[0].region.output.is_graph_output()
    )
    alike, mixed = cost("wide", "wide"), cost("int8", "wide")
    assert alike == pytest.approx(10.0 if others else 0.0)
    assert mixed >= 11.0 - 1e-6


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
