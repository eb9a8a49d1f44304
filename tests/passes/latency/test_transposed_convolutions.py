"""ConvTranspose as Conv and DepthToSpace: what comes out, over sizes, pads, groups and axes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from qcompiler.passes.latency.transposed_convolutions import ConvolveTransposed

Rewrite = Callable[..., Any]


def net(
    shape: tuple[int, ...], weight: np.ndarray, attributes: str, bias: bool = True
) -> tuple[str, dict[str, np.ndarray]]:
    """A ConvTranspose and a Relu behind it, so that the rewritten value is an inner one."""
    dims = ",".join(map(str, shape))
    stored = {"w": weight}
    groups = int(attributes.partition("group = ")[2][:1] or 1)
    if bias:
        stored["b"] = np.arange(weight.shape[1] * groups, dtype=np.float32)
    declared = ", ".join(f"float[{','.join(map(str, v.shape))}] {n}" for n, v in stored.items())
    out = "N," + ",".join("C" + str(i) for i in range(len(shape) - 1))
    operands = "x, w, b" if bias else "x, w"
    text = f"""g (float[{dims}] x) => (float[{out}] y) <{declared}> {{
        t = ConvTranspose<{attributes}>({operands})
        y = Relu(t)
    }}"""
    return text, stored


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


SIZES = [
    (kernel, stride, pad, extra)
    for kernel, stride, pad in product((1, 2, 3, 4, 5), (2, 3), (0, 1, 2))
    for extra in (0, 1)
    if 2 * pad < kernel + stride and extra < stride
]


@pytest.mark.parametrize(("kernel", "stride", "pad", "extra"), SIZES)
def test_every_size_in_two_axes(
    kernel: int, stride: int, pad: int, extra: int, rewrite: Rewrite
) -> None:
    attributes = (
        f"strides = [{stride},{stride}], pads = [{pad},{pad},{pad},{pad}], "
        f"output_padding = [{extra},{extra}]"
    )
    text, stored = net((2, 3, 4, 5), weights(3, 2, kernel, kernel), attributes)
    found = rewrite(text, ConvolveTransposed(), weights=stored)
    taps = -(-kernel // stride)
    tail = stride * taps - kernel + pad - extra  # what the result lacks of the interleaved phases
    possible = 0 <= tail < stride * taps and pad < stride * taps
    assert ("ConvTranspose" not in found.ops) == possible
    if possible:
        assert found.ops[:2] == ("Conv", "DepthToSpace")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"), [(4, 2, "1,1"), (16, 8, "4,4"), (3, 3, "0,1")]
)
def test_one_axis(
    kernel: int, stride: int, pads: str, groups: int, bias: bool, rewrite: Rewrite
) -> None:
    attributes = f"strides = [{stride}], pads = [{pads}], group = {groups}"
    text, stored = net((2, 4, 6), weights(4, 3, kernel), attributes, bias)
    found = rewrite(text, ConvolveTransposed(), weights=stored)
    assert found.ops[:4] == ("Conv", "Reshape", "Transpose", "Reshape")


@pytest.mark.parametrize("kernel", ["2,2", "3,4", "4,2"])
def test_groups_and_kernels_that_differ_by_axis(kernel: str, rewrite: Rewrite) -> None:
    sizes = [int(each) for each in kernel.split(",")]
    text, stored = net((1, 4, 3, 5), weights(4, 3, *sizes), "strides = [2,2], group = 2")
    assert "ConvTranspose" not in rewrite(text, ConvolveTransposed(), weights=stored).ops


def test_the_upsampler_of_a_segmentation_net_is_two_nodes(rewrite: Rewrite) -> None:
    text, stored = net((1, 8, 5, 7), weights(8, 4, 2, 2), "strides = [2,2]")
    found = rewrite(text, ConvolveTransposed(), weights=stored)
    assert found.ops == ("Conv", "DepthToSpace", "Relu")
    shape = {v.name: v.shape for v in found.program.graph.initializers.values()}
    assert [list(each or ()) for name, each in shape.items() if name.endswith("phases")] == [
        [16, 8, 1, 1]
    ]


@pytest.mark.parametrize(
    "attributes",
    [
        "strides = [2,2], dilations = [2,2]",
        "strides = [1,1]",
        "strides = [2,3]",
        'strides = [2,2], auto_pad = "SAME_UPPER"',
        "strides = [2,2], output_shape = [9,9]",
    ],
)
def test_what_it_does_not_take_stays(attributes: str, rewrite: Rewrite) -> None:
    text, stored = net((1, 3, 4, 4), weights(3, 2, 3, 3), attributes)
    assert "ConvTranspose" in rewrite(text, ConvolveTransposed(), weights=stored).ops


def test_a_weight_that_is_computed_stays(rewrite: Rewrite) -> None:
    text = """g (float[1,3,4,4] x, float[3,2,2,2] w) => (float[N,C,H,W] y) {
        t = ConvTranspose<strides = [2,2]>(x, w)
        y = Relu(t)
    }"""
    assert rewrite(text, ConvolveTransposed()).ops == ("ConvTranspose", "Relu")
