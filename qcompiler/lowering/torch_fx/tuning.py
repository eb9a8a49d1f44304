"""A placed program as a module whose integers, scales and biases can be tuned.

Weights are trained in steps of their grids, with straight-through gradients, from the integers that
they have; scales as gains of what they multiply; biases by themselves. Grids of activations stay.
Nothing else of the program is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import Tensor, nn

from qcompiler.decisions.placement import Placement
from qcompiler.decisions.roundings import Rounding
from qcompiler.ir.program import Program
from qcompiler.lowering.torch_fx.checks import check_ops
from qcompiler.lowering.torch_fx.constants import Array
from qcompiler.lowering.torch_fx.fake_quantize import spread
from qcompiler.lowering.torch_fx.lowering import lower_graph
from qcompiler.lowering.torch_fx.trainable import Grids, Reading, Shared, Trainable
from qcompiler.quantization.numerics import expand
from qcompiler.target.capability import Kernel

_NEAR = 0.45
"""Steps from its integer within which a weight starts, on the side of the exact weight."""
_GAINS = 0.5, 2.0
"""Gains that a scale may come to."""


class TunedWeight(nn.Module):
    """A weight that is integers, which move with what is trained.

    Args:
        exact: float32 weight.
        rounding: An even integer grid, and the integers it starts from.
        scales: Whether scales are trained, too.
    """

    scale: Tensor
    zero: Tensor

    def __init__(self, exact: Array, rounding: Rounding, scales: bool = True) -> None:
        super().__init__()
        params = rounding.params
        self._params, self._scales = params, scales
        integers = rounding.integers.astype(np.float32)
        zero = np.asarray(expand(params.zero_point, exact.shape, params), np.float32)
        wanted = np.asarray(exact, np.float32) / expand(params.scale, exact.shape, params) + zero
        start = np.clip(wanted, integers - _NEAR, integers + _NEAR)
        self.steps = nn.Parameter(torch.from_numpy(np.array(start, np.float32, order="C")))
        self.gain = nn.Parameter(torch.ones(params.scale.shape))
        self.register_buffer("scale", torch.from_numpy(np.array(params.scale)))
        self.register_buffer("zero", torch.from_numpy(np.array(params.zero_point, np.float32)))

    def forward(self) -> Tensor:
        """float32 weight, on its grid."""
        low, high = float(self._params.space.qmin), float(self._params.space.qmax)
        inside = self.steps.clamp(low, high)
        integers = inside + (inside.detach().round() - inside.detach())
        zero = spread(self.zero, self._params, integers)
        return (integers - zero) * spread(self.scale * self._gain(), self._params, integers)

    def trained(self) -> list[nn.Parameter]:
        """Its parameters, integers first."""
        return [self.steps, self.gain] if self._scales else [self.steps]

    def rounding(self, how: str) -> Rounding:
        """What it came to."""
        space, kind = self._params.space, self._params.space.dtype.numpy()
        with torch.no_grad():
            integers = self.steps.clamp(float(space.qmin), float(space.qmax)).round().numpy()
            scale = (self.scale * self._gain()).numpy()
        params = replace(self._params, scale=np.array(scale, np.float32))
        return Rounding(params, integers.astype(np.int64).astype(kind), how)

    def _gain(self) -> Tensor:
        return self.gain.clamp(*_GAINS)


class TunedBias(nn.Module):
    """A bias that is trained.

    Args:
        start: float32, of any shape.
        unit: What an update is a part of.
    """

    start: Tensor

    def __init__(self, start: Array, unit: float) -> None:
        super().__init__()
        self._unit = unit
        self.register_buffer("start", torch.from_numpy(np.array(start, np.float32)))
        self.moved = nn.Parameter(torch.zeros_like(self.start))

    def forward(self) -> Tensor:
        """float32 bias."""
        return self.start + self._unit * self.moved

    def trained(self) -> list[nn.Parameter]:
        """Its parameters."""
        return [self.moved]

    def value(self) -> npt.NDArray[np.float32]:
        """What it came to."""
        with torch.no_grad():
            found: npt.NDArray[np.float32] = self().numpy()
        return found


def float_module(program: Program, looks: Sequence[ir.Value]) -> nn.Module:
    """The program in float. Arguments and what it gives as for `tuned_module`.

    Raises:
        LoweringError: Ops that torch has no row for.
    """
    check_ops(program.model)
    view = _view(program, looks)
    return lower_graph(view, lambda graph: Trainable(Shared(Grids()))).built.requires_grad_(False)


def tuned_module(
    program: Program,
    placement: Placement,
    operands: Mapping[Reading, TunedWeight | TunedBias],
    looks: Sequence[ir.Value] = (),
) -> nn.Module:
    """The program as it is placed, with some operands tuned.

    Forms without a fixed grid (scales of each call, recurrent layers) compute in float.

    Args:
        program: A float program.
        placement: What was decided about it.
        operands: By their readers; readers of one weight share it.
        looks: Values of the main graph that are given behind the outputs.

    Returns:
        A module that takes the program's inputs in order and gives a tuple of its outputs. Only the
        operands have gradients.

    Raises:
        LoweringError: Ops that torch has no row for.
    """
    check_ops(program.model)
    fixed = {
        key: region
        for key, region in placement.regions.items()
        if region.form.kernel is not Kernel.DYNAMIC
        and (region.weight is None or region.form.weight is None or region.rounding is not None)
    }
    given: Mapping[Any, nn.Module] = dict(operands)
    shared = Shared(Grids.of(replace(placement, regions=fixed)), given)
    module = lower_graph(_view(program, looks), lambda graph: Trainable(shared)).built
    module.requires_grad_(False)
    for each in set(operands.values()):
        for parameter in each.trained():
            parameter.requires_grad_(True)
    return module


def _view(program: Program, looks: Sequence[ir.Value]) -> ir.GraphView:
    graph = program.graph
    outputs = [*graph.outputs, *looks]
    return ir.GraphView(graph.inputs, outputs, nodes=list(graph), name=graph.name)
