"""`prepare_qat`: a model as a module that is trained with its quantization in place.

Imported only when it is asked for: it needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from qcompiler.calibration.keeper import Keeper
from qcompiler.calibration.loading import loaded
from qcompiler.config import FLOAT_PIPELINE
from qcompiler.decisions.forms import Options, region_options
from qcompiler.decisions.overrides import Overrides, by_hand
from qcompiler.decisions.planning import planned
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.roundings import remembered
from qcompiler.decisions.schemes import Scheme, scheme_of
from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.frontends.load import Dynamic
from qcompiler.frontends.torch_dropout import dropout_kept
from qcompiler.ir.plan import FLOAT, Plan, plan_of
from qcompiler.ir.program import Program, Property
from qcompiler.ir.walk import all_nodes, constant, is_op, uses
from qcompiler.lowering.qat.batch_norm import Fold, folds
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
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.targets import target_of
from qcompiler.target.contract import Target

BatchNorm = Literal["live", "folded"]
Steps = Literal["learned", "moving-average"]

_FOLDING = "fuse-conv-bn"


def prepare_qat(
    model: object,
    target: str | Target = "onnxruntime",
    calibration: Iterable[Any] | None = None,
    *,
    example_inputs: Any = None,
    dynamic: Dynamic = None,
    scheme: str | Scheme = "int8",
    overrides: Overrides | None = None,
    plan: Plan | Path | str | None = None,
    batch_norm: BatchNorm = "live",
    steps: Steps = "learned",
    observer: str = "mse",
) -> QatModule:
    """A module that computes what the quantized model will, and has gradients.

    It is trained in a loop of the user's own, then compiled by `qc.compile(module, target=...)`,
    which takes its integers and scales and needs no calibration.

    Args:
        model: As for `qc.compile`: a torch module, or an ONNX file just as well.
        target: Whose forms are trained for.
        calibration: Feeds that say where scales start.
        example_inputs: As for `qc.compile`.
        dynamic: As for `qc.compile`.
        scheme: Precision of every region that has it; `auto` takes the target's own.
        overrides: As for `qc.compile`.
        plan: Precision of every region instead: mixed precision.
        batch_norm: `live` normalizes with statistics of the batch while training, as the float
            module does, and quantizes weights folded with running ones; `freeze_batch_norm` ends
            it. `folded` trains the folded weights: BatchNormalization is a constant factor then.
        steps: `learned` has gradients for scales, and for zero points that are free (LSQ, LSQ+);
            `moving-average` follows the data until `freeze_quantizers`.
        observer: Calibration method that the first ranges come from.

    Returns:
        A module in training mode, with the source's `forward`, parameters and state dict.

    Raises:
        QCompilerError: As `qc.compile`; nothing is half done then.
    """
    _require(batch_norm, BatchNorm, "batch_norm")
    _require(steps, Steps, "steps")
    chosen, asked, given = target_of(target), scheme_of(scheme), plan_of(plan)
    hand = by_hand(overrides)
    with dropout_kept():
        source, feeds = loaded(model, calibration, example_inputs, dynamic, quiet=True)
    with remembered():
        rewritten = _rewritten(source, batch_norm == "live")
        program = rewritten.program
        with remembered(program.absorbed):
            _calibrate(program, chosen, feeds, asked, given, observer)
            hand.apply(program)
            options, precisions = _planned(program, chosen, asked, hand.precisions, given)
            placement = resolve(program.observations, options, precisions, program.absorbed)
    program.placement = placement
    program.properties |= {Property.PRECISION_ASSIGNED, Property.RESOLVED}
    return _built(model, rewritten, precisions, asked.precision, steps == "learned")


def _require(given: object, known: Any, name: str) -> None:
    names = known.__args__
    if given not in names:
        raise ConfigurationError(
            f"{name} is {given!r}", fix=f"give one of {', '.join(map(repr, names))}"
        )


@dataclass(frozen=True, eq=False)
class _Rewritten:
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


def _rewritten(source: Program, live: bool) -> _Rewritten:
    first, _, rest = FLOAT_PIPELINE.partition(_FOLDING)
    program = source.clone()
    Pipeline.parse(first.rstrip(",")).run(program, PassContext())
    before = program.clone()
    Pipeline.parse(_FOLDING + rest).run(program, PassContext())
    dropouts, notes = _dropouts(source, program)
    return _Rewritten(program, folds(before, program) if live else {}, dropouts, notes)


def _dropouts(source: Program, program: Program) -> tuple[dict[str, float], tuple[str, ...]]:
    """Where the source drops in training: behind values that nothing else reads."""
    names = {out.name for node in all_nodes(program.model) for out in node.outputs}
    names |= {value.name for value in program.graph.inputs}
    found, lost = {}, []
    for node in all_nodes(source.model):
        if not is_op(node, "Dropout") or node.inputs[0] is None:
            continue
        ratio = constant(node.inputs[1]) if len(node.inputs) > 1 else np.asarray(0.5)
        value = node.inputs[0]
        alone = len(uses(value)) == 1 and not value.is_graph_output()
        if ratio is None or not alone or value.name not in names:
            lost.append(node.name or "Dropout")
        elif float(ratio) > 0:
            found[value.name or ""] = float(ratio)
    notes = tuple(f"'{name}' does not drop in training: its place is gone" for name in lost)
    return found, notes


def _other_dropouts(model: object) -> tuple[str, ...]:
    """Said of modules that drop whole channels, or to another value than 0."""
    parts = model.named_modules() if isinstance(model, torch.nn.Module) else ()
    kinds = (
        torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.Dropout3d,
        torch.nn.AlphaDropout, torch.nn.FeatureAlphaDropout,
    )  # fmt: skip
    return tuple(
        f"'{path}' does not drop in training: {type(part).__name__} is not kept"
        for path, part in parts
        if isinstance(part, kinds)
    )


def _calibrate(
    program: Program,
    target: Target,
    feeds: Iterable[Any] | None,
    scheme: Scheme,
    plan: Plan | None,
    observer: str,
) -> None:
    if feeds is None:
        fixed = program.absorbed is not None and program.absorbed.values
        needed = plan is not None or scheme.needs_calibration(target.capabilities)
        if needed and not fixed:
            raise CalibrationError(
                "scales need calibration data to start from",
                fix="pass calibration=<iterable of feeds>, some tens of them",
            )
        return
    context = PassContext(target, Keeper(program.signature, feeds, 1))
    Pipeline.parse(f"insert-observers{{method={observer}}},calibrate").run(program, context)


def _planned(
    program: Program,
    target: Target,
    scheme: Scheme,
    overrides: Mapping[str, str],
    plan: Plan | None,
) -> tuple[Sequence[Options], Plan]:
    """Legal forms, and the plan: the one that is given, or the scheme wherever it is legal."""
    name = target.preferred if scheme.is_auto else scheme.precision
    options = region_options(program, target, target.regions(program), overrides)
    found = planned(options, target, name, plan, program.observations)
    if all(each.precision == FLOAT for each in found.choices.values()):
        raise ConfigurationError(
            f"no region of this model can run as {name!r} on {target.name}",
            fix="choose another scheme",
        )
    return options, found


def _built(
    model: object,
    rewritten: _Rewritten,
    plan: Plan,
    scheme: str,
    learned: bool,
) -> QatModule:
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
    built = lower_graph(program.graph, lambda graph: QatStrategy(state)).built
    set_floors(program, state)
    values = {
        name: state.names[id(params)]
        for (name, _), params in trained.values.items()
        if id(params) in state.names
    }
    record = QatRecord(
        _bare(program), plan, scheme, state.constants, state.stored, values,
        own=frozenset(), unread=frozenset(),
        notes=(*rewritten.notes, *floating, *_other_dropouts(model)),
    )  # fmt: skip
    module = QatModule(built, _with_names(record, model, state))
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
