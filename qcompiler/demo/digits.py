"""Images of digits, their labels, and a network that was trained on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_FOLDER = Path(__file__).resolve().parent
ONNX_FILE = _FOLDER / "digits.onnx"
DATA_FILE = _FOLDER / "digits.npz"
INPUT_NAME = "image"
ENLARGE = 4
LEVELS = 16.0

Images = npt.NDArray[np.uint8]
Batch = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """uint8 [N, 8, 8] images of grey levels 0..16 and uint8 [N] labels of two disjoint sets.

    The calibration images are part of the training set, the held-out images are not.
    """

    calibration_images: Images
    calibration_labels: Images
    heldout_images: Images
    heldout_labels: Images

    def feeds(self, batch: int = 16) -> Iterator[dict[str, Batch]]:
        """The calibration images as feeds for the network, in batches."""
        for start in range(0, len(self.calibration_images), batch):
            yield {INPUT_NAME: preprocess(self.calibration_images[start : start + batch])}

    def heldout(self) -> tuple[Batch, Labels]:
        """The held-out images as one network input [N, 1, 32, 32], and their labels."""
        return preprocess(self.heldout_images), self.heldout_labels.astype(np.int64)


def preprocess(images: Images) -> Batch:
    """Grey levels uint8 [N, 8, 8] in 0..16 to float32 [N, 1, 32, 32] in 0..1, nearest neighbour."""
    large = images.repeat(ENLARGE, axis=-2).repeat(ENLARGE, axis=-1)
    return (large[:, None] / np.float32(LEVELS)).astype(np.float32)


def load_digits() -> Digits:
    """The embedded images and labels."""
    with np.load(DATA_FILE) as arrays:
        return Digits(**arrays)


def accuracy(logits: npt.NDArray[Any], labels: Labels) -> float:
    """Share of rows of logits [N, classes] whose largest entry is the label."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))
