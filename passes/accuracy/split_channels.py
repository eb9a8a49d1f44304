"""`split-channels`: a few channels of extreme range are multiplied in float, beside all others.

y = W·v becomes W0·clip(v) + W1·v[extreme], with W0 the weight without the columns of the extreme
channels and W1 those columns (LLM.int8(), Dettmers et al. 2022, arXiv 2208.07339, with channels
fixed by calibration). The clamp is where the other channels end, so one scale covers just those.
It is for values whose scales are fixed: elsewhere `smooth-activations` does the same at no cost.
What it costs is a small float product, a Gather and an Add of the result's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.kept import keep_float
from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import Usage, is_op, rank, uses
from qcompiler.passes.equalization.analysis import scaled_values
from qcompiler.passes.equalization.multipliers import is_free
from qcompiler.passes.equalization.observed import Seen, rounded_values
from qcompiler.passes.equalization.scope import channels, own_constant
from qcompiler.passes.fusion.linear import Linear, read_linear
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.target.contract import Target

Array = npt.NDArray[Any]

_MARGIN = 1.1
"""Room that unseen data is given beyond what calibration saw of the other channels."""
_REASON = "the channels of extreme range of a split product"


@dataclass(frozen=True)
class SplitChannels(Pass):
    """Splits matrix products and ungrouped convolutions with stored weights.

    Attributes:
        share: Most of the channels that are taken out, at least one.
        narrower: How many times narrower the range of the others has to be.
    """

    name: ClassVar[str] = "split-channels"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    stage: ClassVar[Stage] = Stage.FLOAT

    share: float = 0.02
    narrower: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.narrower <= 1:
            raise ConfigurationError(
                f"a share of {self.share} and a range {self.narrower} times narrower split nothing",
                fix="give a share between 0 and 1, and a factor over 1",
            )

    def requests(self, program: Program, target: Target | None) -> Sequence[Request]:
        return [
            Request.of(each.value.name or "", "channel-extremes", axis=each.axis)
            for each in _places(program, target)
        ]

    def price(self, samples: int) -> str:
        return f"a float product of up to {self.share:.0%} of the channels, and an Add, per split"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if program.absorbed is not None:
            return Outcome(details={"products": 0})
        seen, split = Seen(program), {}
        for each in list(_places(program, context.target)):
            extremes = seen.extremes(each.value.name or "", each.axis)
            chosen = None if extremes is None else self.chosen(*extremes)
            if extremes is None or chosen is None:
                continue
            _split(each, chosen, extremes, rewriter)
            split[each.value.name or ""] = int(chosen.size)
        rewriter.drop_unused_constants()
        return Outcome(details={"products": len(split), "channels": split})

    def chosen(self, low: Array, high: Array) -> Array | None:
        """The fewest channels without which the range is as narrow as wanted; None if too many.

        Args:
            low: Lowest value of every channel.
            high: Highest.
        """
        reach = np.maximum(high, -low)
        order = np.argsort(-reach, kind="stable")
        most = max(1, int(self.share * reach.size))
        for count in range(1, min(most, reach.size - 1) + 1):
            if 0 < reach[order[count]] * self.narrower <= reach[order[0]]:
                return np.sort(order[:count])
        return None


@dataclass(frozen=True, eq=False)
class _Place:
    """A value with the products that read it.

    Attributes:
        value: The value.
        axis: Its channel axis.
        readings: Products with a stored weight of their own.
    """

    value: ir.Value
    axis: int
    readings: tuple[tuple[Usage, Linear], ...]


def _places(program: Program, target: Target | None) -> Iterator[_Place]:
    """Values whose scales are fixed and that are rounded for products."""
    found, rounded = scaled_values(program), rounded_values(program, target)
    values = [*program.graph.inputs, *(each for node in program.graph for each in node.outputs)]
    for value in values:
        if value.name not in rounded or is_free(value, found) or rank(value) is None:
            continue
        readings = [
            (use, linear)
            for use in uses(value)
            if use.idx == 0 and use.node.graph is program.graph
            if (linear := _linear(use.node)) is not None
        ]
        places = {linear.activation_axis(value) for _, linear in readings}
        place = places.pop() if len(places) == 1 else None
        if place is not None:
            yield _Place(value, place[1], tuple(readings))


def _linear(node: ir.Node) -> Linear | None:
    """A product whose input channels can be told apart."""
    if own_constant(node, 1) is None or is_op(node, "ConvTranspose"):
        return None
    linear = read_linear(node)
    if linear is None or linear.groups != 1 or (is_op(node, "MatMul") and linear.weight.ndim != 2):
        return None
    turned = is_op(node, "Gemm") and bool(node.attributes.get_int("transA", 0))
    size = channels(node.inputs[0], 1 if linear.weight.ndim > 2 else -1)
    return None if turned or size != linear.in_channels else linear


def _split(place: _Place, chosen: Array, extremes: tuple[Array, Array], rewriter: Rewriter) -> None:
    """Writes both products of every reading."""
    first = place.readings[0][0].node
    extreme = rewriter.insert(
        "Gather",
        [place.value, rewriter.constant(chosen.astype(np.int64), f"{place.value.name}_extreme")],
        before=first,
        attributes={"axis": place.axis},
        outputs=(f"{place.value.name}_extreme",),
        dtype=place.value.dtype,
        shape=_sized(place, chosen.size),
    )
    others = np.setdiff1d(np.arange(extremes[0].size), chosen)
    bounds = (extremes[0][others].min(), extremes[1][others].max())
    limits = [np.asarray(bound * _MARGIN, np.float32) for bound in bounds]
    kept = rewriter.insert(
        "Clip",
        [place.value, *(rewriter.constant(each, f"{place.value.name}_bound") for each in limits)],
        before=first,
        outputs=(f"{place.value.name}_kept",),
        dtype=place.value.dtype,
        shape=place.value.shape,
    )
    for node in (extreme, kept):
        keep_float(node, _REASON)
    for usage, linear in place.readings:
        _split_product(usage, linear, chosen, (extreme.outputs[0], kept.outputs[0]), rewriter)


def _sized(place: _Place, count: int) -> ir.Shape | None:
    shape = place.value.shape
    if shape is None:
        return None
    return ir.Shape([count if i == place.axis else dim for i, dim in enumerate(shape)])


def _split_product(
    usage: Usage,
    linear: Linear,
    chosen: Array,
    values: tuple[ir.Value, ir.Value],
    rewriter: Rewriter,
) -> None:
    node, result = usage.node, usage.node.outputs[0]
    name = node.inputs[1].name if node.inputs[1] is not None else "weight"
    small = np.ascontiguousarray(np.take(linear.weight, chosen, axis=linear.in_axis))
    rest = np.array(linear.weight)
    rest[(slice(None),) * linear.in_axis + (chosen,)] = 0
    attributes = {
        key: each.value for key, each in node.attributes.items() if key not in ("beta", "group")
    }
    side = rewriter.insert(
        node.op_type,
        [values[0], rewriter.constant(small, f"{name}_extreme")],
        before=node,
        attributes=attributes,
        outputs=(f"{result.name}_extreme",),
        dtype=result.dtype,
        shape=result.shape,
    )
    rewriter.set_input(node, 0, values[1])
    rewriter.set_input(node, 1, rewriter.constant(rest, f"{name}_rest"))
    total = rewriter.insert(
        "Add",
        [result, side.outputs[0]],
        after=node,
        outputs=(f"{result.name}_joined",),
        dtype=result.dtype,
        shape=result.shape,
    )
    for each in (side, total):
        keep_float(each, _REASON)
    rewriter.replace_uses(result, total.outputs[0], keep=(total,))
