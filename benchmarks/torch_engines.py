"""Ours beside torch.ao FX graph mode on torch's quantized engines: latency and SQNR in one run.

    python -m benchmarks.torch_engines --engines fbgemm onednn --rounds 15

Hand-written ResNet-18, ResNet-50, MobileNetV2 and a 2-layer encoder with random weights. Rounds are
interleaved (float, FX, ours, float, ...), figures are medians of the rounds' ratios. This is the
only file of the project that loads torch.ao; it does so by name, since torch will drop it.
"""

from __future__ import annotations

import argparse
import importlib
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks import resnet50
from qcompiler.backends.torch_engines.adapter import engine_scope
from qcompiler.backends.torch_engines.artifact import TorchArtifact
from qcompiler.backends.torch_engines.engine import TorchEngine
from qcompiler.compile import compile as compile_
from qcompiler.execution.timing import Latency, compare_latency
from qcompiler.pipeline.registry import find_target

Run = Callable[[Tensor], Tensor]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2015)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.skip = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        z: Tensor = self.relu2(self.bn2(self.conv2(y)) + self.skip(x))
        return z


def resnet18() -> nn.Module:
    """ResNet-18 for 224 x 224 images."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)]
    layers += [nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        layers += [BasicBlock(inputs, width, 2 if stage else 1), BasicBlock(width, width, 1)]
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


class Inverted(nn.Module):
    """Inverted residual with linear bottleneck (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, factor: int) -> None:
        super().__init__()
        hidden = inputs * factor
        layers: list[nn.Module] = []
        if factor != 1:
            layers += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()]
        layers += [nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)]
        layers += [nn.BatchNorm2d(hidden), nn.ReLU6()]
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def mobilenet_v2() -> nn.Module:
    """MobileNetV2 for 224 x 224 images."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)]
    layers += [nn.ReLU6()]
    inputs = 32
    for factor, width, count, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for index in range(count):
            layers.append(Inverted(inputs, width, first if index == 0 else 1, factor))
            inputs = width
    layers += [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


class EncoderLayer(nn.Module):
    """Post-norm transformer encoder layer with 6 heads."""

    def __init__(self, width: int = 384) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gelu = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).reshape(-1, 128, 6, 64).permute(0, 2, 1, 3)
            for layer in (self.query, self.key, self.value)
        )
        weights = torch.softmax(torch.matmul(q, k.permute(0, 1, 3, 2)) * 0.125, dim=-1)
        mixed = torch.matmul(weights, v).permute(0, 2, 1, 3).reshape(-1, 128, 384)
        x = self.norm1(x + self.out(mixed))
        y: Tensor = self.norm2(x + self.down(self.gelu(self.up(x))))
        return y


def encoder() -> nn.Module:
    """Two layers, 128 tokens of width 384."""
    return nn.Sequential(EncoderLayer(), EncoderLayer())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18": (resnet18, (1, 3, 224, 224)),
    "resnet50": (resnet50, (1, 3, 224, 224)),
    "mobilenet_v2": (mobilenet_v2, (1, 3, 224, 224)),
    "encoder": (encoder, (1, 128, 384)),
}


def settle(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Gives BatchNorm the statistics of random data, so that activations have sane ranges."""
    module.train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(4, *shape[1:]))
    return module.eval()


def fx_graph_mode(module: nn.Module, feeds: list[Tensor], engine: str) -> Run:
    """prepare_fx and convert_fx with the engine's default settings."""
    import copy

    fx: Any = importlib.import_module("torch.ao.quantization.quantize_fx")
    configs: Any = importlib.import_module("torch.ao.quantization")
    backends: Any = importlib.import_module("torch.ao.quantization.backend_config")
    with engine_scope(engine), torch.no_grad():
        mapping = configs.get_default_qconfig_mapping(engine)
        config = (
            backends.get_onednn_backend_config()
            if engine == "onednn"
            else backends.get_native_backend_config()
        )
        prepared = fx.prepare_fx(copy.deepcopy(module), mapping, (feeds[0],), backend_config=config)
        for feed in feeds:
            prepared(feed)
        converted: Run = fx.convert_fx(prepared, backend_config=config)
    return converted


def ours(module: nn.Module, feeds: list[Tensor], target: TorchEngine, scheme: str) -> Run:
    """The compiled GraphModule."""
    compiled = compile_(module, target, feeds, scheme=scheme)
    assert isinstance(compiled.artifact, TorchArtifact)
    graph = compiled.artifact.module
    return lambda x: torch.as_tensor(graph(x)[0])


def interleaved(runs: dict[str, Run], x: Tensor, engine: str, rounds: int) -> dict[str, Latency]:
    """Times relative to ours."""
    with torch.inference_mode(), engine_scope(engine):
        calls = {name: partial(run, x) for name, run in runs.items()}
        return compare_latency(calls, 0.0, rounds, baseline="ours")


def sqnr(run: Run, reference: Run, feeds: list[Tensor], engine: str) -> float:
    """10 log10(signal / noise) of the outputs against float, in dB."""
    signal = noise = 0.0
    with torch.inference_mode(), engine_scope(engine):
        for feed in feeds:
            expected = reference(feed)
            signal += float((expected**2).sum())
            noise += float(((run(feed) - expected) ** 2).sum())
    return float(10 * torch.log10(torch.tensor(signal / max(noise, 1e-30))))


def main() -> None:
    """One line per network and engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--engines", nargs="+", default=["fbgemm", "onednn", "x86", "qnnpack"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scheme", default="int8")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(asked.threads)
    print("network       engine   fx/ours  float/ours  float/fx   SQNR ours  SQNR fx")
    for name in asked.networks:
        make, shape = NETWORKS[name]
        torch.manual_seed(0)
        module = settle(make(), shape)
        feeds, fresh = ([torch.randn(shape) for _ in range(8)] for _ in range(2))
        for engine in asked.engines:
            target = find_target(engine)()
            assert isinstance(target, TorchEngine)
            runs: dict[str, Run] = {
                "float": module,
                "fx": fx_graph_mode(module, feeds, engine),
                "ours": ours(module, feeds, target, asked.scheme),
            }
            times = interleaved(runs, fresh[0], engine, asked.rounds)
            fx, plain = times["fx"].ratio, times["float"].ratio
            dbs = [sqnr(runs[kind], runs["float"], fresh, engine) for kind in ("ours", "fx")]
            print(
                f"{name:13s} {engine:8s} {fx:7.2f} {plain:10.2f}"
                f" {plain / fx:10.2f} {dbs[0]:10.1f} {dbs[1]:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
