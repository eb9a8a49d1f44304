"""`lower_block`: a stretch of a program as a module, in float or as it is placed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

import onnx_ir as ir
from torch import nn

from qcompiler.decisions.placement import Placement, RegionPlacement
from qcompiler.decisions.roundings import GUARDED, NEAREST
from qcompiler.ir.blocks import Block
from qcompiler.ir.walk import bodies, stored_array
from qcompiler.lowering.torch_fx.checks import check_nodes
from qcompiler.lowering.torch_fx.lowering import lower_graph
from qcompiler.lowering.torch_fx.soft_rounding import DroppedQuantize, Dropping, SoftRounding
from qcompiler.lowering.torch_fx.trainable import Grids, Reading, Shared, Trainable
from qcompiler.quantization.qspace import QParams
from qcompiler.target.capability import Kernel


@dataclass(frozen=True, eq=False)
class QuantizedBlock:
    """A block with weights that can be rounded otherwise.

    Attributes:
        module: Takes the block's inputs, gives a tuple of its outputs.
        weights: What is trained, by region key.
        dropping: What of its activations stays float.
    """

    module: nn.Module
    weights: Mapping[str, SoftRounding]
    dropping: Dropping


def float_block(block: Block) -> nn.Module:
    """The block in float: takes its inputs, gives a tuple of its outputs.

    Raises:
        LoweringError: Ops that torch has no row for.
    """
    check_nodes(_nested(block.nodes))
    shared = Shared(Grids())
    return lower_graph(_view(block), lambda graph: Trainable(shared)).built.requires_grad_(False)


def quantized_block(
    block: Block, placement: Placement, soft: Iterable[str] = (), seed: int = 0
) -> QuantizedBlock:
    """The block as it is placed; regions without a fixed grid (dynamic ones) are in float.

    Args:
        block: A stretch of the float program.
        placement: Of the whole program.
        soft: Keys of regions whose weights are to be trained; others have their own integers.
        seed: Of what is dropped at random.

    Raises:
        LoweringError: Ops that torch has no row for.
    """
    check_nodes(_nested(block.nodes))
    nodes = {node.name or "": node for node in block.nodes}
    regions = {
        key: region
        for key, region in placement.regions.items()
        if region.nodes[0] in nodes and region.form.kernel is not Kernel.DYNAMIC
    }
    outside = replace(placement, regions={**_writers(block, placement), **regions})
    weights = {key: _soft(regions[key], nodes) for key in soft}
    places = {_weight_place(regions[key]): weight for key, weight in weights.items()}
    dropping = Dropping(seed)
    shared = _Reconstructed(Grids.of(outside), places, dropping=dropping)
    module = lower_graph(_view(block), lambda graph: Reconstruction(shared)).built
    module.requires_grad_(False)
    for weight in weights.values():
        weight.requires_grad_(True)
    return QuantizedBlock(module, weights, dropping)


def _writers(block: Block, placement: Placement) -> dict[str, RegionPlacement]:
    """Regions before the block that write what it reads: their readers read integers anyway."""
    names = {value.name for value in block.inputs}
    found = {key: each for key, each in placement.regions.items() if each.output in names}
    bare = {"activations": (), "weight": None, "bias": None, "constants": ()}
    return {key: replace(each, **bare) for key, each in found.items()}  # type: ignore[arg-type]


def _view(block: Block) -> ir.GraphView:
    return ir.GraphView(block.inputs, block.outputs, nodes=block.nodes, name="block")


def _nested(nodes: Iterable[ir.Node]) -> Iterable[ir.Node]:
    for node in nodes:
        yield node
        yield from chain.from_iterable(_nested(body) for body in bodies(node))


def _weight_place(region: RegionPlacement) -> Reading:
    assert region.weight is not None
    return region.weight.node, region.weight.index


def _soft(region: RegionPlacement, nodes: Mapping[str, ir.Node]) -> SoftRounding:
    name, index = _weight_place(region)
    value = nodes[name].inputs[index]
    assert value is not None
    exact = stored_array(value)
    assert exact is not None
    assert region.rounding is not None
    rounding = region.rounding
    chosen = None if rounding.how in (NEAREST, GUARDED) else rounding.integers
    return SoftRounding(exact, rounding.params, chosen)


@dataclass(frozen=True)
class _Reconstructed(Shared):
    """What the strategies of a block share.

    Attributes:
        dropping: What of its activations stays float.
    """

    dropping: Dropping = field(default_factory=lambda: Dropping(0))


class Reconstruction(Trainable):
    """Weights between two integers, activations that are quantized in part."""

    def __init__(self, shared: _Reconstructed) -> None:
        super().__init__(shared)
        self._block = shared

    def grid(self, params: QParams, shape: tuple[int, ...]) -> nn.Module:
        if not shape and params.axis is None:
            return DroppedQuantize(params, self._block.dropping)
        return super().grid(params, shape)
