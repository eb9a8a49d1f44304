"""The layers that `random_nets` draws from."""

from __future__ import annotations

from qcompiler.testing.random_builder import Layer
from qcompiler.testing.random_control import conditional, looped, scanned
from qcompiler.testing.random_images import (
    branches,
    convolution,
    moved,
    pool,
    residual,
    shared,
    squeezed,
    transposed,
)  # fmt: skip
from qcompiler.testing.random_rows import (
    activation,
    chosen,
    cut,
    linear,
    normalized_rows,
    plain_activation,
    skip,
    tied,
    to_rows,
    to_sequence,
)  # fmt: skip
from qcompiler.testing.random_sequences import attention, convolved, joined, placed, recurrent

_VOLUMES: tuple[Layer, ...] = (
    convolution, convolution, activation, pool, transposed, residual, shared, to_rows,
)  # fmt: skip
_IMAGES: tuple[Layer, ...] = (
    convolution, convolution, convolution, activation, transposed, pool, pool, residual,
    branches, shared, squeezed, moved, moved, to_rows, to_sequence,
)  # fmt: skip
_SEQUENCES: tuple[Layer, ...] = (
    linear, linear, normalized_rows, skip, attention, attention, recurrent, recurrent, convolved,
    plain_activation, to_rows, conditional, looped, scanned, placed, joined, tied, cut,
)  # fmt: skip
_ROWS: tuple[Layer, ...] = (
    linear, linear, linear, normalized_rows, skip, plain_activation, conditional, looped, tied,
    cut, chosen,
)  # fmt: skip
LAYERS: dict[int, tuple[Layer, ...]] = {5: _VOLUMES, 4: _IMAGES, 3: _SEQUENCES, 2: _ROWS}
"""By the rank of what they read."""
