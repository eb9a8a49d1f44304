"""A feed of another batch size than the example's, for sizes that a capture made symbolic."""

from __future__ import annotations

import numpy as np

from qcompiler.errors import FeedError
from qcompiler.execution.feeds import normalize_feed
from qcompiler.ir.signature import Feed, Signature, TensorSpec


def with_other_batch(signature: Signature, feed: Feed) -> Feed | None:
    """The feed with a batch of another size; None where the batch is fixed or not to be told.

    The batch is the first dimension of the first input where that is a symbol, and of every other
    input where it is one and as long: a capture gives each a symbol of its own where no operation
    of it joins them by name.
    """
    batches = [spec.name for spec in signature.inputs if _is_open(spec)]
    if not batches:
        return None
    length = len(feed[batches[0]])
    resized = {}
    for spec in signature.inputs:
        array = feed[spec.name]
        if _is_open(spec) and len(array) == length:
            array = array[:-1] if length > 2 else np.concatenate([array, array, array])
        resized[spec.name] = array
    try:
        return normalize_feed(signature, resized)
    except FeedError:
        return None


def _is_open(spec: TensorSpec) -> bool:
    return spec.shape is not None and isinstance(next(iter(spec.shape), None), str)
