"""ONNX Runtime's own quantizers, as their documentation runs them: what we compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

Feed = dict[str, np.ndarray]


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Feeds one by one."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def static(activation: Any) -> Callable[[Path, list[Feed], Path], Path]:
    """`quantize_static`: QDQ, per channel, min-max, after `quant_pre_process`."""

    def run(source: Path, feeds: list[Feed], destination: Path) -> Path:
        prepared = destination.with_suffix(".prepared.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(destination),
            Reader(feeds),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=activation,
            weight_type=quantization.QuantType.QInt8,
        )
        return destination

    return run


def dynamic(source: Path, feeds: list[Feed], destination: Path) -> Path:
    """`quantize_dynamic` with int8 weights."""
    quantization.quantize_dynamic(str(source), str(destination))
    return destination


PEERS: Mapping[str, Callable[[Path, list[Feed], Path], Path]] = {
    "ort_default": static(quantization.QuantType.QInt8),
    "ort_u8": static(quantization.QuantType.QUInt8),
    "ort_dynamic": dynamic,
}
