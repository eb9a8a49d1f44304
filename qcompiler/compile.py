"""`qc.compile`: model in, quantized program for one runtime out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qcompiler.calibration.dividing import divided
from qcompiler.calibration.keeper import Keeper
from qcompiler.calibration.loading import loaded
from qcompiler.compiled import Compiled
from qcompiler.config import FLOAT_PIPELINE, RECIPES, SCHEMES, Recipe, Scheme, recipe_of, scheme_of
from qcompiler.decisions.roundings import remembered
from qcompiler.errors import (
    CalibrationError,
    ConfigurationError,
    FeedError,
)
from qcompiler.execution.feeds import normalize_feed
from qcompiler.frontends.load import Dynamic
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.plan import Plan, plan_of
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.verifier import require_valid
from qcompiler.measurement.baseline import baseline_of, told_of_float_form
from qcompiler.measurement.data_check import data_findings
from qcompiler.measurement.scoring import Evaluate
from qcompiler.measurement.source_check import SourceCheck
from qcompiler.measurement.source_reference import runner_of, source_check_of
from qcompiler.measurement.variants import Variant, ask, variants_of
from qcompiler.outputs.asked import Asked, MaxLoss, output_losses_of
from qcompiler.pipeline.contract import PassContext, Progress, Silent, step
from qcompiler.pipeline.pipeline import Pipeline, PipelineReport
from qcompiler.pipeline.targets import target_of
from qcompiler.report.progress import shown_progress
from qcompiler.search.select import Goal, Samples, Selection, select
from qcompiler.target.contract import Artifact, Target


@remembered()
def compile(  # noqa: A001 - the project's one verb
    model: object,
    target: str | Target = "onnxruntime",
    calibration: Iterable[Any] | None = None,
    *,
    example_inputs: Any = None,
    dynamic: Dynamic = None,
    scheme: str | Scheme = "auto",
    overrides: Mapping[str, str] | None = None,
    plan: Plan | Path | str | None = None,
    recipe: str = "balanced",
    variants: Sequence[str] | None = None,
    evaluate: Evaluate | None = None,
    loss: Asked | None = None,
    max_loss: MaxLoss | None = None,
    objective: str | Mapping[str, float] = "latency",
    budget: float | None = None,
    executor: Executor | None = None,
    pipeline: Pipeline | str | None = None,
    checkpoint: Path | str | None = None,
    progress: bool | Progress = False,
) -> Compiled:
    """Compiles a trained model into a quantized program for a runtime.

    The result is checked on the engine before it is returned: it is never slower than float there
    (interleaved timing) and never loses more than `max_loss`; where nothing better than float
    exists, float is returned and the report says why. A fixed scheme is built as asked, and the
    report says what it gains and loses.

    Ctrl-C during a search ends it: the best so far is returned, and `report.interrupted` is set.
    Before the search, or a second time, it raises KeyboardInterrupt as anywhere.

    Args:
        model: `torch.nn.Module`, `fx.GraphModule`, `ExportedProgram`, a path, `onnx.ModelProto`,
            `onnx_ir.Model` or a `Program`.
        target: Name of a registered target, `name{option=value}`, or a Target.
        calibration: Feeds (dicts by input name, tuples, or arrays; numpy or torch); read once and
            streamed, so a generator over any number of samples does.
        example_inputs: Arguments for capturing a torch module; the first feed by default.
        dynamic: Which dimensions of a torch module's inputs stay open, see `load`. By default the
            batch, and what differs between the first feeds.
        scheme: `auto`, `int8`, `dynamic`, `int8-weights`, `int4-weights`, `int16`, `float32`,
            ... (docs/schemes.md), or a `Scheme`.
        overrides: Precision by glob over module paths, node names or `op:OpType`.
        plan: A plan to apply as it is, or the file of one, instead of a search.
        recipe: `fast`, `balanced` or `best`.
        variants: Accuracy passes to try instead of the recipe's, as in a pipeline text
            (`"correct-bias"`); each is kept only if the loss is lower on samples that it was not
            fitted to.
        evaluate: Called with `run`, which takes a feed in any form that `calibration` takes and
            returns what the model returns: tensors, nested as the module nests them, for a torch
            model, a list of arrays for an ONNX model. Returns a score, higher is better.
        loss: What outputs are for, where the analysis shall not decide (docs/loss.md): `top1`,
            `top5`, `sigmoid`, `cosine`, `sqnr`, `agreement`, or a function of (reference array,
            array) that returns a loss of 0 or more for one sample. One for all outputs, or a dict
            by name or position. Not together with `evaluate`.
        max_loss: Largest loss, in the unit of what judges: of `evaluate`'s score (0.01 by default),
            of `loss` (a share of flips for `top1`), the noise-to-signal ratio of all outputs where
            neither is given. A number, or with `loss` a dict by output. By default every output
            bears as much noise as keeps its decisions; plain values bear 0.0075, that is 21 dB.
        objective: `latency`, `size`, `energy-proxy` (multiply-accumulates times bits), or a mix
            such as `{"latency": 1, "size": 0.2}`, every part relative to float. Where latency is no
            part of it, the result may be slower than float; the report says how much.
        budget: Seconds of search, between calibration and the timing that proves the result; what
            is under way then is finished. By default the recipe says how much is worth while.
        executor: Workers for calibration shards, sensitivity probes and losses of candidates. Times
            are measured in this process, after the workers are done.
        pipeline: Passes (or their text) to run instead of the float rewrites.
        checkpoint: File that keeps the state of calibration after every shard; a run that was
            interrupted goes on from it, given the same model and data in the same order.
        progress: True shows a bar with rate and time left, on a terminal or in a notebook.

    Raises:
        QCompilerError: See `qcompiler.errors` for what can go wrong; nothing is half done then.
    """
    started = time.perf_counter()
    model, scheme, plan = _trained(model, target, scheme, plan)
    _require_path(checkpoint)
    effort, asked, plan = recipe_of(recipe), scheme_of(scheme), plan_of(plan)
    chosen = target_of(target)
    reporter = _reporter(progress)
    quiet = not (asked.is_auto and plan is None)
    with step(reporter, "read the model"):
        source, feeds = loaded(model, calibration, example_inputs, dynamic, quiet)
    if evaluate is None:  # an unknown output is told before calibration
        output_losses_of(loss, max_loss, source.signature.output_names)
    program = source.clone()
    context = PassContext(chosen, None, reporter, executor, {"checkpoint": checkpoint})
    reports = [_pipeline(pipeline).run(program, context)]
    require_valid(program, "after the float passes")
    plain = program.clone() if program.absorbed is not None else program
    islands = _has_static_islands(chosen, overrides, plan)
    given = variants if plan is None or plan.variants is None else plan.variants
    tried = variants_of(effort, recipe, given)
    with remembered(program.absorbed):
        kept = _calibrated(program, chosen, feeds, asked, effort, context, reports, tried, islands)
        spent = time.perf_counter() - started
        limited = replace(effort, seconds=effort.search_seconds(spent))
        nothing = asked.is_auto and plan is None and not chosen.regions(program)
        asked = SCHEMES["float32"] if nothing else asked
        goal = Goal(
            asked, evaluate, max_loss, objective, budget, overrides or {}, plan, tried, loss
        )
        examples = kept.feeds or _examples(source, example_inputs)
        models = _Models(model, source, program, plain)
        selection = _selected(models, context, kept, goal, limited, examples)
    if nothing:
        why = f"float: the model has no op that {chosen.name} quantizes"
        selection = replace(selection, summary=why)
    seconds = time.perf_counter() - started
    verify = effort is not RECIPES["fast"] and not selection.interrupted
    with step(reporter, "verify"):
        return Compiled.assemble(source, chosen, selection, reports, seconds, kept, verify)


@dataclass(frozen=True, eq=False)
class _Models:
    """One model as it goes through a compilation.

    Attributes:
        given: What the user gave.
        source: The program that the front end made of it.
        program: After the float passes, calibrated.
        plain: The same before calibration.
    """

    given: object
    source: Program
    program: Program
    plain: Program


def _selected(
    models: _Models,
    context: PassContext,
    kept: Samples,
    goal: Goal,
    effort: Recipe,
    examples: Sequence[Feed],
) -> Selection:
    """Checks the float program against its source, searches, and says what was found.

    Raises:
        SourceError: The float program computes something else than its source.
    """
    source, program, target = models.source, models.program, context.target
    assert target is not None
    reference = source_check_of(models.given, source, target, examples)
    baseline = baseline_of(target, source, models.given, kept.feeds, models.plain)
    _check(reference, target, baseline.program, baseline.artifact)
    selection = select(
        source, program, target, kept, goal, effort,
        context.progress, context.executor, baseline.artifact,
    )  # fmt: skip
    found = baseline.diagnostics + _compared(program, selection, reference, target)
    found += tuple(data_findings(source, (*kept.feeds, *kept.fitting)))
    return replace(selection, diagnostics=(*selection.diagnostics, *found))


def _compared(
    program: Program, selection: Selection, reference: SourceCheck | None, target: Target
) -> tuple[Diagnostic, ...]:
    """Checks a rewritten float program, and says what came of all checks.

    Raises:
        SourceError: It computes something else than its source.
    """
    found: tuple[Diagnostic, ...] = ()
    if selection.candidate is not None and selection.is_float:
        if program.absorbed is not None:
            found = told_of_float_form(program, selection.loss)
        else:
            _check(reference, target, selection.program, selection.artifact)
    return found + (() if reference is None else tuple(reference.diagnostics))


def _check(
    reference: SourceCheck | None, target: Target, program: Program, artifact: Artifact
) -> None:
    """Compares what a float artifact computes with the source, if that can be run."""
    if reference is not None:
        reference.check(program, runner_of(target, program, artifact))


def _require_path(checkpoint: object) -> None:
    if checkpoint is not None and not isinstance(checkpoint, (str, Path)):
        raise ConfigurationError(f"checkpoint is {checkpoint!r}", fix="give the path of a file")


def _trained(
    model: object, target: str | Target, scheme: str | Scheme, plan: Plan | Path | str | None
) -> tuple[object, str | Scheme, Plan | Path | str | None]:
    """A module of `prepare_qat` as its program, with its own plan unless another is asked for."""
    if "torch" not in sys.modules:
        return model, scheme, plan
    from qcompiler.lowering.qat.module import QatModule
    from qcompiler.lowering.qat.trained import trained_program

    if not isinstance(model, QatModule):
        return model, scheme, plan
    program, record = trained_program(model), model.record
    if plan is None and scheme_of(scheme).is_auto:
        if target_of(target).name == record.plan.target:
            return program, scheme, replace(record.plan, variants=())
        return program, record.scheme, None
    return program, scheme, plan


def _has_static_islands(target: Target, overrides: object, plan: object) -> bool:
    """Whether overrides or a plan ask for ranges, whatever the scheme; `Goal` checks types."""
    named = list(overrides.values()) if isinstance(overrides, Mapping) else []
    named += plan.precisions.values() if isinstance(plan, Plan) else ()
    table = target.capabilities
    return any(Scheme(each).needs_calibration(table) for each in named if isinstance(each, str))


def _examples(program: Program, example_inputs: Any) -> tuple[Feed, ...]:
    """The example inputs as the only feed, if they are given and are all that a feed needs."""
    if example_inputs is None:
        return ()
    try:
        return (normalize_feed(program.signature, example_inputs),)
    except FeedError:
        return ()


def _pipeline(given: Pipeline | str | None) -> Pipeline:
    if isinstance(given, Pipeline):
        return given
    if given is not None and not isinstance(given, str):
        raise ConfigurationError(
            f"pipeline must be a Pipeline or a text, it is {given!r}",
            fix="pass a text such as 'canonicalize,fuse-conv-bn'",
        )
    return Pipeline.parse(FLOAT_PIPELINE if given is None else given)


def _reporter(progress: bool | Progress) -> Progress:
    if isinstance(progress, bool):
        return shown_progress() if progress else Silent()
    return progress


def _calibrated(
    program: Program,
    target: Target,
    feeds: Iterable[Any] | None,
    scheme: Scheme,
    effort: Recipe,
    context: PassContext,
    reports: list[PipelineReport],
    variants: Sequence[Variant],
    islands: bool,
) -> Samples:
    """Observes what the target and the variants want, in one run; returns the samples kept.

    With `islands`, overrides or a plan ask for ranges where the scheme does not.

    Raises:
        CalibrationError: The scheme needs calibration data and there is none.
    """
    needed = scheme.needs_calibration(target.capabilities)
    if feeds is None:
        fixed = program.absorbed is not None and program.absorbed.values
        if needed and not scheme.is_auto and not fixed:
            raise CalibrationError(
                f"the scheme {scheme.precision!r} needs calibration data",
                fix="pass calibration=<iterable of feeds>, or scheme='dynamic'",
            )
        return Samples((), 0)
    keeper = Keeper(program.signature, feeds, 4 * effort.samples)
    if not (needed or islands):
        for _ in keeper:
            pass
        return Samples(tuple(keeper.kept[: effort.samples]), keeper.seen)
    method = scheme.observer or effort.observer
    context.feeds = keeper
    reports.append(Pipeline.parse(f"insert-observers{{method={method}}}").run(program, context))
    ask(program, target, variants)
    reports.append(Pipeline.parse("calibrate").run(program, context))
    judging, fitting = divided(keeper, program, effort.samples)
    return Samples(judging, keeper.seen, fitting)
