"""What a trained module compiles to: its own integers and scales, on every kind of target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qcompiler as qc
from qcompiler.decisions.absorbed import TRAINED
from qcompiler.lowering.qat.module import QatModule
from qcompiler.lowering.qat.trained import trained_program

Train = Callable[[QatModule, list[Tensor]], QatModule]


@pytest.fixture
def trained() -> Train:
    """Some steps of Adam, far enough to move every scale, then evaluation."""

    def train(module: QatModule, images: list[Tensor]) -> QatModule:
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        for step in range(8):
            optimizer.zero_grad()
            (module(images[step % len(images)]) - 1).square().mean().backward()
            optimizer.step()
        return module.eval()

    return train


def _steps(module: QatModule, compiled: Any, image: Tensor) -> Any:
    """How far apart outputs are, in steps of the last grid that the module goes through."""
    with torch.no_grad():
        ours = module(image).numpy()
    theirs = compiled(image).numpy()
    scale = list(module.quantizers())[-1][1].scale
    return np.abs(ours - theirs) / scale.detach().max().item()


@pytest.mark.parametrize("target", ["onnxruntime", "fbgemm", "onednn", "tensorrt"])
def test_compiled_is_fake_quantized(
    target: str, small_net: nn.Module, images: list[Tensor], trained: Train
) -> None:
    module = trained(qc.prepare_qat(small_net, target, images), images)
    compiled = qc.compile(module, target, example_inputs=(images[0],))
    assert compiled.plan.precisions == module.record.plan.precisions
    steps = np.concatenate([_steps(module, compiled, each).ravel() for each in images])
    # A tie of an inner value may be one step, and that may be one of an output.
    assert steps.max() < 2.0
    assert np.mean(steps > 0.5) < 0.02
    with torch.no_grad():
        moved = module(images[0]).numpy() - small_net(images[0]).numpy()
    assert np.abs(moved).max() > 0.2  # it has learned something, and that is compiled


def test_the_comparison_sees_a_scale_that_is_not_taken(
    prepared: QatModule, images: list[Tensor], trained: Train
) -> None:
    module = trained(prepared, images)
    compiled = qc.compile(module, example_inputs=(images[0],))
    with torch.no_grad():
        for _, each in module.quantizers():
            each.step.mul_(1.2)
    assert _steps(module, compiled, images[0]).max() > 2.0


def test_integers_are_those_of_the_module(
    prepared: QatModule, images: list[Tensor], trained: Train
) -> None:
    module = trained(prepared, images)
    compiled = qc.compile(module, example_inputs=(images[0],))
    placement = compiled.program.placement
    assert placement is not None
    regions = [each for each in placement.regions.values() if each.rounding is not None]
    assert regions
    assert {each.rounding.how for each in regions if each.rounding} == {TRAINED}
    grids = dict(module.quantizers())
    for name, path in module.record.values.items():
        assert placement.params(name).same_as(grids[path].present()), name


def test_no_calibration_is_needed_and_none_changes_it(
    prepared: QatModule, images: list[Tensor], trained: Train
) -> None:
    module = trained(prepared, images)
    without = qc.compile(module, example_inputs=(images[0],), recipe="fast")
    using = qc.compile(module, calibration=[each * 3 for each in images], recipe="fast")
    assert torch.equal(without(images[0]), using(images[0]))


def test_another_target_takes_the_same_scales(
    prepared: QatModule, images: list[Tensor], trained: Train
) -> None:
    module = trained(prepared, images)
    compiled = qc.compile(module, "fbgemm", example_inputs=(images[0],))
    assert set(compiled.plan.precisions.values()) - {"float32"}
    assert np.mean(_steps(module, compiled, images[0])) < 1.0


@pytest.mark.parametrize("scheme", ["int8-weights", "int4-weights", "int2-weights", "fp8-weights"])
def test_stored_weights_keep_their_grids(
    scheme: str, small_net: nn.Module, images: list[Tensor], trained: Train
) -> None:
    module = trained(qc.prepare_qat(small_net, calibration=images, scheme=scheme), images)
    compiled = qc.compile(module, example_inputs=(images[0],))
    with torch.no_grad():
        ours = module(images[0]).numpy()
    np.testing.assert_allclose(compiled(images[0]).numpy(), ours, rtol=2e-2, atol=2e-2)
    with torch.no_grad():
        for _, each in module.quantizers():
            each.step.mul_(1.5)
        other = module(images[0]).numpy()
    assert np.abs(other - ours).max() > 0.05 or scheme == "int8-weights"


def test_values_that_only_move_stay_on_one_grid(images: list[Tensor], trained: Train) -> None:
    """ExecuTorch's table has no Flatten: the values before and behind it are two of its own."""
    pytest.importorskip("executorch")
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    module = trained(qc.prepare_qat(net, "executorch", images), images)
    assert len(set(module.record.values.values())) == len(module.record.values) - 1
    compiled = qc.compile(module, "executorch", example_inputs=(images[0],))
    assert _steps(module, compiled, images[0]).max() < 2.0


def test_constants_keep_their_shapes(images: list[Tensor]) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 8)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = torch.sqrt(torch.abs(self.layer(x.flatten(1))) + 0.37) * 1.7
            return found

    module = qc.prepare_qat(Scaled(), calibration=images).eval()
    kept, held = (
        {name: each.const_value.shape for name, each in program.graph.initializers.items()
         if each.const_value is not None}
        for program in (module.record.program, trained_program(module))
    )  # fmt: skip
    assert kept == held
    assert [] in [list(shape) for shape in held.values()]
    assert np.mean(_steps(module, qc.compile(module), images[0])) < 0.1


def test_readers_of_one_weight_may_have_grids_of_their_own(images: list[Tensor]) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(64, 64) / 8)

        def forward(self, x: Tensor) -> Tensor:
            first = torch.abs(x.flatten(1) @ self.matrix)
            return first @ self.matrix

    module = qc.prepare_qat(Shared(), calibration=images).eval()
    program = trained_program(module)
    held = [value for value in program.graph.initializers.values() if value.shape == (64, 64)]
    grids = {read.quantizer for read in module.record.stored.values()}
    assert len(held) == len(grids)
    compiled = qc.compile(module, example_inputs=(images[0],))
    assert np.mean(_steps(module, compiled, images[0]) > 0.5) < 0.02


@pytest.mark.parametrize(
    "scheme", ["codebook3-weights-per-channel", "codebook4-weights", "log2x2-weights"]
)
def test_levels_are_trained_and_stored(
    scheme: str, small_net: nn.Module, images: list[Tensor], trained: Train
) -> None:
    """The compiled network looks up what the module computes with: the same floats."""
    module = trained(qc.prepare_qat(small_net, calibration=images, scheme=scheme), images)
    compiled = qc.compile(module, example_inputs=(images[0],))
    assert compiled.plan.precisions == module.record.plan.precisions
    assert scheme in compiled.plan.precisions.values()
    with torch.no_grad():
        wanted = module(images[0]).numpy()
    found = compiled(images[0]).numpy()
    # float32 sums in another order: a millionth of outputs of about 1.
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    placement = compiled.program.placement
    assert placement is not None
    hows = {each.rounding.how for each in placement.regions.values() if each.rounding is not None}
    assert hows == {"trained"}
