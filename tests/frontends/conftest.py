"""Oracles of the front-end tests: ONNX Runtime runs the source and the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from packaging.version import Version

from qcompiler.ir.program import Program
from qcompiler.ir.verifier import require_valid
from tests.oracle import unoptimized

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]
Run = Callable[[onnx.ModelProto | Program, Feed], list[Array]]
Same = Callable[[onnx.ModelProto, Program, Feed], None]


def _run(model: onnx.ModelProto | Program, feed: Feed) -> list[Array]:
    return unoptimized(model, feed)


def _same(source: onnx.ModelProto, program: Program, feed: Feed) -> None:
    """The program is sound and computes what the source computes.

    Both run in float32 on the same kernels; 1e-5 of the largest value leaves room for the few
    roundings (2⁻²⁴ each) that another order of the same operations makes.
    """
    require_valid(program)
    wanted: Sequence[Array] = _run(source, feed)
    found = _run(program, feed)
    assert len(found) == len(wanted)
    for one, two in zip(found, wanted, strict=True):
        assert one.dtype == two.dtype
        scale = float(np.abs(two).max()) if two.size else 1.0
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * max(scale, 1e-6))


@pytest.fixture
def run() -> Run:
    return _run


@pytest.fixture
def assert_same() -> Same:
    return _same


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def needs_onnx() -> Callable[[str, str], None]:
    """Skips, with the reason, where the installed onnx is older: older ones are supported too."""

    def check(version: str, why: str) -> None:
        if Version(onnx.__version__) < Version(version):
            pytest.skip(f"{why} (onnx {version}; this is {onnx.__version__})")

    return check


@pytest.fixture
def needs_opset() -> Callable[[int], None]:
    """Skips, with the reason, where the installed onnx does not know an opset."""

    def check(opset: int) -> None:
        if onnx.defs.onnx_opset_version() < opset:
            pytest.skip(f"onnx {onnx.__version__} does not know opset {opset}")

    return check
