"""Every silent fault of the engines: wrong with its rule off, right with it on."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from qcompiler.backends.torch_engines import adapter, faults
from qcompiler.backends.torch_engines.faults import Site, objections, without
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower

SX, ZX, SW = 0.02, 120, 0.01


def largest_error(program: Any, setting: Setting, real: Any, expected: Any) -> int:
    """Largest difference in LSB between the lowered program and the exact integers."""
    lowered = lower(program.model, setting)
    with adapter.engine_scope(setting.engine), torch.no_grad():
        got = lowered.module(torch.from_numpy(real))[0].numpy()
    return int(np.abs(got.astype(np.int16) - expected.astype(np.int16)).max())


def case(
    qdq: Any,
    rng: Any,
    op: str,
    x_shape: Any,
    w_shape: Any,
    function: Any,
    sy: float,
    **attributes: Any,
) -> tuple[Any, Any, Any]:
    """A Conv or ConvTranspose over the whole 8-bit range, and its exact integers."""
    w = rng.integers(-127, 128, w_shape).astype(np.int8)
    q = rng.integers(0, 256, x_shape).astype(np.uint8)
    g = qdq()
    y = g.node(op, g.pair(g.input(x_shape), SX, ZX), g.weight(w, np.float32(SW)), **attributes)
    program = g.program(g.quantize(y, sy, 128), dtype=2)
    centred = torch.from_numpy(q.astype(np.float64) - ZX)
    total = function(centred, torch.from_numpy(w.astype(np.float64))).numpy()
    multiplier = np.float32(SX) * np.float32(SW) / np.float32(sy)
    expected = np.clip(np.rint(total.astype(np.float32) * multiplier) + 128, 0, 255)
    return program, ((q - float(ZX)) * np.float32(SX)).astype(np.float32), expected


def b1(qdq: Any, rng: Any) -> Any:
    return case(
        qdq, rng, "Conv", (1, 32, 12, 12), (32, 1, 3, 3),
        lambda x, w: functional.conv2d(x, w, None, 1, 1, 1, 32), 0.1, group=32, pads=[1] * 4,
    )  # fmt: skip


def b2(qdq: Any, rng: Any) -> Any:
    return case(
        qdq, rng, "ConvTranspose", (1, 32, 12, 12), (32, 16, 2, 2),
        lambda x, w: functional.conv_transpose2d(x, w, None, 2), 0.2, strides=[2, 2],
    )  # fmt: skip


def b3(qdq: Any, rng: Any) -> Any:
    return case(
        qdq, rng, "ConvTranspose", (1, 8, 7, 7), (8, 12, 3, 3),
        lambda x, w: functional.conv_transpose2d(x, w, None, 2), 0.2, strides=[2, 2],
    )  # fmt: skip


def b4(qdq: Any, rng: Any) -> Any:
    return case(
        qdq, rng, "ConvTranspose", (1, 6, 4, 4, 4), (6, 6, 2, 2, 2),
        lambda x, w: functional.conv_transpose3d(x, w, None, 2), 0.2, strides=[2, 2, 2],
    )  # fmt: skip


def b1_mixed(qdq: Any, rng: Any) -> Any:
    return case(
        qdq, rng, "Conv", (1, 112, 12, 12), (112, 1, 3, 3),
        lambda x, w: functional.conv2d(x, w, None, 1, 1, 1, 112), 0.1, group=112, pads=[1] * 4,
    )  # fmt: skip


def b11(qdq: Any, rng: Any) -> Any:
    return case(
        qdq, rng, "Conv", (1, 24, 14, 14), (24, 4, 3, 3),
        lambda x, w: functional.conv2d(x, w, None, 1, 1, 1, 6), 0.1, group=6, pads=[1] * 4,
    )  # fmt: skip


FAULTY = [("B1", "fbgemm", b1), ("B1", "x86", b1_mixed), ("B11", "fbgemm", b11),
          ("B2", "fbgemm", b2), ("B3", "x86", b3), ("B3", "onednn", b3),
          ("B4", "qnnpack", b4)]  # fmt: skip


@pytest.mark.parametrize(("name", "engine", "make"), FAULTY, ids=[f"{f[0]}-{f[1]}" for f in FAULTY])
def test_engine_is_wrong_without_the_rule_and_right_with_it(
    name: str, engine: str, make: Any, qdq: Any, rng: Any
) -> None:
    program, real, expected = make(qdq, rng)
    off = Setting(engine, faults=without(name), regroup=False)
    assert largest_error(program, off, real, expected) >= 2
    lowered = lower(program.model, Setting(engine, regroup=False))
    assert lowered.kernels.missed
    assert not lowered.kernels.integer
    assert largest_error(program, Setting(engine), real, expected) <= 1


def test_b1_is_exact_with_seven_bit_weights() -> None:
    weight = np.full((32, 1, 3, 3), 64, np.int8)
    assert not objections(Site("conv", "fbgemm", weight, groups=32, x_zero_point=200))
    weight[0, 0, 0, 0] = 65
    assert [f.name for f, _ in objections(Site("conv", "fbgemm", weight, groups=32))] == ["B1"]
    assert not objections(Site("conv", "fbgemm", weight, groups=32, x_max=127, x_zero_point=127))
    assert objections(Site("conv", "fbgemm", weight, groups=32, x_max=127, x_zero_point=128))


def test_b1_seven_bit_weights_on_the_engine(qdq: Any, rng: Any) -> None:
    w = rng.integers(-64, 65, (32, 1, 3, 3)).astype(np.int8)
    q = rng.integers(0, 256, (1, 32, 12, 12)).astype(np.uint8)
    g = qdq()
    y = g.node("Conv", g.pair(g.input(q.shape), SX, ZX), g.weight(w, np.float32(SW)), group=32)
    program = g.program(g.quantize(y, 0.05, 128), dtype=2)
    assert lower(program.model, Setting("fbgemm")).kernels.missed == {}
    total = functional.conv2d(
        torch.from_numpy(q - 120.0), torch.from_numpy(w.astype(np.float64)), None, 1, 0, 1, 32
    ).numpy()
    multiplier = np.float32(SX) * np.float32(SW) / np.float32(0.05)
    expected = np.clip(np.rint(total.astype(np.float32) * multiplier) + 128, 0, 255)
    real = ((q - 120.0) * np.float32(SX)).astype(np.float32)
    assert largest_error(program, Setting("fbgemm"), real, expected) == 0


@pytest.mark.parametrize("stride", [1, 2])
def test_b1_depthwise_3x3_is_exact_as_groups_of_four(stride: int, qdq: Any, rng: Any) -> None:
    program, real, expected = case(
        qdq, rng, "Conv", (1, 48, 12, 12), (48, 1, 3, 3),
        lambda x, w: functional.conv2d(x, w, None, stride, 1, 1, 48),
        0.1, group=48, pads=[1] * 4, strides=[stride] * 2,
    )  # fmt: skip
    assert lower(program.model, Setting("fbgemm")).kernels.missed == {}
    assert largest_error(program, Setting("fbgemm"), real, expected) == 0
    assert largest_error(program, Setting("fbgemm", vnni=False), real, expected) == 0


PADS = [[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 2, 1], [2, 2, 2, 2]]


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pads", PADS, ids=str)
def test_depthwise_with_any_padding_is_exact(
    size: int, stride: int, pads: list[int], qdq: Any, rng: Any
) -> None:
    """fbgemm's fast kernels want (k - 1) / 2 on all sides; the result is cut to what was meant."""
    w = rng.integers(-63, 64, (16, 1, size, size)).astype(np.int8)
    for length in (12, 13):
        q = rng.integers(0, 256, (2, 16, length, length)).astype(np.uint8)
        g = qdq()
        x = g.pair(g.input(q.shape), SX, ZX)
        attributes: Any = {"group": 16, "pads": pads, "strides": [stride] * 2}
        y = g.node("Conv", x, g.weight(w, np.float32(SW)), **attributes)
        program = g.program(g.quantize(y, 0.1, 128), dtype=2)
        padded = functional.pad(torch.from_numpy(q - 120.0), (pads[1], pads[3], pads[0], pads[2]))
        taps = torch.from_numpy(w.astype(np.float64))
        total = functional.conv2d(padded, taps, None, stride, 0, 1, 16).numpy()
        multiplier = np.float32(SX) * np.float32(SW) / np.float32(0.1)
        expected = np.clip(np.rint(total.astype(np.float32) * multiplier) + 128, 0, 255)
        real = ((q - 120.0) * np.float32(SX)).astype(np.float32)
        assert lower(program.model, Setting("fbgemm")).kernels.missed == {}
        assert largest_error(program, Setting("fbgemm"), real, expected) == 0


def test_b5_dynamic_convolutions_cannot_be_emitted() -> None:
    assert not adapter.has_op("conv2d_dynamic")
    kernel = torch.ops.quantized.conv2d_dynamic.default
    with adapter.engine_scope("fbgemm"):
        window = adapter.Window.plain(2)
        packed = adapter.pack_conv(
            np.full((4, 8, 1, 1), 127, np.int8), np.float32(0.01), np.int64(0), None, window
        )
        got = kernel(torch.ones(1, 8, 3, 3), packed)
    true = 8 * 127 * 0.01
    assert abs(float(got.max()) - true) / true > 0.05, "torch has repaired B5"


def shared_pack_error(engine: str, first: Any, second: Any, share: bool) -> int:
    """Error of the second call, with the pack of the first or a fresh one."""
    rng = np.random.default_rng(3)
    w = rng.integers(-127, 128, (16, 8, 3, 3)).astype(np.int8)
    q = torch.from_numpy(rng.integers(0, 256, (1, 8, 9, 9)).astype(np.uint8))
    with adapter.engine_scope(engine):
        x = torch._make_per_tensor_quantized_tensor(q, SX, ZX)

        def pack() -> Any:
            window = adapter.Window.plain(2)
            return adapter.pack_conv(w, np.float32(SW), np.int64(0), None, window)

        packed = pack()
        for name, scale, zero in (first, second):
            y = adapter.op(name)(x, packed, scale, zero).int_repr().numpy()
            packed = packed if share else pack()
    total = functional.conv2d(q.double() - ZX, torch.from_numpy(w.astype(np.float64))).numpy()
    name, scale, zero = second
    exact = np.rint(
        total.astype(np.float32) * (np.float32(SX) * np.float32(SW) / np.float32(scale))
    )
    low = zero if "relu" in name else 0
    return int(np.abs(y - np.clip(exact + zero, low, 255)).max())


SHARED = [
    ("onednn", ("conv2d.new", 0.2, 100), ("conv2d_relu.new", 0.2, 100)),
    ("x86", ("conv2d.new", 0.2, 100), ("conv2d_relu.new", 0.2, 100)),
    ("qnnpack", ("conv2d.new", 0.2, 100), ("conv2d.new", 0.4, 100)),
]


@pytest.mark.parametrize(("engine", "first", "second"), SHARED, ids=["B6", "B6-x86", "B7"])
def test_shared_packs_are_wrong_and_fresh_ones_right(engine: str, first: Any, second: Any) -> None:
    assert shared_pack_error(engine, first, second, share=True) >= 2
    assert shared_pack_error(engine, first, second, share=False) <= 1


@pytest.mark.parametrize("engine", adapter.available_engines())
def test_one_weight_in_two_calls_gets_two_packs(engine: str, qdq: Any, rng: Any) -> None:
    g = qdq()
    x = g.pair(g.input([1, 8, 9, 9]), SX, ZX)
    w = g.weight(rng.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8), np.float32(SW))
    a = g.quantize(g.node("Conv", x, w), 0.2, 100)
    b = g.quantize(g.node("Relu", g.node("Conv", x, w)), 0.4, 100)
    lowered = lower(g.program(a, b, dtype=2).model, Setting(engine))
    held = [n.target for n in lowered.module.graph.nodes if n.op == "get_attr"]
    assert len(held) == len(set(held)) == 2
    first, second = (getattr(lowered.module, str(name)) for name in held)
    assert first is not second


def test_b9_saturation_is_predicted_from_the_weights() -> None:
    def at(*row: int, xmax: int = 255) -> bool:
        weight = np.array([row], np.int8)
        return faults.saturates(Site("linear", "fbgemm", weight, x_max=xmax, vnni=False))

    assert at(*[127] * 64)
    assert not at(*[63] * 64)
    assert not at(*[127] * 64, xmax=127)
    assert at(71, 107), "T2: 211*71 + 171*107 = 33278"
    assert not at(71, 57)
    assert not at(127, 0, 0, 127), "the pairs are (0, 1) and (2, 3)"
    assert not at(127, -127), "products of opposite signs cancel"


_EMULATED = """
import os, sys
os.environ["FBGEMM_ENABLE_INSTRUCTIONS"] = "AVX2"
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
import numpy as np, torch
from qcompiler.backends.torch_engines import adapter
assert not adapter.has_vnni()
w = np.full((4, 64), int(sys.argv[2]), np.int8)
with adapter.engine_scope(sys.argv[1]):
    x = torch._make_per_tensor_quantized_tensor(torch.full((1, 64), 255, dtype=torch.uint8), 1.0, 0)
    packed = adapter.pack_linear(w, np.float32(1), np.int64(0), None)
    y = adapter.op("linear")(x, packed, 255.0 * 64 * int(sys.argv[2]) / 250, 0)
print(int(y.int_repr()[0, 0]))
"""


@pytest.mark.parametrize("engine", ["fbgemm", "onednn"])
def test_b9_engines_saturate_without_vnni(engine: str) -> None:
    def level(weight: int) -> int:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _EMULATED, engine, str(weight)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(done.stdout)

    assert level(127) < 140, "about half of the true 250"
    assert level(63) == 250


def test_b10_reduce_range_is_never_passed(qdq: Any) -> None:
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    weight = np.random.default_rng(1).integers(-127, 128, (8, 16)).astype(np.int8)
    kernel = adapter.op("linear_dynamic")
    with adapter.engine_scope("qnnpack"):
        packed = [
            adapter.pack_linear(weight, np.array(0.01, np.float32), np.array(0), None) for _ in "ab"
        ]
        plain, reduced = kernel(x, packed[0]), kernel(x, packed[1], True)
    assert torch.equal(plain, reduced), "qnnpack ignores it"
    with adapter.engine_scope("fbgemm"):
        packed = [
            adapter.pack_linear(weight, np.array(0.01, np.float32), np.array(0), None) for _ in "ab"
        ]
        assert not torch.equal(kernel(x, packed[0]), kernel(x, packed[1], True))


def test_t11_per_channel_transposed_runs_in_float_where_it_does_not_exist(
    qdq: Any, rng: Any
) -> None:
    w = rng.integers(-127, 128, (6, 6, 3, 3)).astype(np.int8)
    for engine, exists in (("fbgemm", False), ("onednn", False), ("qnnpack", True)):
        g = qdq()
        weight = g.weight(w, np.linspace(0.01, 0.02, 6), axis=1)
        y = g.node("ConvTranspose", g.pair(g.input([1, 6, 5, 5]), SX, ZX), weight)
        lowered = lower(g.program(g.quantize(y, 0.5, 128), dtype=2).model, Setting(engine))
        assert bool(lowered.kernels.integer) == exists
        assert exists or "one scale per channel" in next(iter(lowered.kernels.missed.values()))


def test_b12_prelu_quantizes_a_one_like_its_slopes() -> None:
    """Positive elements come out scaled unless the slopes' scale can hold 1, so it is not used."""
    x = torch.quantize_per_tensor(torch.linspace(-2, 2, 64), 0.02, 128, torch.quint8)
    for scale, right in ((0.25 / 127, False), (1 / 127, True)):
        slope = torch.quantize_per_tensor(torch.tensor([0.25]), scale, 128, torch.quint8)
        got = torch.ops.quantized.prelu(x, slope, 0.02, 128).dequantize()
        expected = functional.prelu(x.dequantize(), slope.dequantize())
        assert (float((got - expected).abs().max()) <= 0.5 * 0.02 + 1e-6) is right
    assert not adapter.has_op("prelu")


@pytest.mark.parametrize("engine", adapter.available_engines())
def test_prelu_between_quantizations_is_right(engine: str, qdq: Any, rng: Any) -> None:
    g = qdq()
    stored = rng.integers(-127, 128, (4, 1, 1)).astype(np.int8)
    slope = g.weight(stored, np.float32(0.002))
    y = g.node("PRelu", g.pair(g.input([1, 4, 8, 8]), 0.02, 120), slope)
    lowered = lower(g.program(g.quantize(y, 0.02, 120), dtype=2).model, Setting(engine))
    q = rng.integers(0, 256, (1, 4, 8, 8))
    x = ((q - 120) * np.float32(0.02)).astype(np.float32)
    with adapter.engine_scope(engine), torch.no_grad():
        got = lowered.module(torch.from_numpy(x))[0].numpy()
    exact = np.where(q > 120, q - 120, (q - 120) * (stored * np.float32(0.002)))
    assert np.abs(got - np.clip(exact + 120, 0, 255)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("engine", adapter.available_engines())
def test_linear_without_rows_keeps_its_axes(engine: str, qdq: Any) -> None:
    """E4: oneDNN gives [0, columns] for an operand [0, 4, 5]."""
    g = qdq()
    x = g.pair(g.input(["n", 4, 5]), 0.1, 0)
    y = g.node("MatMul", x, g.weight(np.ones((5, 6), np.int8), np.float32(0.1)))
    lowered = lower(g.program(g.quantize(y, 0.1, 0), dtype=2).model, Setting(engine))
    for rows in (0, 2):
        with adapter.engine_scope(engine), torch.no_grad():
            (found,) = lowered.module(torch.ones(rows, 4, 5))
        assert tuple(found.shape) == (rows, 4, 6)
    assert len(lowered.kernels.integer) == 1


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 2, 4, 5)])
def test_c2_qnnpack_clamps_channels_last_data_where_it_lies(shape: Any, qdq: Any, rng: Any) -> None:
    """The kernel alone puts the numbers into other places."""
    last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    q = rng.integers(0, 256, shape).astype(np.uint8)
    real = torch.from_numpy((q.astype(np.float32) - ZX) * np.float32(SX)).contiguous(
        memory_format=last
    )
    expected = real.clamp(-0.5, 1.0)
    with adapter.engine_scope("qnnpack"), torch.no_grad():
        wrong = torch.clamp(torch.quantize_per_tensor(real, SX, ZX, torch.quint8), -0.5, 1.0)
        assert (wrong.dequantize() - expected).abs().max() > 0.5
        g = qdq()
        bounds = [g.constant(np.array(end, np.float32)) for end in (-0.5, 1.0)]
        y = g.node("Clip", g.pair(g.input(shape), SX, ZX), *bounds)
        program = g.program(g.pair(y, SX, ZX))
        found = lower(program.model, Setting("qnnpack")).module(real)[0]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)
