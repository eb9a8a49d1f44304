"""Fixtures and settings for the whole suite: one thread, fixed seeds, the embedded model."""

from __future__ import annotations

import os

# Before anything loads OpenMP: results and timings must not depend on the number of cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["QCOMPILER_VERIFY_EACH"] = "1"  # the verifier runs after every pass of the suite
os.environ["QCOMPILER_CACHE"] = ""  # what one test measured is nothing to the next

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import onnx
import pytest

from examples.digits.data import ONNX_FILE, Batch, Digits, load_digits, load_module

if TYPE_CHECKING:
    import torch

hypothesis.settings.register_profile(
    "ci",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("deep", max_examples=500, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The root folder of the checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """The same random numbers in every test, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the global generator
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, new for every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits() -> Digits:
    """The embedded calibration and held-out images."""
    return load_digits()


@pytest.fixture(scope="session")
def digits_path() -> Path:
    """The embedded network as an ONNX file."""
    return ONNX_FILE


@pytest.fixture
def digits_onnx() -> onnx.ModelProto:
    """The embedded network as a ModelProto of its own for each test."""
    return onnx.load(ONNX_FILE)


@pytest.fixture
def digits_module() -> torch.nn.Module:
    """The embedded network as a torch module in evaluation mode, one for each test."""
    import torch

    torch.set_num_threads(1)
    return load_module()


@pytest.fixture(scope="session")
def digits_feeds(digits: Digits) -> list[dict[str, Batch]]:
    """The embedded calibration set as feeds of 16 images."""
    return list(digits.feeds())
