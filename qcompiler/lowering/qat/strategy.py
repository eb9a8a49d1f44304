"""`QatStrategy`: the trainable lowering with learned grids, live BatchNormalization and dropout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
import torch
from torch import fx, nn
from torch.nn import functional

from qcompiler.decisions.placement import Placement
from qcompiler.ir.bounds import activation_bounds
from qcompiler.ir.walk import is_op, uses
from qcompiler.lowering.qat.batch_norm import (
    Fold,
    FoldedBias,
    LiveBatchNorm,
    PlainBatchNorm,
    UnfoldedWeight,
    fold_factor,
    folded_weight,
    momentum_of,
)
from qcompiler.lowering.qat.first_steps import first_params
from qcompiler.lowering.qat.quantizer import Quantizer
from qcompiler.lowering.qat.source_names import SourceTensors, Stored, laid_out
from qcompiler.lowering.torch_fx.constants import Array
from qcompiler.lowering.torch_fx.element_types import tensor_of
from qcompiler.lowering.torch_fx.strategy import Builder
from qcompiler.lowering.torch_fx.trainable import Grids, Shared, Trainable, is_trained
from qcompiler.quantization.qspace import QParams

_BIAS_BITS = 32


@dataclass(frozen=True)
class GridRead:
    """A stored operand that is read through a grid.

    Attributes:
        value: Name of the constant in the program.
        given: Node of the module's graph that gives it in float.
        quantizer: Name of the module of its grid.
    """

    value: str
    given: str
    quantizer: str


@dataclass(eq=False)
class QatState:
    """What the strategies of a graph and its bodies share, and what they leave behind.

    Attributes:
        placement: Grids, without those forms that are computed in float while training.
        sources: Tensors by the source's names; None takes the program's own.
        folds: BatchNormalization to be kept alive, by node.
        dropouts: Share that is dropped behind a value, by its name.
        passed_on: Values that an operator takes over from its operands, grid and all.
        learned: Whether steps are learned.
        fixed: Identities of parameters that nothing moves.
        of_values: Identities of parameters of values that are computed.
        held: Parameters and buffers, by name.
        constants: Node of the module's graph that gives a constant, by its name in the program.
        stored: Grids of stored operands, by reader and input.
        quantizers: By identity of the parameters that they started from.
        names: Of the modules of quantizers, by the same.
        strangers: Constants that are trained under names of the program's.
    """

    placement: Placement
    sources: SourceTensors | None
    folds: Mapping[str, Fold]
    dropouts: Mapping[str, float]
    passed_on: frozenset[str]
    learned: bool
    fixed: frozenset[int]
    of_values: frozenset[int]
    grids: Grids = field(init=False)
    held: dict[str, nn.Parameter | torch.Tensor] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    stored: dict[tuple[str, int], GridRead] = field(default_factory=dict)
    quantizers: dict[int, Quantizer] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grids = Grids.of(self.placement)


class QatStrategy(Trainable):
    """Constants as the source's parameters, values and weights through learned grids."""

    def __init__(self, state: QatState) -> None:
        super().__init__(Shared(state.grids))
        self._state = state
        self._nodes: dict[str, fx.Node] = {}
        self._live: dict[str, tuple[fx.Node, list[fx.Node], LiveBatchNorm]] = {}

    # constants

    def constant(self, value: ir.Value, array: Array, builder: Builder) -> fx.Node:
        found = self._constant(value, array, builder)
        self._state.constants[value.name or ""] = found.name
        return found

    def _constant(self, value: ir.Value, array: Array, builder: Builder) -> fx.Node:
        use = next(iter(value.uses()), None)
        fold = None if use is None else self._state.folds.get(use.node.name or "")
        if use is not None and fold is not None and len(value.uses()) == 1 and use.idx in (1, 2):
            return self._folded(fold, use.idx, builder)
        return self._plain(value, array, builder)

    def _plain(self, value: ir.Value, array: Array, builder: Builder) -> fx.Node:
        """A constant as it is stored, under the source's name if it has one."""
        floating = array.dtype.kind == "f"
        sources = self._state.sources
        stored = sources.find(value.name or "", array) if sources and floating else None
        if stored is not None:
            return self._source(stored, builder)
        if not is_trained(value, array) or (sources is not None and _says_nothing(array)):
            return self._held(value.name or "constant", array, None, builder)
        if sources is not None:
            self._state.strangers.append(value.name or "")
        return self._held(value.name or "parameter", array, True, builder)

    def _source(self, stored: Stored, builder: Builder) -> fx.Node:
        sources = self._state.sources
        assert sources is not None
        array = sources.state[stored.name]
        held = self._held(stored.name, array, stored.name in sources.trained, builder)
        if stored.is_plain:
            return held
        return builder.call(laid_out, held, stored.order, stored.shape)

    def _held(self, name: str, array: Array, trained: bool | None, builder: Builder) -> fx.Node:
        """A parameter, a buffer, or with None a constant that no state dict holds."""
        if name not in self._state.held:
            tensor = tensor_of(np.array(array, order="C", copy=True))
            self._state.held[name] = nn.Parameter(tensor) if trained else tensor
        if name not in self._nodes:
            kept = trained is not None
            self._nodes[name] = builder.dotted(name, self._state.held[name], kept)
        return self._nodes[name]

    def _folded(self, fold: Fold, index: int, builder: Builder) -> fx.Node:
        factor, given, norm = self._norm(fold, builder)
        if index == 1:
            array = self.fold(fold.weight)
            assert array is not None
            weight = self._plain(fold.weight, array, builder)
            return builder.call(folded_weight, weight, factor, fold.axis)
        return builder.module(f"{fold.output}_bias", FoldedBias(norm), factor, given)

    def _norm(self, fold: Fold, builder: Builder) -> tuple[fx.Node, list[fx.Node], LiveBatchNorm]:
        """Factor, operands and module of a normalization that lives."""
        if fold.node not in self._live:
            values = [*fold.statistics, *([fold.bias] if fold.bias is not None else [])]
            arrays = [self.fold(each) for each in values]
            if fold.bias is not None and _is_no_bias(fold.bias, arrays[-1], self._state.sources):
                values, arrays = values[:-1], arrays[:-1]
            given = []
            for each, array in zip(values, arrays, strict=True):
                assert array is not None
                given.append(self._plain(each, array, builder))
            factor = builder.call(fold_factor, given[0], given[3], fold.epsilon)
            self._live[fold.node] = factor, given, LiveBatchNorm(fold.epsilon, fold.momentum)
        return self._live[fold.node]

    # values

    def lower(self, node: ir.Node, builder: Builder) -> bool:
        """BatchNormalization that went into nothing lives, too; Clip gets its fast gradient."""
        bounds = activation_bounds(node) if is_op(node, "Clip") else None
        if bounds is not None:
            given = builder.operand(node, 0)
            clipped = builder.call(functional.hardtanh, given, bounds.low, bounds.high)
            builder.bind(node, clipped)
            return True
        single = is_op(node, "BatchNormalization") and not any(map(uses, node.outputs[1:]))
        if not single or bool(node.attributes.get_int("training_mode", 0)):
            return False
        norm = PlainBatchNorm(node.attributes.get_float("epsilon", 1e-5), momentum_of(node))
        operands = [builder.operand(node, index) for index in range(5)]
        builder.bind(node, builder.module(f"{node.outputs[0].name}_norm", norm, *operands))
        return True

    def computed(self, value: ir.Value, result: fx.Node, builder: Builder) -> fx.Node:
        node = value.producer()
        fold = self._state.folds.get(node.name or "") if node is not None else None
        if fold is not None and fold.output == value.name:
            _, given, norm = self._norm(fold, builder)
            result = builder.module(f"{fold.output}_norm", norm, result, given)
        if value.name not in self._state.passed_on:
            result = super().computed(value, result, builder)
        share = self._state.dropouts.get(value.name or "")
        return (
            result
            if share is None
            else builder.module(f"{value.name}_dropout", nn.Dropout(share), result)
        )

    def on_grid(
        self, given: fx.Node, params: QParams, shape: tuple[int, ...], value: ir.Value,
        builder: Builder,
    ) -> fx.Node:  # fmt: skip
        if params.space.storage_bits == _BIAS_BITS:
            return given  # half a step of the accumulator: lowering rounds it
        key = (given, id(params))
        if key not in self._seen:
            quantizer = self._quantizer(params, shape, value)
            stem = f"{value.name}_quantizer"
            self._seen[key] = builder.module(stem, quantizer, given)
            self._state.names[id(params)] = str(self._seen[key].target)
        return self._seen[key]

    def argument(self, node: ir.Node, index: int, given: fx.Node, builder: Builder) -> fx.Node:
        found = super().argument(node, index, given, builder)
        value, place = node.inputs[index], (node.name or "", index)
        if found is not given and value is not None and self.fold(value) is not None:
            params = self._state.grids.read[place][-1]
            name = self._state.names[id(params)]
            self._state.stored[place] = GridRead(value.name or "", given.name, name)
        fold = self._state.folds.get(node.name or "") if index == 1 else None
        if fold is None:
            return found
        factor, _, norm = self._norm(fold, builder)
        unfolded = UnfoldedWeight(norm, fold.axis)
        return builder.module(f"{fold.output}_weight", unfolded, found, factor)

    def _quantizer(self, params: QParams, shape: tuple[int, ...], value: ir.Value) -> Quantizer:
        if id(params) not in self._state.quantizers:
            start = params
            if id(params) in self._state.of_values:
                shape = ()
            elif (array := self.fold(value)) is not None:
                start = first_params(array, params)
            fixed = id(params) in self._state.fixed
            quantizer = Quantizer(start, shape, self._state.learned, fixed)
            self._state.quantizers[id(params)] = quantizer
        return self._state.quantizers[id(params)]


def _says_nothing(array: Array) -> bool:
    """Whether all numbers are one: a constant of the code, not a weight."""
    return bool(array.size == 0 or np.all(array == array.flat[0]))


def _is_no_bias(value: ir.Value, array: Array | None, sources: SourceTensors | None) -> bool:
    """Whether exporters wrote zeros where the source has no bias."""
    named = sources is not None and (value.name or "") in sources.state
    return array is not None and not named and not np.any(array)
