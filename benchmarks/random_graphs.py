"""Random networks compiled for every CPU target: nothing foreign, nothing wrong, nothing dies.

    python -m benchmarks.random_graphs --minutes 20 [--seed 0] [--count N] [--jobs 2]
        [--targets onnxruntime openvino ...] [--schemes int8 auto] [--every] [--list] [--json FILE]
        [--recipe fast] [--variants "choose-ranges" ...]

Each network (`random_nets`) goes to one target and up to four schemes, the next one to the next, or
to all of them with `--every`. The oracle is the float model on ONNX Runtime without its optimizer,
and for int8 ONNX Runtime's own quantizer (`quantize_static`, uint8 activations, int8 weights per
channel) on the same samples and on the network without loops and branches. A calibration feed is
judged, and one of other sizes where the model has open axes. The classes are those of
`backend_suite`; `wrong` is another shape or type of some output, and

- for `float32`: noise above -60 dB of the signal;
- for `int8`: more than 6 dB below ONNX Runtime's quantizer, and below 30 dB;
- for `auto`: noise above twice the bound that the compiler promises by default;
- for any other scheme: less than 5 dB, less than -6 dB with weights of few bits;
- of integers and truth values: fewer than half are equal, and fewer than the quantizer's half.

`--variants` puts each of these accuracy passes, by itself, into the plan that the scheme led to and
compiles that plan again; one that the compilation reports as failed is `in a pass`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.backend_suite import CLASSES
from benchmarks.isolation import in_workers
from benchmarks.random_oracles import judged
from qcompiler.compile import compile as compile_
from qcompiler.config import RECIPES
from qcompiler.decisions.schemes import SCHEMES as NAMED
from qcompiler.errors import LegalityError, PassFailedError, QCompilerError
from qcompiler.testing.random_nets import Net, net

TARGETS = ("onnxruntime", "openvino", "fbgemm", "onednn", "x86", "qnnpack", "executorch")
SCHEMES = ("int8", "auto")


@dataclass(frozen=True)
class Outcome:
    """What became of one network on one target.

    Attributes:
        seed: Of the network.
        target: Its name.
        scheme: As `compile` takes it.
        outcome: One of `backend_suite.CLASSES`.
        reason: The error or difference, in one line.
        layers: What the network is made of.
        sqnr: dB of the worst output; infinite for equal ones.
        peer: dB that ONNX Runtime's quantizer reaches, None if it failed or was not asked.
        integers: Regions that run in integers.
    """

    seed: int
    target: str
    scheme: str
    outcome: str
    reason: str = ""
    layers: tuple[str, ...] = ()
    sqnr: float | None = None
    peer: float | None = None
    integers: int = 0

    @property
    def is_fault(self) -> bool:
        """Whether it is to be mended."""
        return self.outcome not in ("right", "nothing", "refused")


def judge(
    made: Net, target: str, scheme: str, recipe: str = "fast", variants: Sequence[str] = ()
) -> Outcome:
    """Compiles and runs one network in this process.

    Args:
        made: The network.
        target: Its name.
        scheme: As `compile` takes it.
        recipe: Likewise.
        variants: Accuracy passes; each is put into the plan that was found and compiled anew.
    """
    result = partial(Outcome, made.seed, target, scheme, layers=made.layers)
    compiled_as = partial(compile_, made.model, target, list(made.feeds), recipe=recipe)
    try:
        compiled = compiled_as(scheme=scheme)
        for text in variants if compiled.plan.precisions else ():
            forced = compiled_as(plan=replace(compiled.plan, variants=(text,)))
            failed = [each.told for each in forced.report.variants if "failed" in each.told]
            if failed:
                return result("in a pass", "; ".join(failed))
            if not (checked := forced.verify(made.feeds[:1])).ok:
                return result("verify", f"{text}: {checked.summary}")
        feeds = [made.feeds[0], *([] if made.unseen is None else [made.unseen])]
        results = [[np.asarray(each) for each in compiled.run(feed)] for feed in feeds]
        verified = compiled.verify(made.feeds[:1])
    except PassFailedError as error:
        return result("in a pass", _line(error))
    except LegalityError as error:
        nothing = "no op that the target quantizes" in str(error) or "no region" in str(error)
        return result("nothing" if nothing else "refused", _line(error))
    except QCompilerError as error:
        return result("refused", _line(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a result
        return result("foreign", f"{type(error).__name__}: {_line(error)}")
    result = partial(result, integers=verified.integer)
    for feed, found in zip(feeds, results, strict=True):
        verdict = judged(made, scheme, feed, found)
        result = partial(result, sqnr=verdict.quality, peer=verdict.peer)
        if verdict.wrong:
            unseen = " (sizes not calibrated with)" if feed is made.unseen else ""
            return result("wrong", verdict.wrong + unseen)
    return result("right") if verified.ok else result("verify", verified.summary)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def judge_all(
    jobs: Sequence[tuple[int, str, str]] | Iterator[tuple[int, str, str]],
    *,
    seconds: float,
    workers: int = 1,
    until: float = math.inf,
    recipe: str = "fast",
    variants: Sequence[str] = (),
) -> Iterator[Outcome]:
    """The outcome of every (seed, target, scheme), in worker processes.

    Args:
        jobs: What to do, in order; may have no end.
        seconds: One that takes longer is stopped.
        workers: Processes.
        until: `time.monotonic` after which nothing new is begun.
        recipe: As `compile` takes it.
        variants: Accuracy passes that each plan is compiled with, one by one.
    """
    # Workers are forked before jobs are taken, so a number has to hold the whole job.
    coded = ((seed * len(PAIRS) + PAIRS.index((t, s))) for seed, t, s in jobs)
    timed = itertools.takewhile(lambda _: time.monotonic() < until, coded)
    work = partial(_work, recipe=recipe, variants=variants)
    yield from in_workers(work, timed, _died, seconds=seconds, jobs=workers)


PAIRS = [(t, s) for t in TARGETS for s in NAMED]


def _work(number: int, recipe: str, variants: Sequence[str]) -> Outcome:
    seed, pair = divmod(number, len(PAIRS))
    return judge(net(seed), *PAIRS[pair], recipe, variants)


def _died(number: int, how: str) -> Outcome:
    seed, pair = divmod(number, len(PAIRS))
    return Outcome(seed, *PAIRS[pair], "died", how, net(seed).layers)


def plan(
    seed: int, targets: Sequence[str], schemes: Sequence[str], every: bool
) -> Iterator[tuple[int, str, str]]:
    """(seed, target, scheme) without end: each network on one target, or on all of them."""
    turning = itertools.cycle(schemes)
    for offset in itertools.count():
        chosen = targets if every else [targets[offset % len(targets)]]
        asked = schemes if every else list(itertools.islice(turning, min(4, len(schemes))))
        yield from itertools.product([seed + offset], chosen, asked)


def table(results: Sequence[Outcome]) -> str:
    """Counts per target, scheme and class as a Markdown table."""
    head = ["", "graphs", *CLASSES, "with integers"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for key in sorted({(each.target, each.scheme) for each in results}):
        rows = [each for each in results if (each.target, each.scheme) == key]
        counts = Counter(each.outcome for each in rows)
        cells = [str(counts[kind]) for kind in CLASSES]
        integers = sum(each.integers > 0 for each in rows)
        lines.append(f"| {' '.join(key)} | {len(rows)} | {' | '.join(cells)} | {integers} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--count", type=int, help="stop after so many compilations")
    parser.add_argument("--seed", type=int, default=0, help="of the first network")
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS)
    parser.add_argument("--schemes", nargs="+", default=SCHEMES, choices=tuple(NAMED))
    parser.add_argument("--recipe", default="fast", choices=tuple(RECIPES))
    parser.add_argument("--variants", nargs="+", default=(), help="accuracy passes to force")
    parser.add_argument("--every", action="store_true", help="each network on every target")
    parser.add_argument("--seconds", type=float, default=120.0, help="time of one compilation")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print what is no success as it comes")
    parser.add_argument("--json", type=Path, help="write every outcome to this file")
    given = parser.parse_args()
    jobs = plan(given.seed, given.targets, given.schemes, given.every)
    until = time.monotonic() + 60 * given.minutes
    results = []
    for each in judge_all(itertools.islice(jobs, given.count), seconds=given.seconds,
                          workers=given.jobs, until=until, recipe=given.recipe,
                          variants=given.variants):  # fmt: skip
        results.append(each)
        if given.list and (each.is_fault or each.outcome == "refused"):
            print(each, flush=True)
    print(table(results))
    print(f"{len({each.seed for each in results})} networks, "
          f"{sum(each.is_fault for each in results)} faults")  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in results], indent=1))


if __name__ == "__main__":
    main()
