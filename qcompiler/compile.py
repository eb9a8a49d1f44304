"""`qc.compile`: model in, quantized program for one runtime out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qcompiler.calibration.loading import front_of, loaded
from qcompiler.compiled import Compiled
from qcompiler.config import FLOAT_PIPELINE, RECIPES, recipe_of
from qcompiler.decisions.given_ranges import Ranges
from qcompiler.decisions.overrides import ByHand, Overrides, by_hand
from qcompiler.decisions.roundings import remembered
from qcompiler.decisions.schemes import Scheme, scheme_of
from qcompiler.errors import (
    ConfigurationError,
    FeedError,
)
from qcompiler.execution.feeds import normalize_feed
from qcompiler.frontends.load import Dynamic
from qcompiler.ir.plan import Plan, plan_of
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.verifier import require_valid
from qcompiler.measurement.data_check import data_findings
from qcompiler.measurement.pass_check import check_passes
from qcompiler.measurement.scoring import Evaluate
from qcompiler.measurement.variants import variants_of
from qcompiler.outputs.asked import Asked, MaxLoss, output_losses_of
from qcompiler.pipeline.contract import PassContext, Progress, step
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.targets import members_of, target_of
from qcompiler.report.reporter import reporter_of
from qcompiler.search.engines import chosen_engine
from qcompiler.search.goal import Goal
from qcompiler.search.job import Job
from qcompiler.search.observing import calibrated
from qcompiler.target.contract import Target


@remembered()
def compile(  # noqa: A001 - the project's one verb
    model: object,
    target: str | Target = "onnxruntime",
    calibration: Iterable[Any] | None = None,
    *,
    example_inputs: Any = None,
    dynamic: Dynamic = None,
    scheme: str | Scheme = "auto",
    overrides: Overrides | None = None,
    ranges: Ranges | None = None,
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
        target: Name of a registered target, `name{option=value}`, or a Target. `cpu` tries every
            installed engine for this processor and returns the fastest (docs/cpu.md).
        calibration: Feeds (dicts by input name, tuples, or arrays; numpy or torch); read once and
            streamed, so a generator over any number of samples does.
        example_inputs: Arguments for capturing a torch module; the first feed by default.
        dynamic: Which dimensions of a torch module's inputs stay open, see `load`. By default the
            batch, and what differs between the first feeds.
        scheme: `auto`, `int8`, `dynamic`, `int8-weights`, `int4-weights`, `int16`, `float32`,
            ... (docs/schemes.md), or a `Scheme`.
        overrides: Precision by glob over module paths, node names or `op:OpType`; or an `Override`
            with more to fix: bits, and by the same patterns over values observer, scale, range.
        ranges: Lowest and highest number of values by name, or by glob over values, nodes and
            modules, or `op:OpType`, in the place of what calibration saw: `{"logits": (-8, 8)}`.
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
    hand, single = by_hand(overrides, ranges), _for_single_passes(checkpoint)
    effort, asked, plan = recipe_of(recipe), scheme_of(scheme), plan_of(plan)
    members = members_of(target_of(target, several=True), plan)
    reporter = reporter_of(progress)
    searching = asked.is_auto and plan is None
    with step(reporter, "read the model"):
        source, feeds = loaded(model, calibration, example_inputs, dynamic, not searching)
    model, source = front_of(model, source, members.targets[0])
    if evaluate is None:  # an unknown output is told before calibration
        output_losses_of(loss, max_loss, source.signature.output_names)
    program, targets = replace(source), members.targets  # the pipeline clones the graph
    context = PassContext(targets[0], None, reporter, executor, single)
    reports = [_pipeline(pipeline).run(program, context)]
    require_valid(program, "after the float passes")
    plain = program.clone() if program.absorbed is not None or hand.params else program
    islands = any(_has_static_islands(each, hand, plan) for each in targets)
    given = variants if plan is None or plan.variants is None else plan.variants
    tried = variants_of(effort, recipe, given)
    with remembered(program.absorbed):
        kept = calibrated(program, targets, feeds, asked, effort, context, reports, tried, islands)
        hand.apply(program)
        limited = effort.limited(time.perf_counter() - started, searching, named=bool(given))
        rules = hand.precisions
        goal = Goal(asked, evaluate, max_loss, objective, budget, rules, plan, tried, loss)
        examples = kept.feeds or _examples(source, example_inputs)
        source, program, plain = (each.of_data(kept.digest) for each in (source, program, plain))
        job = Job(model, source, program, plain, kept, examples, goal, limited, reporter, executor)
        _check_own_passes(pipeline, job, targets[0], single)
        chosen, selection = chosen_engine(job, members)
    found = data_findings(source, kept.all_kept, seen=kept.seen, run=not selection.interrupted)
    selection = replace(selection, diagnostics=(*selection.diagnostics, *found))
    seconds = time.perf_counter() - started
    verify = effort is not RECIPES["fast"] and not selection.interrupted
    with step(reporter, "verify"):
        return Compiled.assemble(source, chosen, selection, reports, seconds, kept, verify)


def _check_own_passes(
    pipeline: Pipeline | str | None, job: Job, target: Target, options: dict[str, Any]
) -> None:
    """Compares what the user's passes made with the model, before anything is searched.

    Raises:
        PassFailedError: They changed what it computes.
    """
    if pipeline is None:
        return
    passes, fresh = _pipeline(pipeline), partial(PassContext, target, options=options)
    check_passes(passes, job.model, job.source, job.program, target, job.examples, fresh)


def _for_single_passes(checkpoint: object) -> dict[str, Any]:
    """Arguments that concern single passes, checked.

    Raises:
        ConfigurationError: No path of a file.
    """
    if checkpoint is not None and not isinstance(checkpoint, (str, Path)):
        raise ConfigurationError(f"checkpoint is {checkpoint!r}", fix="give the path of a file")
    return {"checkpoint": checkpoint}


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
        asked = target_of(target, several=True)
        if record.plan.target in (asked.name, *asked.members):
            return program, scheme, replace(record.plan, variants=())
        return program, record.scheme, None
    return program, scheme, plan


def _has_static_islands(target: Target, hand: ByHand, plan: object) -> bool:
    """Whether overrides or a plan ask for ranges, whatever the scheme."""
    if hand.fixes_values:
        return True
    named = list(hand.precisions.values())
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
