"""Images as calibration samples: read by Pillow, brought to size, scaled and normalized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.archives import FEEDS
from qcompiler.errors import ConfigurationError
from qcompiler.ir.signature import TensorSpec

Array = npt.NDArray[Any]
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LAYOUTS = ("nchw", "nhwc")
ORDERS = ("rgb", "bgr")
_CHANNELS = (1, 3)
_MODES = {1: "L", 3: "RGB"}
_LARGEST = 1 << 26
"""Pixels of one image; Pillow itself refuses twice what it warns of, about 179 million."""


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become a sample: `(pixel * scale - mean) / std` for each channel.

    Attributes:
        size: Height and width to resize to (bilinear, the whole image); by default the input's own
            where they are fixed, else the image's.
        layout: `nchw` or `nhwc`; by default what the input's shape says.
        mean: For each channel, or one for all, in units of the scaled pixel.
        std: Likewise.
        scale: Of a pixel from 0 to 255; by default 1/255, as torchvision's ToTensor does it. An
            input of integers takes the pixels as they are.
        order: Of the channels, `rgb` or `bgr`, as OpenCV reads them; mean and std are in the order
            that the model gets.

    Raises:
        ConfigurationError: A value that makes no sense.
    """

    size: tuple[int, int] | None = None
    layout: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float | None = None
    order: str = ORDERS[0]

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ConfigurationError(
                f"there is no order of channels {self.order!r}",
                fix=f"there are {' and '.join(ORDERS)}",
            )
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ConfigurationError(
                f"there is no layout {self.layout!r}", fix=f"there are {' and '.join(LAYOUTS)}"
            )
        if self.size is not None and (min(self.size) < 1 or self.size[0] * self.size[1] > _LARGEST):
            raise ConfigurationError(
                f"an image of {self.size[0]}x{self.size[1]} is no size",
                fix="give one such as --size 224 or 320x240",
            )
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (0, *_CHANNELS):
                raise ConfigurationError(
                    f"{name} has {len(getattr(self, name))} values",
                    fix="give one for all channels, or three",
                )
        if any(each == 0 for each in self.std):
            raise ConfigurationError("std is 0 for a channel", fix="give the standard deviation")

    @property
    def given(self) -> bool:
        """Whether anything was asked for."""
        return self != AS_THEY_ARE

    def reader(self, spec: TensorSpec | None) -> ImageReader:
        """What reads samples for an input; None for one that is not known: RGB, float32.

        Raises:
            ConfigurationError: The input takes no images, its layout cannot be told, or Pillow is
                not installed.
        """
        _require_pillow()
        shape = (None, 3, None, None) if spec is None or spec.shape is None else spec.shape
        layout = self._layout(spec, shape)
        dims = shape[1:] if layout == "nchw" else (shape[3], shape[1], shape[2])
        channels = dims[0] if isinstance(dims[0], int) else 3
        own = tuple(each for each in dims[1:] if isinstance(each, int))
        size = self.size or ((own[0], own[1]) if len(own) == 2 else None)
        dtype = np.dtype(np.float32)
        if spec is not None and spec.dtype is not None:
            dtype = spec.dtype.numpy()
        if dtype.kind in "iu" and (self.mean or self.std or self.scale is not None):
            raise ConfigurationError(
                f"mean, std and scale are for inputs of floats, '{spec and spec.name}' is "
                f"{dtype.name}",
                fix="leave them out: the model takes the pixels as they are",
            )
        return ImageReader(self, layout, channels, size, dtype)

    def _layout(self, spec: TensorSpec | None, shape: tuple[int | str | None, ...]) -> str:
        if len(shape) != 4:
            raise ConfigurationError(
                f"an input of {len(shape)} axes takes no images",
                where=str(spec),
                fix="give .npy or .npz files",
            )
        fitting = [
            layout
            for layout, axis in zip(LAYOUTS, (1, 3), strict=True)
            if self.layout in (None, layout)
            and (shape[axis] in _CHANNELS or (self.layout and not isinstance(shape[axis], int)))
        ]
        if len(fitting) != 1:
            asked = f" with layout {self.layout}" if self.layout else ""
            why = "1 or 3 channels are on neither axis" if not fitting else "both axes may be it"
            raise ConfigurationError(
                f"cannot tell where the channels of the input are{asked}",
                where=str(spec),
                why=why,
                fix="give --layout nchw or nhwc, or .npy files",
            )
        return fitting[0]


AS_THEY_ARE = Preprocessing()
"""Nothing was asked for."""


@dataclass(frozen=True)
class ImageReader:
    """Reads images as samples of one input: [channels, height, width] or channels last."""

    steps: Preprocessing
    layout: str
    channels: int
    size: tuple[int, int] | None
    dtype: np.dtype[Any]

    def __call__(self, path: Path) -> Array:
        """The sample.

        Raises:
            CalibrationError: Not an image, damaged, or too large.
        """
        from PIL import Image

        FEEDS.require_file(path)
        with FEEDS.reading(path), Image.open(path) as image:
            if image.width * image.height > _LARGEST:
                raise ValueError(f"it has {image.width}x{image.height} pixels")
            plain = image.convert(_MODES[self.channels])
            if self.size is not None and plain.size != self.size[::-1]:
                plain = plain.resize(self.size[::-1], Image.Resampling.BILINEAR)
            pixels = np.asarray(plain).reshape(plain.height, plain.width, self.channels)
        if self.steps.order == "bgr":
            pixels = pixels[..., ::-1]
        array = self._normalized(pixels)
        return np.ascontiguousarray(array.transpose(2, 0, 1) if self.layout == "nchw" else array)

    def _normalized(self, pixels: Array) -> Array:
        if self.dtype.kind in "iu":
            return pixels.astype(self.dtype)
        scale = 1 / 255 if self.steps.scale is None else self.steps.scale
        scaled = pixels.astype(np.float32) * np.float32(scale)
        mean = np.asarray(self.steps.mean or 0.0, np.float32)
        std = np.asarray(self.steps.std or 1.0, np.float32)
        return ((scaled - mean) / std).astype(self.dtype)


def _require_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "reading images needs Pillow",
            why=f"the module PIL cannot be imported: {error}",
            fix="pip install 'qcompiler[images]'",
        ) from error
