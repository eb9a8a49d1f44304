"""Wall time and peak memory of compiling, against `quantize_static` on the same feeds.

    python -m benchmarks.compile_cost --zoo FOLDER [--scheme int8] [--recipe fast] [NAMES...]

Every measurement is a process of its own, the quickest of `--runs` counts; imports of both tools
are outside (ours, with every pass, are printed once). Ours gets the same samples, and four times
of them for a further figure of memory: what is streamed does not grow.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.isolation import with_bytecode
from benchmarks.models import add_models, from_zoo
from benchmarks.peers import PEERS


@dataclass(frozen=True)
class Run:
    """What a child does.

    Attributes:
        tool: `qcompiler` or `quantize_static`.
        name: Model.
        repeat: How often the samples are given.
    """

    tool: str
    name: str
    repeat: int = 1

    def measured(self, given: argparse.Namespace) -> dict[str, float]:
        """In the child: seconds of the tool alone, and the peak of the whole process."""
        model = from_zoo(given.zoo, [self.name])[0]
        feeds = itertools.chain.from_iterable([model.feeds] * self.repeat)
        options = {"scheme": given.scheme, "recipe": given.recipe}
        if self.tool == "qcompiler":
            _import_ours()  # only here: it counts in the peak
            import qcompiler.compile
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "out.onnx"
            started, busy = time.perf_counter(), time.process_time()
            if self.tool == "qcompiler":
                qcompiler.compile(model.path, calibration=feeds, **options).save(target)
            else:
                PEERS["ort_u8"](model.path, list(feeds), target)
            seconds, cpu = time.perf_counter() - started, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"seconds": seconds, "cpu": cpu, "peak_mb": peak / 1024}

    def best(self, given: argparse.Namespace) -> dict[str, float]:
        """The least of each figure over the runs, in fresh processes; empty where it fails."""
        found = [self._child(given) for _ in range(given.runs)]
        return {key: min(each[key] for each in found) for key in found[0]} if all(found) else {}

    def _child(self, given: argparse.Namespace) -> dict[str, float]:
        options = ["--scheme", given.scheme, "--recipe", given.recipe, "--zoo", str(given.zoo)]
        command = [*CHILD, *options, "--child", self.tool, "--repeat", str(self.repeat), self.name]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=given.environment
        )
        if done.returncode:
            return {}
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))


CHILD = [sys.executable, "-m", "benchmarks.compile_cost"]
_IMPORTS = """
import time
import onnx, onnxruntime.quantization
started = time.perf_counter()
from benchmarks.compile_cost import _import_ours
_import_ours()
print(time.perf_counter() - started)
"""


def _import_ours() -> None:
    """What a compilation imports: passes, the target and scipy.special, too, loaded when asked."""
    import scipy.special  # noqa: F401

    from qcompiler.pipeline import registry

    for name in registry.PASSES.names():
        registry.find_pass(name)
    registry.find_target("onnxruntime")


def imports(environment: Mapping[str, str]) -> float:
    """Seconds of our imports beside those of ONNX and ONNX Runtime, bytecode in place."""
    command = [sys.executable, "-c", _IMPORTS]
    times = [
        float(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
        for _ in range(3)
    ]
    return min(times[1:])


def row(name: str, given: argparse.Namespace) -> float:
    """Prints a model's figures; returns the ratio of wall times, NaN where one fails."""
    ours = Run("qcompiler", name).best(given)
    more = Run("qcompiler", name, 4).best(given)
    theirs = Run("quantize_static", name).best(given)
    if not (ours and more and theirs):
        failed = "ours" if theirs else "quantize_static"
        print(f"{name:20s} {failed} fails; ours {ours.get('seconds', math.nan):.1f} s", flush=True)
        return math.nan
    ratio = ours["seconds"] / theirs["seconds"]
    print(
        f"{name:20s} wall {ours['seconds']:6.2f} s / {theirs['seconds']:6.2f} s = {ratio:.2f}"
        f"   cpu {ours['cpu'] / theirs['cpu']:.2f}"
        f"   peak {ours['peak_mb']:5.0f} MB / {theirs['peak_mb']:5.0f} MB ="
        f" {ours['peak_mb'] / theirs['peak_mb']:.2f}, with 4x samples {more['peak_mb']:5.0f} MB",
        flush=True,
    )
    return ratio


def main() -> None:
    """Prints a row per model, and the geometric mean of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser, labels=True)
    parser.add_argument("--scheme", default="int8")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--child")
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(Run(given.child, given.names[0], given.repeat).measured(given)))
        return
    with tempfile.TemporaryDirectory() as folder:
        given.environment = with_bytecode(folder)
        print(f"imports {imports(given.environment):.2f} s")
        names = given.names or [model.name for model in from_zoo(given.zoo, [])]
        ratios = [found for name in names if not math.isnan(found := row(name, given))]
    if ratios:
        print(f"geometric mean of wall times {statistics.geometric_mean(ratios):.2f}")


if __name__ == "__main__":
    main()
