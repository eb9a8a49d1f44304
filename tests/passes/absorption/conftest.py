"""Quantized models as text, and ONNX Runtime, unoptimized, as the judge of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
import onnx
import pytest

from qcompiler.frontends.load import load
from qcompiler.ir.program import Program
from qcompiler.ir.verifier import verify
from qcompiler.passes.absorption.absorb import AbsorbQuantization
from qcompiler.pipeline.contract import PassContext
from tests.oracle import unoptimized

Array = npt.NDArray[Any]
Run = Callable[[onnx.ModelProto | Program, Mapping[str, Array]], Array]
Build = Callable[[str, Mapping[str, Array]], onnx.ModelProto]
Absorb = Callable[[onnx.ModelProto], Program]


def _run(model: onnx.ModelProto | Program, feed: Mapping[str, Array]) -> Array:
    return unoptimized(model, feed)[0]


def _build(text: str, arrays: Mapping[str, Array]) -> onnx.ModelProto:
    head = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>\n'
    model = onnx.parser.parse_model(head + text)
    for name, array in arrays.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def _absorbed(model: onnx.ModelProto) -> Program:
    program = load(model)
    AbsorbQuantization().run(program, PassContext())
    assert verify(program) == ()
    assert not AbsorbQuantization().run(program, PassContext()).modified
    return program


@pytest.fixture
def run() -> Run:
    """The first output of a model or program on ONNX Runtime."""
    return _run


@pytest.fixture
def build() -> Build:
    """A model from the text of its graph and its initializers."""
    return _build


@pytest.fixture
def absorb() -> Absorb:
    """The float program of a model, sound, and with nothing left for a second run."""
    return _absorbed
