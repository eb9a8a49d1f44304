"""Threads that capture at the same time: torch.export keeps its state in globals."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

import qcompiler as qc
from qcompiler.execution.torch_source import TorchSource
from qcompiler.frontends.torch_alone import one_at_a_time


def test_modules_are_loaded_in_threads() -> None:
    """Side by side, a capture popped the modes of another (`Trying to pop empty mode stack`)."""
    layers = [torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers).eval()

    def once(batch: int) -> int:
        return len(qc.load(module, (torch.zeros(batch, 3, 8, 8),)).graph)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(once, range(2, 8)))) == 1


def test_a_source_runs_while_it_is_captured() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3), torch.nn.ReLU()).eval()
    example = (torch.ones(2, 3, 8, 8),)
    signature = qc.load(module, example).signature
    source, feed = TorchSource(module, signature), {signature.inputs[0].name: example[0].numpy()}
    over = threading.Event()

    def run() -> int:
        count = len(source.run(feed))
        while not over.is_set():
            count += len(source.run(feed))  # a LoweringError, in a third of the runs
        return count

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(run) for _ in range(2)]
        for _ in range(4):
            qc.load(module, example)
        over.set()
        assert min(each.result() for each in running) > 0


def test_one_waits_for_the_other() -> None:
    inside, entered = threading.Event(), []

    def other() -> None:
        inside.set()
        with one_at_a_time():
            entered.append("other")

    with one_at_a_time(), one_at_a_time():  # who holds it may take it again
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(60)
        entered.append("holder")
    thread.join(60)
    assert entered == ["holder", "other"]
