"""Programs with observers, and their observations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import onnx
import pytest

from qcompiler.calibration.instrument import FloatModel, float_model
from qcompiler.calibration.run import Calibration, run_calibration
from qcompiler.calibration.sites import find_sites
from qcompiler.frontends.load import load
from qcompiler.ir.program import Program
from qcompiler.passes.insert_observers import InsertObservers
from qcompiler.pipeline.contract import PassContext

Observe = Callable[..., Calibration]


def observed_program(source: str | onnx.ModelProto, method: str = "minmax") -> Program:
    """The program of a model (or its text) with an observer on every activation."""
    program = load(onnx.parser.parse_model(source) if isinstance(source, str) else source)
    InsertObservers(method=method).run(program, PassContext())
    return program


@pytest.fixture
def make_program() -> Callable[..., Program]:
    return observed_program


@pytest.fixture
def make_model() -> Callable[..., FloatModel]:
    def make(source: str | onnx.ModelProto, method: str = "minmax") -> FloatModel:
        program = observed_program(source, method)
        return float_model(program, find_sites(program))

    return make


@pytest.fixture
def observe() -> Observe:
    """(model or its text, feeds, method, **options of run_calibration) -> Calibration."""

    def run(
        source: str | onnx.ModelProto, feeds: Iterable[Any], method: str = "minmax", **options: Any
    ) -> Calibration:
        program = observed_program(source, method)
        model = float_model(program, find_sites(program))
        return run_calibration(model, program.signature, feeds, **options)

    return run


@pytest.fixture
def states() -> Callable[[Calibration], dict[str, bytes]]:
    """Every bit of what was observed, by value name and key."""

    def flat(result: Calibration) -> dict[str, bytes]:
        return {
            f"{name}/{key}": array.tobytes()
            for name, observer in result.observations.items()
            for key, array in observer.state().items()
        }

    return flat
