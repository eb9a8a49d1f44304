"""Functions and layers of torch with every argument that networks give them, compiled and called.

    python -m benchmarks.torch_forms --target onnxruntime --scheme float32 [--sample 40]
        [--seconds 120] [--jobs 1] [--together 8] [--list wrong foreign] [--json FILE] [WORDS...]

Each form of `benchmarks/torch_cases` is compiled with `recipe="fast", budget=0` and called with its
feeds, with further calls of its own, and with other sizes of axes 0 and 1; the oracle is the module
itself. Words choose forms by their names, or by the name of their file. The classes:

- `right`: values, shapes, types and nesting of the module (int8: 10 dB; other sizes and calls may
  also give an error of qcompiler's);
- `told`: something else, and the report warns of it; `noisy`: int8 below 10 dB;
- `nothing`: no op that the target quantizes; `refused`: another error that names line, module or
  argument; `placeless`: one that names none;
- `wrong`: something else, without a word; `foreign`: an exception that is not ours; `died`: the
  process ended or was stopped after `--seconds`; `skipped`: torch itself refuses it.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch

from benchmarks.isolation import in_workers
from benchmarks.torch_cases import FILES
from benchmarks.torch_cases.case import Case
from benchmarks.torch_judging import CLASSES, Result, judged


def forms(words: Sequence[str] = ()) -> list[Case]:
    """All forms, or those with one of the words in their name or that of their file."""
    torch.manual_seed(0)
    return [
        case
        for file, case in _all_forms()
        if not words or file in words or any(word in case.name for word in words)
    ]


def _all_forms() -> Iterator[tuple[str, Case]]:
    for file, makers in FILES.items():
        module = import_module(f"benchmarks.torch_cases.{file}")
        for maker in makers:
            yield from ((file, case) for case in getattr(module, maker)())


def judge_all(
    chosen: Sequence[Case],
    target: str,
    scheme: str,
    *,
    seconds: float = 120.0,
    jobs: int = 1,
    together: int = 1,
) -> Iterator[Result]:
    """The result of every form, in the order in which they are done.

    Args:
        chosen: The forms; workers inherit them.
        target: As `compile` takes it.
        scheme: As `compile` takes it.
        seconds: Forms that take longer are stopped.
        jobs: Worker processes.
        together: How many forms are tried in one module first.
    """
    groups = [chosen[start : start + together] for start in range(0, len(chosen), together)]
    found = in_workers(
        lambda i: _quietly(groups[i], target, scheme),
        range(len(groups)),
        lambda i, how: [Result(case.name, "died", how) for case in groups[i]],
        seconds=seconds,
        jobs=min(jobs, len(groups)),
    )
    for results in found:
        alone = len(results) > 1 and results[0].outcome == "died"
        names = {each.name for each in results}
        again = [case for case in chosen if case.name in names] if alone else []
        yield from judge_all(again, target, scheme, seconds=seconds) if alone else results


def _quietly(group: Sequence[Case], target: str, scheme: str) -> list[Result]:
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    return judged(group, target, scheme)


def table(rows: Mapping[str, Sequence[Result]]) -> str:
    """Counts per class as a Markdown table."""
    head = ["", "forms", *CLASSES]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name, results in rows.items():
        counts = Counter(each.outcome for each in results)
        cells = [name, str(len(results)), *(str(counts[kind]) for kind in CLASSES)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only forms whose name or file holds one of these")
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--scheme", default="float32")
    parser.add_argument("--sample", type=int, help="about so many forms, evenly spread")
    parser.add_argument("--seconds", type=float, default=120.0, help="time of one group of forms")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--together", type=int, default=1, help="forms in one module at first")
    parser.add_argument("--list", nargs="*", default=(), choices=CLASSES, metavar="CLASS")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    given = parser.parse_args()
    chosen = forms(given.words)
    chosen = chosen[:: max(1, len(chosen) // given.sample)] if given.sample else chosen
    results = []
    options = {"seconds": given.seconds, "jobs": given.jobs, "together": given.together}
    for each in judge_all(chosen, given.target, given.scheme, **options):
        results.append(each)
        if each.outcome in given.list:
            print(f"{each.outcome}: {each.name}: {' '.join(each.reason.split())[:400]}", flush=True)
        if given.json:
            given.json.write_text(json.dumps([asdict(each) for each in results], indent=1))
    print(table({f"{given.scheme} on {given.target}": results}))


if __name__ == "__main__":
    main()
