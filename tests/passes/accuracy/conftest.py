"""A small network whose weights matter, its samples, and what a placement makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.decisions.forms import region_options
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.roundings import remembered
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.text import from_text
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.registry import find_target

Array = npt.NDArray[Any]
Feeds = list[dict[str, Array]]

TEXT = """g (float[2,4,6,6] x) => (float[2,5] y)
    <float[8,4,3,3] w, float[8] b, float[8,1,3,3] u, float[8] e, float[8,5] m, float[5] c> {
    [first] a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, b)
    [act] r = Relu(a)
    [deep] d = Conv<kernel_shape=[3,3], group=8, strides=[2,2]>(r, u, e)
    [pool] p = GlobalAveragePool(d)
    [flat] f = Flatten(p)
    [last] y = Gemm(f, m, c) }"""
PRODUCTS = ("first", "deep", "last")


def network_weights() -> dict[str, Array]:
    draw = np.random.default_rng(3)
    shapes = {"w": (8, 4, 3, 3), "b": (8,), "u": (8, 1, 3, 3), "e": (8,), "m": (8, 5), "c": (5,)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def draw_feeds(seed: int, count: int = 6) -> Feeds:
    """Images whose channels and neighbours are alike, as those of networks are."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = draw.normal(size=(2, 1, 3, 3)).repeat(2, axis=2).repeat(2, axis=3)
        x = coarse * [[[[1.0]], [[0.7]], [[-0.5]], [[0.2]]]] + 0.2 * draw.normal(size=(2, 4, 6, 6))
        found.append({"x": x.astype(np.float32)})
    return found


@pytest.fixture
def drawn() -> Callable[[int, int], Feeds]:
    """As many samples as asked, like those of calibration, by a seed."""
    return draw_feeds


@pytest.fixture
def feeds() -> Feeds:
    return draw_feeds(4)


@pytest.fixture
def program(feeds: Feeds) -> Program:
    """Calibrated for ONNX Runtime on the feeds."""
    found = from_text(TEXT, network_weights())
    context = PassContext(target=find_target("onnxruntime")(), feeds=feeds)
    Pipeline.parse("canonicalize,insert-observers{method=minmax},calibrate").run(found, context)
    return found


@pytest.fixture
def placed(program: Program) -> Callable[[Mapping[str, str]], Program]:
    """A copy with the placement of some precisions; other regions take int8 where they can."""

    def made(precisions: Mapping[str, str]) -> Program:
        target = find_target("onnxruntime")()
        options = region_options(program, target, target.regions(program))
        choices = {}
        for each in options:
            key = each.region.key
            other = "int8" if each.named("int8") else FLOAT
            choices[key] = Choice(precisions.get(key, other))
        copy = program.clone()
        copy.plan = Plan("onnxruntime", choices)
        with remembered():
            copy.placement = resolve(program.observations, options, copy.plan)
        copy.properties |= {Property.PRECISION_ASSIGNED, Property.RESOLVED}
        return copy

    return made


@pytest.fixture
def changed(feeds: Feeds) -> Callable[[Program, str], Mapping[str, Any]]:
    """Runs an accuracy pass in place on the feeds; gives its details."""

    def run(program: Program, text: str, samples: Sequence[dict[str, Array]] = feeds) -> Any:
        context = PassContext(find_target("onnxruntime")(), samples=samples)
        report = Pipeline.parse(text).run(program, context)
        return report.details(text.partition("{")[0])

    return run


@pytest.fixture
def written() -> Callable[[Program], Program]:
    """A copy of a placed program with its placement in the graph."""

    def made(program: Program) -> Program:
        target = find_target("onnxruntime")()
        copy = program.clone()
        Pipeline.parse(target.placement).run(copy, PassContext(target))
        return copy

    return made
