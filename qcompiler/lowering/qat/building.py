"""The module of quantization-aware training, with the source's parameters and state dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program, Property
from qcompiler.lowering.qat.batch_norm import Fold
from qcompiler.lowering.qat.dropouts import other_dropouts
from qcompiler.lowering.qat.grids import (
    fixed_grids,
    joined,
    passed_on,
    set_floors,
    trainable_grids,
)
from qcompiler.lowering.qat.module import QatModule, QatRecord
from qcompiler.lowering.qat.source_names import SourceTensors, state_of
from qcompiler.lowering.qat.strategy import QatState, QatStrategy
from qcompiler.lowering.torch_fx.checks import check_ops
from qcompiler.lowering.torch_fx.lowering import lower_graph


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A program after the float passes, and what they took out that training wants.

    Attributes:
        program: Canonical and folded.
        folds: BatchNormalization that is kept alive, by node.
        dropouts: Share that is dropped behind a value.
        notes: What could not be kept.
    """

    program: Program
    folds: Mapping[str, Fold]
    dropouts: Mapping[str, float]
    notes: tuple[str, ...]


def built(
    model: object,
    rewritten: Rewritten,
    plan: Plan,
    scheme: str,
    learned: bool,
) -> QatModule:
    """The module that is trained.

    Args:
        model: As it came: a torch module gives parameters and names of its state dict.
        rewritten: The program with its placement.
        plan: Precision of every region.
        scheme: Name of the one asked for.
        learned: Whether scales have gradients.
    """
    program, placement = rewritten.program, rewritten.program.placement
    assert placement is not None
    trained, floating = trainable_grids(program, joined(program, placement))
    sources: SourceTensors | None = None
    again: list[tuple[str, str]] = []
    if isinstance(model, torch.nn.Module | torch.export.ExportedProgram):
        arrays, gradients, again = state_of(model)
        sources = SourceTensors(arrays, gradients)
    state = QatState(
        trained,
        sources,
        rewritten.folds,
        rewritten.dropouts,
        passed_on(trained),
        learned,
        fixed=fixed_grids(program, trained),
        of_values=frozenset(map(id, trained.values.values())),
    )
    check_ops(program.model)
    lowered = lower_graph(program.graph, lambda graph: QatStrategy(state)).built
    set_floors(program, state)
    values = {
        name: state.names[id(params)]
        for (name, _), params in trained.values.items()
        if id(params) in state.names
    }
    record = QatRecord(
        _bare(program), plan, scheme, state.constants, state.stored, values,
        own=frozenset(), unread=frozenset(),
        notes=(*rewritten.notes, *floating, *other_dropouts(model)),
    )  # fmt: skip
    module = QatModule(lowered, _with_names(record, model, state))
    _add_unread(module, model, state, again)
    return module


def _with_names(record: QatRecord, model: object, state: QatState) -> QatRecord:
    if state.sources is None:
        return replace(record, own=frozenset(state.held))
    assert isinstance(model, torch.nn.Module | torch.export.ExportedProgram)
    own = (
        model.state_dict if isinstance(model, torch.export.ExportedProgram) else model.state_dict()
    )
    unread = {name for name in state.sources.trained if name not in state.held}
    told = [
        f"'{name}' is trained in another form than the source's: "
        "its entry of a state dict is kept, and not computed with"
        for name in sorted(unread)
        if name in state.sources.state
    ]
    return replace(
        record, own=frozenset(own), unread=frozenset(unread), notes=(*record.notes, *told)
    )


def _add_unread(
    module: QatModule, model: Any, state: QatState, again: Sequence[tuple[str, str]]
) -> None:
    """Second names, and entries of the source's state dict that nothing is computed from."""
    if state.sources is None:
        return
    own = (
        model.state_dict if isinstance(model, torch.export.ExportedProgram) else model.state_dict()
    )
    second = dict(again)
    for name, tensor in own.items():
        if name in state.held:
            continue
        held = state.held.get(second.get(name, ""))
        if held is None:
            held = tensor.detach().clone() if isinstance(tensor, torch.Tensor) else None
        if held is not None:
            _place(module, name, held)


def _place(module: torch.nn.Module, name: str, held: Any) -> None:
    *path, leaf = name.split(".")
    for part in path:
        if not hasattr(module, part):
            module.add_module(part, torch.nn.Module())
        module = getattr(module, part)
    if isinstance(held, torch.nn.Parameter):
        module.register_parameter(leaf, held)
    else:
        module.register_buffer(leaf, held)


def _bare(program: Program) -> Program:
    """The program as lowering takes it up again: its ranges are the module's from now on."""
    copy = program.clone()
    copy.placement = copy.plan = copy.absorbed = None
    copy.observations, copy.statistics, copy.requests = {}, {}, {}
    copy.properties -= {Property.PRECISION_ASSIGNED, Property.RESOLVED, Property.CALIBRATED}
    return copy
