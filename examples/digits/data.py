"""The trained network of `qcompiler.demo` as a torch module, and the images it is run on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qcompiler.demo.digits import (
    DATA_FILE,
    INPUT_NAME,
    ONNX_FILE,
    Batch,
    Digits,
    Images,
    accuracy,
    load_digits,
    preprocess,
)

if TYPE_CHECKING:
    from examples.digits.model import DigitsNet

__all__ = [
    "DATA_FILE",
    "INPUT_NAME",
    "ONNX_FILE",
    "STATE_FILE",
    "Batch",
    "Digits",
    "Images",
    "accuracy",
    "load_digits",
    "load_module",
    "preprocess",
]

STATE_FILE = Path(__file__).resolve().parent / "digits.pt"


def load_module() -> DigitsNet:
    """The trained torch module, in evaluation mode."""
    import torch

    from examples.digits.model import DigitsNet

    module = DigitsNet()
    # Stored as float16, which the training script has rounded the weights to: nothing is lost.
    module.load_state_dict(torch.load(STATE_FILE, weights_only=True))
    return module.eval()
