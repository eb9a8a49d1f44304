"""The lowered form for OpenVINO: the Q/DQ ONNX model, and a compiled model that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from qcompiler.backends.openvino.costs import cost_sample
from qcompiler.backends.openvino.kernels import count_kernels
from qcompiler.execution.openvino.float_faults import mended
from qcompiler.execution.openvino.session import OpenVinoSession
from qcompiler.execution.saving import weight_bytes, write_onnx
from qcompiler.execution.stamp import stamped
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.target.artifact import Artifact, CostSample, KernelCount
from qcompiler.target.contract import Target

_PROFILE_SECONDS = 0.1
"""Least time to run a candidate for a profile."""


class OpenVinoArtifact(Artifact):
    """A Q/DQ ONNX model on OpenVINO's CPU plugin.

    Raises:
        ConfigurationError: The package `openvino` is not installed.
        LoweringError: OpenVINO refuses the model, or does not compute what it says.
    """

    def __init__(
        self, program: Program, target: Target, threads: int | None, floats: str = "f32"
    ) -> None:
        self._program = mended(program)
        self._target = target
        self._session = OpenVinoSession(
            self._program.model, program.signature, threads, floats=floats
        )

    @property
    def session(self) -> OpenVinoSession:
        """The compiled model."""
        return self._session

    def run(self, feed: Feed) -> list[npt.NDArray[Any]]:
        return self._session.run_checked(feed)

    @property
    def nbytes(self) -> int:
        return weight_bytes(self._program.model)

    def save(self, path: Path) -> None:
        write_onnx(stamped(self._program.model, self._target, self._program), path)

    def profile(self, feeds: Sequence[Feed]) -> CostSample:
        times = self._session.profile(feeds, _PROFILE_SECONDS)
        return cost_sample(self._target.regions(self._program), times)

    def kernels(self) -> KernelCount:
        return count_kernels(self._program, self._target, self._session.layers())
