"""The four targets: what they offer per layer, per CPU; and programs compiled end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from qcompiler.backends.fbgemm import Fbgemm
from qcompiler.backends.onednn import Onednn
from qcompiler.backends.qnnpack import Qnnpack
from qcompiler.backends.torch_engines.artifact import TorchArtifact
from qcompiler.backends.torch_engines.engine import TorchEngine
from qcompiler.backends.torch_engines.kernels.table import KERNELS, MOVERS
from qcompiler.backends.x86 import X86
from qcompiler.compile import compile as compile_
from qcompiler.errors import ConfigurationError
from qcompiler.ir.regions import Region
from qcompiler.pipeline import registry
from qcompiler.quantization.qspace import Granularity
from qcompiler.target.capability import Kernel

TARGETS: list[type[TorchEngine]] = [Fbgemm, Qnnpack, Onednn, X86]


def region(qdq: Any, op: str, x: Any, w: Any, target: TorchEngine, **attributes: Any) -> Region:
    g = qdq()
    y = g.node(op, g.input(x), g.constant(np.asarray(w, np.float32)), **attributes)
    (found,) = target.regions(g.program(y))
    return found


def bits(target: TorchEngine, found: Region) -> int | None:
    """Weight bits of the int8 form, None when there is none."""
    form = target.implementation(found, "int8")
    return None if form is None or form.weight is None else form.weight.bits or 8


@pytest.mark.parametrize("target", TARGETS)
def test_is_registered_and_every_row_has_a_kernel(target: type[TorchEngine]) -> None:
    assert registry.find_target(target.name) is target
    for row in target(normalization=True).capabilities.rows:
        static = any(form.kernel is Kernel.STATIC for form in row.implementations)
        assert not static or row.pattern.anchor in {*KERNELS, *MOVERS}


def test_cpu_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="portable"):
        Fbgemm(cpu="arm")


def test_reduced_range_is_decided_per_layer(qdq: Any, rng: Any) -> None:
    """T2: only the layer whose weights can saturate gets 7 bits, and only without VNNI."""
    wide = rng.uniform(-1, 1, (32, 64))
    lonely = np.zeros((32, 64))
    lonely[:, ::2] = rng.uniform(-1, 1, (32, 32))
    for target in (Fbgemm, Onednn, X86):
        for cpu, expected in (("portable", 7), ("vnni", 8)):
            found = region(qdq, "Gemm", [4, 64], wide, target(cpu=cpu), transB=1)
            assert bits(target(cpu=cpu), found) == expected
        found = region(qdq, "Gemm", [4, 64], lonely, target(cpu="portable"), transB=1)
        assert bits(target(cpu="portable"), found) == 8
    found = region(qdq, "Gemm", [4, 64], wide, Qnnpack(cpu="portable"), transB=1)
    assert bits(Qnnpack(cpu="portable"), found) == 8


def test_depthwise_on_fbgemm(qdq: Any, rng: Any) -> None:
    """B1: 3x3 keeps 8 bits on the grouped kernel, 5x5 gets 7, on oneDNN both keep 8."""
    for size, expected in ((3, 8), (5, 7)):
        w = rng.uniform(-1, 1, (32, 1, size, size))
        attributes: Any = {"group": 32, "pads": [size // 2] * 4}
        found = region(qdq, "Conv", [1, 32, 9, 9], w, Fbgemm(), **attributes)
        assert bits(Fbgemm(cpu="vnni"), found) == expected
        assert bits(Onednn(cpu="vnni"), found) == 8


def test_transposed_convolutions(qdq: Any, rng: Any) -> None:
    """T11, B2-B4: per tensor where there is no per channel, float where the engine is wrong."""
    cases: list[tuple[TorchEngine, Any, bool]] = [
        (Fbgemm(cpu="vnni"), (16, 8, 4, 4), True),
        (Fbgemm(cpu="vnni"), (16, 8, 2, 2), False),
        (Onednn(cpu="vnni"), (16, 8, 4, 4), False),
        (Onednn(cpu="vnni"), (8, 8, 4, 4), True),
        (X86(cpu="vnni"), (16, 8, 4, 4), False),
        (Qnnpack(), (16, 8, 4, 4), True),
        (Qnnpack(), (8, 8, 2, 2, 2), False),
    ]
    for target, shape, legal in cases:
        size = [1, shape[0], *[5] * (len(shape) - 2)]
        found = region(qdq, "ConvTranspose", size, rng.uniform(-1, 1, shape), target)
        form = target.implementation(found, "int8")
        assert (form is not None) == legal, (target.name, shape)
        assert bool(target.objections(found)) != legal
        if form is not None and form.weight is not None:
            per_channel = form.weight.granularity is Granularity.CHANNEL
            assert per_channel == (target.name == "qnnpack")


class Network(nn.Module):
    """A small residual network with a nested calling convention."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.point = nn.Conv2d(16, 16, 1)
        self.up = nn.ConvTranspose2d(16, 16, 4, 2, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, image: torch.Tensor, *, bias: torch.Tensor) -> dict[str, Any]:
        x = self.stem(image)
        x = torch.relu(self.point(self.depthwise(x)) + x)
        return {"scores": self.head(x.mean((2, 3))) + bias, "maps": (self.up(x),)}


@pytest.fixture(scope="module")
def source() -> tuple[nn.Module, list[dict[str, torch.Tensor]]]:
    torch.manual_seed(0)
    feeds = [{"image": torch.randn(2, 3, 16, 16), "bias": torch.randn(10)} for _ in range(4)]
    return Network().eval(), feeds


@pytest.mark.parametrize("target", TARGETS)
def test_a_torch_module_end_to_end(target: type[TorchEngine], source: Any) -> None:
    module, feeds = source
    compiled = compile_(module, target(cpu="vnni"), feeds, scheme="int8")
    assert isinstance(compiled.artifact, TorchArtifact)
    code = compiled.artifact.module.code
    assert "torch.ops.quantized.conv2d" in code
    assert "stem_0" in code, "names follow module paths"
    fused = sum("conv2d_add" in name for name in compiled.kernels.ops)
    assert fused == (1 if target is Onednn else 0)
    assert not compiled.kernels.missed
    got = compiled(feeds[0]["image"], bias=feeds[0]["bias"])
    with torch.no_grad():
        expected = module(**feeds[0])
    assert set(got) == {"scores", "maps"}
    for ours, theirs in (
        (got["scores"], expected["scores"]),
        (got["maps"][0], expected["maps"][0]),
    ):
        noise = float(((torch.as_tensor(ours) - theirs) ** 2).sum() / (theirs**2).sum())
        assert noise < 0.01, "20 dB"
