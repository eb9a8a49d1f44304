"""`distill`: integers, scales and biases tuned together, against what the float network gives.

Fine-tuning without labels (Hinton et al. 2015, arXiv 1503.02531; over all that a placed program can
change, Finkelstein et al. 2022, arXiv 2212.02634): weights move in steps of their grids with
straight-through gradients, scales of weights and biases by small parts. Grids of activations stay.
A quarter of the samples is held back and tells which state is kept, the one before among them.
Memory holds the program twice and what one sample needs for its gradient.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.decisions.absorbed import SOURCE, TRAINED
from qcompiler.decisions.binding import Placed, bound_regions, decided
from qcompiler.decisions.placement import RegionPlacement
from qcompiler.decisions.rerounding import can_reround, with_rounding
from qcompiler.errors import ConfigurationError
from qcompiler.ir.blocks import find_blocks
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import stored_array, uses
from qcompiler.passes.accuracy.torch_needed import require_torch
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.quantization.biases import BIAS_LIMIT
from qcompiler.target.capability import Kernel

if TYPE_CHECKING:
    from qcompiler.lowering.torch_fx.tuning import TunedBias, TunedWeight

Array = npt.NDArray[Any]
_IN_TORCH, _FORTH_AND_BACK = 3.0, 3.0
"""How much longer a run with every grid in it takes in torch than a float run on the engine, and an
update than a run."""
_BLOCK = 3
"""Weights between two values inside that are compared."""


@dataclass(frozen=True)
class Distill(Pass):
    """Static and weight-only regions, tuned end to end on `context.samples`.

    Needs torch. The result is the same in each run, unless `seconds` ends it.

    Attributes:
        steps: Updates.
        batch: Samples of one update.
        rate: Step size for weights, in steps of their grids.
        gain_rate: The same for scales, as a share of them, and for biases.
        blended: Share of the samples that are blends of two (arXiv 1710.09412), where inputs are
            floating-point numbers: the float network tells what is right for those, too.
        seconds: The tuning ends within this.
        seed: Of the order of samples.

    Raises:
        ConfigurationError: An option out of range.
    """

    name: ClassVar[str] = "distill"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})
    stage: ClassVar[Stage] = Stage.PLACED

    steps: int = 150
    batch: int = 4
    rate: float = 0.002
    gain_rate: float = 0.0004
    blended: float = 0.0
    seconds: float = 240.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or not (
            min(self.rate, self.gain_rate) > 0 and 0 <= self.blended <= 1
        ):
            raise ConfigurationError(
                f"steps {self.steps}, batch {self.batch}, rate {self.rate}, "
                f"gain_rate {self.gain_rate}, blended {self.blended} tune nothing",
                fix="give steps and batch of at least 1, positive rates, and blended from 0 to 1",
            )

    def price(self, samples: int) -> str:
        return (
            f"{self.steps} updates of all weights with {self.batch} of {samples} samples, "
            f"at most {self.seconds:g} s"
        )

    def runs(self, samples: int, program: Program | None) -> float:
        updates = _FORTH_AND_BACK * self.steps * self.batch
        return _IN_TORCH * (updates + 4.0 * samples)

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        found = _weights(program) if context.samples else []
        if not found:
            return Outcome(details={"weights": 0})
        require_torch(self.name)
        from qcompiler.lowering.torch_fx.block_run import inputs_of
        from qcompiler.lowering.torch_fx.tuning import float_module, tuned_module
        from qcompiler.lowering.torch_fx.tuning_fit import Pupil, TuningFit, tune

        deadline = time.monotonic() + self.seconds
        tuned = [_tuned(each) for each in found]
        operands = {place: part for each in tuned for place, part in each.operands.items()}
        samples = [tuple(inputs_of(program, feed).values()) for feed in context.samples]
        looks = _looks(program)
        pupil = Pupil(
            tuned_module(program, decided(program), operands, looks),
            float_module(program, looks),
            list(dict.fromkeys(operands.values())),
            sum(_is_float(each) for each in program.graph.outputs),
        )
        fit = TuningFit(
            self.steps,
            self.batch,
            self.rate,
            self.gain_rate,
            self.seed,
            self.blended,
            deadline=deadline,
        )
        before, after = tune(pupil, samples, fit)
        if after < before:
            changed = {key: region for each in tuned for key, region in each.regions().items()}
            program.placement = decided(program).with_regions(changed)
        return Outcome(details={"weights": len(tuned), "before": before, "after": after})


def _looks(program: Program) -> list[ir.Value]:
    """Floating-point values at the ends of blocks."""
    placed = [each for kernel in Kernel for each in bound_regions(program, kernel)]
    anchors = {each.region.anchor for each in placed if each.region.weight is not None}
    blocks = find_blocks(program, anchors, _BLOCK, [each.region.nodes for each in placed])
    ends = {value: None for block in blocks for value in block.outputs}
    return [each for each in ends if _is_float(each) and each not in program.graph.outputs]


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()


@dataclass(frozen=True, eq=False)
class _Tuned:
    """A weight that is trained, with the biases of its readers.

    Attributes:
        placed: Its readers.
        weight: What is trained of it.
        biases: What is trained of theirs, by region key.
    """

    placed: Sequence[Placed]
    weight: TunedWeight
    biases: Mapping[str, TunedBias]

    @property
    def operands(self) -> dict[tuple[str, int], TunedWeight | TunedBias]:
        """Modules by the operands that they stand for."""
        found: dict[tuple[str, int], TunedWeight | TunedBias] = {}
        for each in self.placed:
            weight, bias = each.decided.weight, each.decided.bias
            assert weight is not None
            found[weight.node, weight.index] = self.weight
            if bias is not None and each.decided.key in self.biases:
                found[bias.node, bias.index] = self.biases[each.decided.key]
        return found

    def regions(self) -> dict[str, RegionPlacement]:
        """The readers as they are tuned."""
        rounding = self.weight.rounding(Distill.name)
        found = {}
        for each in self.placed:
            region = with_rounding(each.decided, rounding)
            bias = self.biases.get(region.key)
            found[region.key] = region if bias is None else _with_bias(region, bias.value())
        return found


def _weights(program: Program) -> list[list[Placed]]:
    """Readers of every weight that may be tuned: nobody else reads it."""
    readers: dict[tuple[ir.Value, object], list[Placed]] = {}
    for kernel in (Kernel.STATIC, Kernel.WEIGHT_ONLY):
        for each in bound_regions(program, kernel):
            rounding, weight = each.decided.rounding, each.region.weight
            if rounding is not None and weight is not None:
                readers.setdefault((weight.value, rounding.key), []).append(each)
    return [placed for placed in readers.values() if _is_free(placed)]


def _is_free(placed: Sequence[Placed]) -> bool:
    rounding, weight = placed[0].decided.rounding, placed[0].region.weight
    assert rounding is not None
    assert weight is not None
    space = rounding.params.space
    if rounding.how in (SOURCE, TRAINED) or space.is_float or space.is_table:
        return False  # chosen by whoever made the model; or the next level is no step away
    return stored_array(weight.value) is not None and len(uses(weight.value)) == len(placed)


def _tuned(placed: Sequence[Placed]) -> _Tuned:
    from qcompiler.lowering.torch_fx.tuning import TunedWeight

    rounding, weight = placed[0].decided.rounding, placed[0].region.weight
    assert rounding is not None
    assert weight is not None
    exact = stored_array(weight.value)
    assert exact is not None
    scales = all(can_reround(each.decided) for each in placed)
    trained = TunedWeight(np.asarray(exact, np.float32), rounding, scales)
    biases = {each.decided.key: _bias(each, exact) for each in placed}
    return _Tuned(placed, trained, {key: bias for key, bias in biases.items() if bias is not None})


def _bias(placed: Placed, weight: Array) -> TunedBias | None:
    """The bias as it is now; an update is a part of its size, or of a sum of weights."""
    from qcompiler.lowering.torch_fx.tuning import TunedBias

    region, bias = placed.decided, placed.region.bias
    if bias is None:
        return None
    stored = stored_array(bias.value)
    if stored is None:
        return None
    value, integers = np.asarray(stored, np.float32), region.bias_rounding
    if integers is not None:
        value = (integers.integers * integers.scale.astype(np.float64)).astype(np.float32)
    elif region.bias_value is not None:
        value = region.bias_value
    outputs = max(1, value.size)
    unit = float(np.abs(value).mean() + np.sqrt(np.square(weight).sum() / outputs))
    return TunedBias(value.reshape(stored.shape), unit)


def _with_bias(region: RegionPlacement, value: npt.NDArray[np.float32]) -> RegionPlacement:
    bias = region.bias_rounding
    if bias is None:
        return replace(region, bias_value=value)
    steps = np.rint(value.astype(np.float64) / bias.scale)
    integers = np.clip(steps, -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
    return replace(region, bias_rounding=replace(bias, integers=integers))
