"""A few random networks; `benchmarks.random_graphs` runs hundreds."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
from onnx import TensorProto

from benchmarks import random_graphs, random_oracles
from benchmarks.random_graphs import Outcome, judge, judge_all, plan, table
from benchmarks.random_oracles import peer_outputs, sqnr
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
    """Negative control: what the same network gives, judged by other numbers and types."""
    made = next(each for each in map(net, itertools.count()) if "spelled" in each.layers)
    assert judge(made, "onnxruntime", "float32").outcome == "right"
    real = random_oracles.in_float
    for changed in (
        lambda a: a * 0.99 if a.dtype.kind == "f" else a,
        lambda a: a.astype(np.float16),
    ):
        monkeypatch.setattr(
            random_oracles, "in_float", lambda *given, to=changed: [to(a) for a in real(*given)]
        )
        assert judge(made, "onnxruntime", "float32").outcome == "wrong"


def test_integers_are_judged_by_agreement() -> None:
    wanted, found = np.arange(10), np.arange(10)
    assert random_oracles._lost("int8", wanted, found, None, 0.0) == ""
    found[:6] = -1
    assert "40% equal" in random_oracles._lost("int8", wanted, found, None, 0.0)
    assert random_oracles._lost("int8", wanted, found, found, 0.0) == ""
    assert random_oracles._lost("float32", wanted, found, None, 0.0)


def test_the_peer_is_measured() -> None:
    """On the network without bodies, which is the same function."""
    made = next(
        each for each in map(net, itertools.count()) if "looped" in each.layers and each.plain
    )
    assert made.plain is not None
    wanted = random_oracles.in_float(made.model, made.feeds[0])
    for a, b in zip(wanted, random_oracles.in_float(made.plain, made.feeds[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    reached = peer_outputs(made, made.feeds[0])
    assert reached is not None
    assert 5 < min(map(sqnr, wanted, reached)) < 80
    assert sqnr(np.ones(4, np.float32), np.full(4, np.nan, np.float32)) == -np.inf


def test_networks_cover_what_models_have() -> None:
    made = [net(seed) for seed in range(120)]
    inputs = [each for n in made for each in n.model.graph.input]
    kinds = {each.type.tensor_type.elem_type for each in inputs}
    assert kinds >= {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64}
    named = {axis.dim_param for each in inputs for axis in each.type.tensor_type.shape.dim}
    assert named >= {"batch", "steps", "height", "width"}
    assert {each.name for each in inputs} >= {"x", "keep", "bias", "lengths"}
    assert {n.model.opset_import[0].version for n in made} >= set(range(13, 24))
    ops = {node.op_type for n in made for node in n.model.graph.node}
    assert ops >= {"If", "Loop", "Scan", "LSTM", "GRU", "Resize", "ConvTranspose", "Attention"}


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
