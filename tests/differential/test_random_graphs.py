"""A few random networks; `benchmarks.random_graphs` runs hundreds."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import random_graphs
from benchmarks.random_graphs import Outcome, judge, judge_all, peer_sqnr, plan, sqnr, table
from qcompiler.execution.openvino.session import available
from qcompiler.testing.random_nets import Net, net

ENGINES = ("onnxruntime", "fbgemm", *(["openvino"] if available() else []))


@pytest.mark.parametrize(
    ("seed", "target"), [(700 + i, ENGINES[i % len(ENGINES)]) for i in range(6)]
)
def test_a_random_network_in_int8(seed: int, target: str) -> None:
    found = judge(net(seed), target, "int8")
    assert not found.is_fault, found
    assert found.outcome != "refused", found


def test_a_seed_gives_the_same_network() -> None:
    one, other = net(11), net(11)
    assert one.model.SerializeToString() == other.model.SerializeToString()
    np.testing.assert_array_equal(one.feeds[0]["x"], other.feeds[0]["x"])
    assert net(12).model.SerializeToString() != one.model.SerializeToString()


def test_noise_on_a_result_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the same network, judged by another one's outputs."""
    made = net(3)
    assert judge(made, "onnxruntime", "float32").outcome == "right"
    shifted = replace(made, feeds=tuple({"x": each["x"] * 0.99} for each in made.feeds))
    wanted = random_graphs.in_float(shifted.model, shifted.feeds[0])
    monkeypatch.setattr(random_graphs, "in_float", lambda *_: wanted)
    found = judge(made, "onnxruntime", "float32")
    assert found.outcome == "wrong"
    assert found.is_fault


def test_the_peer_is_measured() -> None:
    made = next(each for each in map(net, itertools.count(3)) if "linear" in each.layers)
    reached = peer_sqnr(made, random_graphs.in_float(made.model, made.feeds[0]))
    assert reached is not None
    assert 10 < reached < 80
    assert sqnr(np.ones(4, np.float32), np.full(4, np.nan, np.float32)) == -np.inf


def test_a_death_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def fatal(made: Net, target: str, scheme: str, *_: object) -> Outcome:
        if made.seed == 1:
            os._exit(7)
        return Outcome(made.seed, target, scheme, "right")

    monkeypatch.setattr(random_graphs, "judge", fatal)
    jobs = itertools.islice(plan(0, ["fbgemm", "x86"], ["int8"], every=False), 3)
    found = list(judge_all(jobs, seconds=30.0))
    assert [(each.seed, each.target, each.outcome) for each in found] == [
        (0, "fbgemm", "right"), (1, "x86", "died"), (2, "fbgemm", "right"),
    ]  # fmt: skip
    assert "exit code 7" in found[1].reason
    assert "| x86 int8 | 1 |" in table(found)
