"""Blocks one after the other give what the whole network gives on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from qcompiler.decisions.forms import region_options
from qcompiler.decisions.resolve import resolve
from qcompiler.execution.session import OrtSession
from qcompiler.ir.blocks import Block, find_blocks
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import is_op
from qcompiler.lowering.torch_fx import block_run
from qcompiler.lowering.torch_fx.block_run import BlockRun
from qcompiler.lowering.torch_fx.reconstruction import quantized_block
from qcompiler.lowering.torch_fx.soft_rounding import Dropping, SoftRounding
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.registry import find_target
from qcompiler.quantization.numerics import dequantize
from qcompiler.quantization.parameters import weight_qparams
from qcompiler.quantization.qspace import S8_SYMMETRIC_PER_CHANNEL

Array = npt.NDArray[Any]

TEXT = """g (float[2,4,6,6] x) => (float[2,5] y)
    <float[4,4,3,3] w, float[4] b, float[4,4,1,1] u, float[4] e, float[4,5] m, float[5] c> {
    [one] a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, b)
    [act] r = Relu(a)
    [two] d = Conv<kernel_shape=[1,1]>(r, u, e)
    [add] s = Add(d, r)
    [pool] p = GlobalAveragePool(s)
    [flat] f = Flatten(p)
    [last] y = Gemm(f, m, c) }"""


@pytest.fixture(scope="module")
def made() -> tuple[Program, list[Block], list[dict[str, Array]]]:
    """Placed in int8, its blocks, and feeds."""
    draw = np.random.default_rng(1)
    shapes = {"w": (4, 4, 3, 3), "b": (4,), "u": (4, 4, 1, 1), "e": (4,), "m": (4, 5), "c": (5,)}
    weights = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    feeds = [{"x": draw.normal(size=(2, 4, 6, 6)).astype(np.float32)} for _ in range(5)]
    program, target = from_text(TEXT, weights), find_target("onnxruntime")()
    context = PassContext(target, feeds)
    Pipeline.parse("canonicalize,insert-observers{method=minmax},calibrate").run(program, context)
    options = region_options(program, target, target.regions(program))
    names = {o.region.key: "int8" if o.named("int8") else FLOAT for o in options}
    program.plan = Plan("onnxruntime", {key: Choice(name) for key, name in names.items()})
    program.placement = resolve(program.observations, options, program.plan)
    anchors = {node for node in program.graph if is_op(node, "Conv", "Gemm")}
    return program, find_blocks(program, anchors, 1), feeds


def walked(made: Any) -> Iterator[tuple[Block, Any]]:
    program, blocks, feeds = made
    run = BlockRun(program, blocks, feeds)
    for block in blocks:
        yield block, run.samples(block)
        run.advance(block, program.placement)


def test_float_blocks_give_what_onnx_runtime_gives(made: Any) -> None:
    program, blocks, feeds = made
    assert len(blocks) > 1
    names = [value.name or "" for block in blocks for value in block.outputs]
    session = OrtSession(program.model, extra_outputs=names)
    wanted = [session.run_named(feed) for feed in feeds]
    for block, samples in walked(made):
        for index, outputs in enumerate(samples.wanted):
            for value, found in zip(block.outputs, outputs, strict=True):
                # sums of at most 36 products in float32
                np.testing.assert_allclose(
                    found, wanted[index][value.name or ""], rtol=1e-4, atol=1e-4
                )


def test_quantized_blocks_give_what_the_engine_gives(made: Any) -> None:
    """Within two steps: the engine rounds the same integers, but sums them in integers."""
    program, _, feeds = made
    target = find_target("onnxruntime")()
    copy = program.clone()
    copy.properties |= {Property.PRECISION_ASSIGNED, Property.RESOLVED}
    Pipeline.parse(target.placement).run(copy, PassContext(target))
    artifact = target.lower(copy)
    *_, (last, samples) = walked(made)
    module = quantized_block(last, program.placement).module
    step = float(program.placement.regions["last"].written.scale)
    plain = OrtSession(program.model)
    for index, feed in enumerate(feeds):
        with torch.no_grad():
            found = module(*samples.quantized[index])[0].numpy()
        engine = artifact.run(feed)[0]
        assert np.abs(found - engine).max() <= 2 * step
        assert np.abs(plain.run(feed)[0] - engine).max() > 0  # or it is float that is compared


def test_samples_are_left_out_where_they_take_too_much(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_run, "_BYTES", 2 * 4 * 2 * 4 * 36 * 2 + 8)  # two samples of r or s
    counts = [len(samples.wanted) for _, samples in walked(made)]
    assert counts[0] == 5
    assert counts[-1] == 2


def test_soft_rounding_starts_as_the_weight_and_ends_in_integers() -> None:
    draw = np.random.default_rng(0)
    exact = draw.normal(size=(3, 8)).astype(np.float32)
    params = weight_qparams(exact, S8_SYMMETRIC_PER_CHANNEL, 0)
    soft = SoftRounding(exact, params)
    with torch.no_grad():
        step = params.scale[:, None]
        assert np.all(np.abs(soft().numpy() - exact) <= 2e-3 * step)
        soft.hard = True
        hard = soft().numpy()
    np.testing.assert_allclose(hard, dequantize(soft.integers().astype(np.int8), params), rtol=1e-6)
    assert np.all(np.abs(hard - exact) <= (0.5 + 1e-4) * step)  # the nearest, untrained


def test_integers_off_the_pair_start_where_they_are() -> None:
    exact = np.array([[1.0, 0.26, -0.4, 0.9]], np.float32)
    params = weight_qparams(exact, S8_SYMMETRIC_PER_CHANNEL, 0)
    chosen = np.array([[127, 30, -55, 114]], np.int8)  # nearest are 127, 33, -51, 114
    soft = SoftRounding(exact, params, chosen)
    np.testing.assert_array_equal(soft.integers(), chosen)


def test_dropping_is_seeded_and_mixes_elements() -> None:
    plain, quantized = torch.zeros(1000), torch.ones(1000)
    first, second = Dropping(3), Dropping(3)
    first.share = second.share = 0.25
    mixed = first.mixed(plain, quantized)
    assert torch.equal(mixed, second.mixed(plain, quantized))
    assert 0.65 < float(mixed.mean()) < 0.85  # 0.75, and 7 standard deviations of it
    first.share = 0.0
    assert torch.equal(first.mixed(plain, quantized), quantized)
