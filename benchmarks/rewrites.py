"""Float rewrites on trained models: which apply, and what each saves in the form that runs.

    python -m benchmarks.rewrites --zoo FOLDER [--target onnxruntime] [--threads 1] [NAMES...]

Each rewrite is tried by itself, as a compilation with that one variant tries it: the fastest form
before it against the fastest one after it, interleaved (`qcompiler/search/rewrites.py`).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import qcompiler as qc
from benchmarks.models import add_models, models_of
from qcompiler.pipeline import registry
from qcompiler.pipeline.options import option_fields


def rewrites() -> list[str]:
    """Every registered pass that is judged by time."""
    return [name for name in registry.PASSES.names() if registry.find_pass(name).gains == "latency"]


def main() -> None:
    """One line for every rewrite that applies."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    target = registry.find_target(given.target)()
    if given.threads is not None and "threads" in option_fields(type(target)):
        options: dict[str, Any] = {"threads": given.threads}
        target = replace(target, **options)
    models = models_of(given)
    for model in models:
        for name in rewrites():
            compiled = qc.compile(
                model.path, target, model.feeds, variants=[name], recipe="balanced", budget=0.0
            )
            for row in compiled.report.variants:
                print(f"{model.name:20s} {row.told}", flush=True)


if __name__ == "__main__":
    main()
