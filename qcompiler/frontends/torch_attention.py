"""torch's fused attention layers, switched off: they compute something else in masked rows.

In evaluation mode without gradients `nn.MultiheadAttention` and the encoder layers call kernels of
their own. Where a mask shuts out every key these give NaN and not 0, as the same layers give with
gradients and as they are captured; nested tensors give 0 where whole samples are cut short.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch


class _Users:
    """How many are inside, and what the user had set before the first of them."""

    lock = Lock()
    inside = 0
    before = True


@contextmanager
def without_fused_attention() -> Iterator[None]:
    """Layers run as they are written; the user's setting is back once the last one has left."""
    with _Users.lock:
        if not _Users.inside:
            _Users.before = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
        _Users.inside += 1
    try:
        yield
    finally:
        with _Users.lock:
            _Users.inside -= 1
            if not _Users.inside:
                torch.backends.mha.set_fastpath_enabled(_Users.before)
