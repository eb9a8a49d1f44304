"""A clock for the search that says what it is told to: nothing is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import pytest

from qcompiler.backends.onnxruntime.artifact import OrtArtifact
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.config import Recipe
from qcompiler.execution.timing import Latency
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.signature import Feed
from qcompiler.measurement.pace import Pace
from qcompiler.target.artifact import CostSample


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search has the recipe's whole time, not a share of what came before.

    On a loaded machine that was over before the second candidate. Budgets of a test are kept.
    """
    monkeypatch.setattr(Recipe, "search_seconds", lambda self, elapsed, named=False: self.seconds)


ENGINES: list[tuple[type, type]] = [(OnnxRuntime, OrtArtifact)]
if find_spec("openvino"):
    from qcompiler.backends.openvino.artifact import OpenVinoArtifact
    from qcompiler.backends.openvino.target import OpenVino

    ENGINES.append((OpenVino, OpenVinoArtifact))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the clock: `clock(0.5, after=0.9)`.

    Of profiles: a region takes 100 µs in float and 40 µs in integers, on any machine. Of timings:
    every contender takes the first argument times what float takes, or the last ratio whose word
    its name contains.
    """

    def profile(self: Any, feeds: Sequence[Feed]) -> CostSample:
        plan = self._program.plan
        costs = {k: 1e-4 if p == FLOAT else 4e-5 for k, p in plan.precisions.items()}
        return CostSample(costs, 0.0, 0.0)

    def set_to(others: float = 1.0, /, **ratios: float) -> None:
        def timed(runs: Mapping[str, object], *_: float, **__: object) -> dict[str, Latency]:
            found = dict.fromkeys(runs, others)
            for name in runs:
                for word, ratio in ratios.items():
                    found[name] = ratio if word in name else found[name]
            found["float"] = 1.0
            return {name: Latency(r * 1e-3, r, r, r, 11) for name, r in found.items()}

        monkeypatch.setattr("qcompiler.search.proof.compare_latency", timed)

    for target, artifact in ENGINES:
        monkeypatch.setattr(artifact, "profile", profile)
        monkeypatch.setattr(target, "conversion_cost", lambda self: None)
    monkeypatch.setattr(Pace, "factor", lambda self: 1.0)
    return set_to
