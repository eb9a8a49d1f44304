"""Predicted against true sensitivity: rank correlation over all regions, one at a time.

    python -m benchmarks.sensitivity --zoo FOLDER [--every] [NAMES...]

Predicted: sums over gates, as the search measures them: each by itself where the recipe's number of
probes allows it, else by group testing down to a floor below which a set does not matter. The
search does this when a plan breaks the bound, so the bound is the default one or half the loss of
all regions quantized, whichever is lower. With `--every`, each gate is measured by itself.
True: an artifact for ONNX Runtime that quantizes one region, its loss measured on the same samples.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from scipy.stats import spearmanr

from benchmarks.models import Model, add_models, models_of
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.calibration.keeper import Keeper
from qcompiler.choices.cost import uniform_trials
from qcompiler.choices.prediction import LossModel
from qcompiler.choices.sensitivity import FLOOR, measure_sensitivity
from qcompiler.config import FLOAT_PIPELINE, RECIPES
from qcompiler.decisions.forms import region_options
from qcompiler.frontends import load
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.gates import gate_model
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.probing import Prober
from qcompiler.outputs.asked import DEFAULT_NSR
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.search.losses import PROBE_FEEDS

NAMES = ("mobilenet_v2", "resnet18_mnist", "minilm_l6", "ppocr_v4_rec")
_NOTHING = 1e-9
"""Losses below this are rounding of float."""


def prepared(model: Model, samples: int) -> tuple[Workshop, list[dict]]:  # type: ignore[type-arg]
    """A workshop on the calibrated model and the samples kept."""
    source, target = load(model.path), OnnxRuntime()
    program = source.clone()
    keeper = Keeper(program.signature, model.feeds, samples)
    context = PassContext(target, keeper)
    Pipeline.parse(FLOAT_PIPELINE).run(program, context)
    Pipeline.parse("insert-observers{method=minmax},calibrate").run(program, context)
    options = region_options(program, target, target.regions(program))
    judge = Judge(keeper.kept, target.lower(source).run)
    return Workshop(program, target, options, judge), keeper.kept


def measure(model: Model, recipe: str, every: bool) -> str:
    """One line of results."""
    effort = RECIPES[recipe]
    workshop, feeds = prepared(model, 4)
    bound = DEFAULT_NSR
    whole = workshop.measured(workshop.plan(uniform_trials(workshop.options)[0]))
    if whole is not None and whole.loss is not None:
        bound = min(bound, whole.loss / 2)
    started = time.perf_counter()
    gates = gate_model(workshop.program, workshop.options, {})
    with Prober(gates, feeds[:PROBE_FEEDS]) as prober:
        found = measure_sensitivity(
            gates.gates, prober.losses, FLOOR * bound, 10**6 if every else effort.probes
        )
    quick = time.perf_counter() - started
    losses = LossModel(gates.losses(found.losses), gates.terms)
    started = time.perf_counter()
    predicted, true = [], []
    for each in workshop.options:
        for form in each.implementations[:1]:
            alone = replace(workshop, _built={})  # no sessions of other plans
            candidate = alone.measured(alone.plan({each.region.key: form.precision}))
            if candidate is None or candidate.loss is None or candidate.loss <= _NOTHING:
                continue
            predicted.append(losses.of_choice(each.region.key, form.precision))
            true.append(candidate.loss)
    slow = time.perf_counter() - started
    rank = spearmanr(predicted, true).statistic
    return (
        f"{model.name:16s} rank correlation {rank:.3f} over {len(true)} regions; "
        f"{found.probes} probes in {quick:.1f} s against {slow:.1f} s one at a time"
    )


def main() -> None:
    """Prints one line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--every", action="store_true", help="measure each gate by itself")
    given = parser.parse_args()
    models = models_of(given, usual=NAMES)
    for model in models:
        print(measure(model, given.recipe, given.every), flush=True)


if __name__ == "__main__":
    main()
