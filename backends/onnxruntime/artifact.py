"""The lowered form for ONNX Runtime: the ONNX model itself, and a session that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from qcompiler.backends.onnxruntime.costs import cost_sample
from qcompiler.backends.onnxruntime.kernels import count_kernels
from qcompiler.execution.saving import weight_bytes, write_onnx
from qcompiler.execution.session import OrtSession
from qcompiler.execution.stamp import stamped
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.ir.tensors import is_large
from qcompiler.target.artifact import PROFILE_THREADS, Artifact, CostSample, KernelCount
from qcompiler.target.contract import Target

_PROFILE_SECONDS = 0.1
"""Least time to run a candidate for a profile."""


class OrtArtifact(Artifact):
    """An ONNX model on ONNX Runtime with default session options.

    Raises:
        LoweringError: ONNX Runtime refuses the model.
    """

    def __init__(self, program: Program, target: Target, threads: int | None) -> None:
        self._program = program
        self._target = target
        self._threads = threads
        # A large one is opened for good when it is run first: that takes its size once more.
        opened = self._opened(packed=not is_large(weight_bytes(program.model)))
        self._nbytes = opened.nbytes
        self._running = opened if opened.packed else None
        self._kernels: KernelCount | None = None

    @property
    def session(self) -> OrtSession:
        """The running session, made anew after `release`."""
        if self._running is None:
            self._running = self._opened()
        return self._running

    def release(self) -> None:
        self._running = None

    def run(self, feed: Feed) -> list[npt.NDArray[Any]]:
        return self.session.run_checked(feed)

    @property
    def nbytes(self) -> int:
        return self._nbytes

    def save(self, path: Path) -> None:
        write_onnx(stamped(self._program.model, self._target, self._program), path)

    def profile(self, feeds: Sequence[Feed]) -> CostSample:
        times = self.session.profile(
            feeds, seconds=_PROFILE_SECONDS, threads=self._threads or PROFILE_THREADS
        )
        return cost_sample(self._program, self._target.regions(self._program), times)

    def kernels(self) -> KernelCount:
        if self._kernels is None:
            self._kernels = self._count(self._running or self._opened(packed=False))
        return self._kernels

    def tap(
        self, feeds: Sequence[Feed], values: Sequence[str]
    ) -> Iterator[dict[str, npt.NDArray[Any]]]:
        groups = list(self._tapped(list(values)))
        for feed in feeds:
            found: dict[str, npt.NDArray[Any]] = {}
            for session, names in groups:
                found.update(zip(names, session.run_checked(feed, names), strict=True))
            yield found

    def _opened(self, packed: bool = True) -> OrtSession:
        return OrtSession(self._program.model, threads=self._threads, packed=packed)

    def _count(self, session: OrtSession) -> KernelCount:
        return count_kernels(self._program, self._target, session.optimized_model(weights=False))

    def _tapped(self, values: list[str]) -> Iterator[tuple[OrtSession, list[str]]]:
        """Sessions that return values besides the outputs and run the same integer kernels.

        A further output can keep ONNX Runtime from fusing; such a set of values is split in halves
        until the one value to blame is left out.
        """
        if not values:
            return
        session = OrtSession(self._program.model, threads=self._threads, extra_outputs=values)
        if self._count(session).integer == self.kernels().integer:
            yield session, values
        elif len(values) > 1:
            middle = len(values) // 2
            yield from self._tapped(values[:middle])
            yield from self._tapped(values[middle:])
