"""Weights of recurrent layers as ONNX Runtime's dynamic kernels store them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.parameters import weight_qparams
from qcompiler.quantization.qspace import QSpace

Array = npt.NDArray[Any]


def recurrent_weight(weight: Array, space: QSpace) -> tuple[Array, Array, Array]:
    """Integers [D, K, G], scales and zero points [D, G] of a float weight [D, G, K].

    D directions, G gate rows (4 * hidden of an LSTM), K inputs or hidden units. Scales and zero
    points are [D] where `space` has one for a whole matrix.
    """
    params = [weight_qparams(np.asarray(each, np.float32), space, 0) for each in weight]
    data = np.stack([quantize(each, p).T for each, p in zip(weight, params, strict=True)])
    scale = np.stack([p.scale for p in params]).astype(np.float32)
    zero = np.stack([p.zero_point for p in params]).astype(space.dtype.numpy())
    return np.ascontiguousarray(data), scale, zero
