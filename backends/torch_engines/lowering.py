"""Lowering: a placed `Program` becomes an `fx.GraphModule` of quantized and float torch calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.strategy import EngineStrategy, Record
from qcompiler.lowering.torch_fx.checks import check_ops
from qcompiler.lowering.torch_fx.lowering import GraphLowering, lower_graph
from qcompiler.target.artifact import KernelCount


@dataclass(frozen=True)
class Held:
    """Where the module computes a value: an fx node, and whether ONNX has it as int8."""

    node: str
    signed: bool


@dataclass(frozen=True)
class Lowered:
    """A lowered graph.

    Attributes:
        module: Takes the inputs in order, gives a tuple of outputs.
        kernels: What it runs, integer calls by region key.
        held: Where it computes the values of the main graph.
    """

    module: fx.GraphModule
    kernels: KernelCount
    held: Mapping[str, Held]


def lower(model: ir.Model, setting: Setting) -> Lowered:
    """Lowers a model; islands that break a rule of `setting` run in float.

    Raises:
        LoweringError: Ops without a row (all of them are named), or the engine does not exist.
    """
    check_ops(model)
    record = Record()

    def strategy_for(graph: ir.Graph) -> EngineStrategy:
        return EngineStrategy(setting, record, graph)

    with adapter.engine_scope(setting.engine), torch.no_grad():
        lowering = lower_graph(model.graph, strategy_for)
    module = lowering.built
    ops = Counter(_target_name(node) for node in module.graph.nodes if node.op == "call_function")
    count = KernelCount(tuple(record.integer), record.missed, dict(ops))
    return Lowered(module, count, _held(lowering))


def _held(lowering: GraphLowering) -> dict[str, Held]:
    """The values of the main graph that the module computes, by name."""
    found = {name: Held(node.name, False) for name, node in lowering.values.items()}
    assert isinstance(lowering.strategy, EngineStrategy)
    for value, each in lowering.strategy.held.items():
        found[value.name or ""] = Held(each.node.name, each.levels.signed)
    return found


def _target_name(node: fx.Node) -> str:
    target = node.target
    return (
        str(target)
        if isinstance(target, torch._ops.OpOverload)
        else getattr(target, "__name__", str(target))
    )
