"""`prepare_qat`: a model as a module that is trained with its quantization in place.

Imported only when it is asked for: it needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from qcompiler.calibration.keeper import Keeper
from qcompiler.calibration.loading import loaded
from qcompiler.config import FLOAT_PIPELINE
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.decisions.overrides import Overrides, by_hand
from qcompiler.decisions.planning import planned, require_meant
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.roundings import remembered
from qcompiler.decisions.schemes import Scheme, scheme_of
from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.frontends.load import Dynamic
from qcompiler.frontends.torch_dropout import dropout_kept
from qcompiler.ir.plan import FLOAT, Plan, plan_of
from qcompiler.ir.program import Program, Property
from qcompiler.lowering.qat.batch_norm import folds
from qcompiler.lowering.qat.building import Rewritten, built
from qcompiler.lowering.qat.dropouts import dropouts
from qcompiler.lowering.qat.module import QatModule
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
    return built(model, rewritten, precisions, asked.precision, steps == "learned")


def _require(given: object, known: Any, name: str) -> None:
    names = known.__args__
    if given not in names:
        raise ConfigurationError(
            f"{name} is {given!r}", fix=f"give one of {', '.join(map(repr, names))}"
        )


def _rewritten(source: Program, live: bool) -> Rewritten:
    first, _, rest = FLOAT_PIPELINE.partition(_FOLDING)
    program = source.clone()
    Pipeline.parse(first.rstrip(",")).run(program, PassContext())
    before = program.clone()
    Pipeline.parse(_FOLDING + rest).run(program, PassContext())
    dropped, notes = dropouts(source, program)
    return Rewritten(program, folds(before, program) if live else {}, dropped, notes)


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
    if plan is None and not scheme.is_auto:
        require_meant(options, target, scheme, found)
    if all(each.precision == FLOAT for each in found.choices.values()):
        raise ConfigurationError(
            f"no region of this model can run as {name!r} on {target.name}",
            fix="choose another scheme",
        )
    return options, found
