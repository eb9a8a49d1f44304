"""Probes and candidates: the same numbers and the same plan on threads, processes and Dask."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.calibration.keeper import Keeper
from qcompiler.choices.cost import CostModel, elements_per_run, uniform_trials
from qcompiler.choices.objective import Objective, footprint
from qcompiler.choices.prediction import LossModel
from qcompiler.config import FLOAT_PIPELINE
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.errors import LoweringError
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.measurement.evaluation import plan_loss, plan_losses
from qcompiler.measurement.gate import FLAGS, Gate, GateModel
from qcompiler.measurement.gates import gate_model
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.loss import noise_to_signal
from qcompiler.measurement.probing import Prober
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.search.attempts import Attempts
from qcompiler.search.loop import Search
from qcompiler.search.state import Limits, SearchState
from qcompiler.target.artifact import CostSample


@dataclass(frozen=True, eq=False)
class Bench:
    """A calibrated program with its options, samples and switchable model."""

    source: Program
    program: Program
    target: OnnxRuntime
    options: list[Options]
    feeds: tuple[Feed, ...]
    gates: GateModel

    def judge(self) -> Judge:
        return Judge(self.feeds, self.target.lower(self.source).run)


@pytest.fixture(scope="module")
def bench(digits_path: Path, digits_feeds: list[Feed]) -> Bench:
    source, target = load(onnx.load(digits_path)), OnnxRuntime(threads=1)
    program = source.clone()
    keeper = Keeper(program.signature, digits_feeds, 3)
    context = PassContext(target, keeper)
    Pipeline.parse(FLOAT_PIPELINE).run(program, context)
    Pipeline.parse("insert-observers{method=minmax},calibrate").run(program, context)
    options = region_options(program, target, target.regions(program))
    gates = gate_model(program, options, {})
    return Bench(source, program, target, options, tuple(keeper.kept), gates)


@dataclass(eq=False)
class Recorded(Workshop):
    """Real losses, but times from a table: integers cost a third of float."""

    times: Mapping[str, float] = field(default_factory=dict)

    def measured(self, plan: Plan, feeds: Sequence[Feed] = ()) -> Candidate | None:
        candidate = super().measured(plan, ())
        assert candidate is not None
        candidate.sample = CostSample(
            {k: self.times[k] / (1 if p == FLOAT else 3) for k, p in plan.precisions.items()},
            0.0,
            0.0,
        )
        candidate.seconds = candidate.sample.total
        return candidate


def searched(bench: Bench, max_nsr: float, executor: Executor | None) -> SearchState:
    draw = np.random.default_rng(1)
    times = {each.region.key: float(draw.uniform(1e-5, 1e-4)) for each in bench.options}
    workshop = Recorded(
        bench.program, bench.target, bench.options, bench.judge(), executor=executor, times=times
    )
    elements = elements_per_run(bench.program, bench.options, 1)
    attempts = Attempts(
        workshop,
        CostModel(elements, None),
        Limits(max_nsr, rounds=6, probes=60),
        bench.feeds,
        Objective.of("latency"),
        footprint(bench.options, elements),
    )
    return Search(attempts, lambda candidate: True, lambda: bench.gates, executor=executor).run()


def plan_of(state: SearchState, max_nsr: float) -> str:
    """JSON of the fastest plan within the bound."""
    good = [each for each in state.frontier if each.loss is not None and each.loss <= max_nsr]
    return min(good, key=lambda each: each.seconds or 0.0).plan.to_json()


@pytest.fixture(scope="module")
def serial(bench: Bench) -> tuple[float, SearchState]:
    """A bound that makes the search look at sensitivities, and what it finds alone."""
    everything = {
        each.region.key: each.implementations[0].precision
        for each in bench.options
        if each.implementations
    }
    workshop = Workshop(bench.program, bench.target, bench.options, bench.judge())
    candidate = workshop.measured(workshop.plan(everything))
    assert candidate is not None
    assert candidate.loss
    bound = candidate.loss / 3
    return bound, searched(bench, bound, None)


def assert_same(found: SearchState, expected: SearchState, bound: float) -> None:
    assert found.losses is not None
    assert expected.losses is not None
    assert dict(found.losses.gates) == dict(expected.losses.gates)
    assert plan_of(found, bound) == plan_of(expected, bound)
    assert found.log == expected.log


def test_the_serial_search_needs_sensitivities(serial: tuple[float, SearchState]) -> None:
    bound, state = serial
    assert state.losses is not None
    quantized = [each.quantized for each in state.frontier if (each.loss or 0.0) <= bound]
    assert 0 < max(quantized) < max(each.quantized for each in state.frontier)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_give_the_same_plan(
    bench: Bench, serial: tuple[float, SearchState], workers: int
) -> None:
    with ThreadPoolExecutor(workers) as pool:
        assert_same(searched(bench, serial[0], pool), serial[1], serial[0])


def _kill_me(path: str) -> bool:
    """Ends the worker the first time it is called; a marker file tells the times apart."""
    marker = Path(path)
    if marker.exists():
        return False
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return True


class Murderer(Executor):
    """Passes work on, and kills a worker in the middle of it."""

    def __init__(self, inner: Executor, marker: Path, after: int) -> None:
        self._inner, self._marker, self._after, self._count = inner, marker, after, 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._count += 1
        if self._count == self._after:
            self._inner.submit(_kill_me, str(self._marker))
        return self._inner.submit(fn, *args, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 6], ids=["while judging candidates", "while probing"])
def test_a_process_pool_whose_worker_dies_gives_the_same_plan(
    bench: Bench, serial: tuple[float, SearchState], tmp_path: Path, after: int
) -> None:
    import multiprocessing

    marker = tmp_path / "killed"
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = searched(bench, serial[0], Murderer(pool, marker, after))
    assert marker.exists(), "no worker was killed"
    assert_same(found, serial[1], serial[0])


@pytest.mark.slow
@pytest.mark.parametrize("kill", [0, 1, 6])
def test_dask_gives_the_same_plan(
    bench: Bench, serial: tuple[float, SearchState], kill: int
) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor: Executor = client.get_executor()
        if kill:
            executor = _Reaper(executor, cluster, kill)
        found = searched(bench, serial[0], executor)
        if kill:
            assert isinstance(executor, _Reaper)
            assert executor.killed
    assert_same(found, serial[1], serial[0])


class _Reaper(Executor):
    """Passes work on, and kills a process of the cluster in the middle of it."""

    def __init__(self, inner: Executor, cluster: Any, after: int) -> None:
        self._inner, self._cluster, self._after, self._count = inner, cluster, after, 0
        self.killed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._count += 1
        future = self._inner.submit(fn, *args, **kwargs)
        if self._count == self._after:
            time.sleep(0.2)
            worker = next(iter(self._cluster.workers.values()))
            os.kill(worker.process.process.pid, signal.SIGKILL)
            self.killed = True
        return future


class Recorder(Executor):
    """Does the work at once and remembers which functions it was given."""

    def __init__(self) -> None:
        self.given: list[Callable[..., Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given.append(fn)
        done: Future[Any] = Future()
        done.set_result(fn(*pickle.loads(pickle.dumps(args)), **kwargs))
        return done


def test_uniform_plans_are_judged_by_the_workers(
    bench: Bench, serial: tuple[float, SearchState]
) -> None:
    """Each once, from pickled parts, and to the last bit as the engine's own artifact."""
    executor = Recorder()
    assert_same(searched(bench, serial[0], executor), serial[1], serial[0])
    trials = uniform_trials(bench.options)
    assert executor.given.count(plan_loss) == len(trials) > 1
    here = Workshop(bench.program, bench.target, bench.options, bench.judge())
    plans = [here.plan(wanted) for wanted in trials]
    found = plan_losses(bench.program, bench.target, bench.judge(), plans, executor)
    artifacts = [here.build(plan).artifact for plan in plans]
    assert found == [bench.judge().loss(each.run) for each in artifacts]
    assert all(found)


@dataclass(frozen=True)
class Bound(OnnxRuntime):
    """A target that holds on to something of this process, and refuses some programs."""

    refuses: bool = False
    lock: Any = field(default_factory=threading.Lock)

    def lower(self, program: Program) -> Any:
        if self.refuses:
            raise LoweringError("refused")
        return super().lower(program)

    def __reduce__(self) -> Any:
        if self.refuses:
            return partial(Bound, refuses=True), (1,)
        return super().__reduce__()


def test_a_target_that_cannot_travel_is_judged_here(bench: Bench) -> None:
    executor = Recorder()
    workshop = Workshop(bench.program, Bound(), bench.options, bench.judge(), executor=executor)
    note = workshop.foresee([workshop.plan({}), workshop.plan(uniform_trials(bench.options)[0])])
    assert note is not None
    assert "cannot be pickled" in note
    assert not executor.given
    assert Workshop(bench.program, bench.target, bench.options).foresee([]) is None


class Idle(Executor):
    """Never gets to it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return Future()


def test_workers_that_take_too_long_are_not_waited_for(
    bench: Bench, serial: tuple[float, SearchState]
) -> None:
    here = Workshop(bench.program, bench.target, bench.options, bench.judge(), executor=Idle())
    plans = [here.plan(wanted) for wanted in uniform_trials(bench.options)]
    assert here.foresee(plans, seconds=0.0) is None
    candidate = here.measured(plans[0])
    assert candidate is not None
    assert candidate.loss == bench.judge().loss(candidate.artifact.run)


def test_a_refused_plan_has_no_loss(bench: Bench) -> None:
    target, executor = Bound(refuses=True), Recorder()
    workshop = Workshop(bench.program, target, bench.options, bench.judge(), executor=executor)
    assert (
        workshop.foresee([workshop.plan({}), workshop.plan(uniform_trials(bench.options)[0])])
        is None
    )
    assert executor.given == [plan_loss] * 2
    assert workshop.measured(workshop.plan({})) is None


def test_all_gates_off_is_float_and_all_on_is_the_engine(bench: Bench) -> None:
    """Oracle: ONNX Runtime on the source, and on the artifact with every region in integers."""
    session = OrtSession(bench.gates.packed, threads=1)
    plain = OrtSession(bench.source.model, threads=1)
    reference = [plain.run(feed) for feed in bench.feeds]

    def outputs(on: Callable[[Gate], bool]) -> list[list[Any]]:
        flags = np.array([on(gate) for gate in bench.gates.gates])
        return [session.run({**feed, FLAGS: flags}) for feed in bench.feeds]

    assert noise_to_signal(reference, outputs(lambda gate: False)) < 1e-10
    workshop = Workshop(bench.program, bench.target, bench.options, bench.judge())
    first = {e.region.key: e.implementations[0] for e in bench.options if e.implementations}
    wanted = {key: form.precision for key, form in first.items()}
    candidate = workshop.measured(workshop.plan(wanted))
    assert candidate is not None
    on = {gate for choice in wanted.items() for gate in bench.gates.terms[choice]}
    simulated = noise_to_signal(reference, outputs(lambda gate: gate in on))
    assert simulated == pytest.approx(candidate.loss, rel=0.35)  # within 1.5 dB


def test_predicted_and_true_losses_of_single_regions_agree(bench: Bench) -> None:
    """One region at a time: gates against artifacts that quantize just that region."""
    from scipy.stats import spearmanr

    with Prober(bench.gates, bench.feeds) as prober:
        alone = prober.losses([[gate] for gate in bench.gates.gates])
    model = LossModel(dict(zip(bench.gates.gates, alone, strict=True)), bench.gates.terms)
    workshop = Workshop(bench.program, bench.target, bench.options, bench.judge())
    predicted, true = [], []
    for each in bench.options:
        for form in each.implementations[:1]:
            if each.region.weight is None:
                continue
            candidate = workshop.measured(workshop.plan({each.region.key: form.precision}))
            assert candidate is not None
            predicted.append(model.of_choice(each.region.key, form.precision))
            true.append(candidate.loss)
    assert len(true) >= 6
    assert spearmanr(predicted, true).statistic >= 0.8


def test_the_prober_counts_and_needs_no_order(bench: Bench) -> None:
    gates = list(bench.gates.gates)
    with Prober(bench.gates, bench.feeds) as prober:
        forth = prober.losses([gates[:3], gates[3:]])
        back = prober.losses([gates[3:][::-1], gates[:3][::-1]])
    assert forth == back[::-1]
    assert prober.count == 4
