"""Python's cyclic garbage collector and large graphs, which are all cycles and no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 200_000
"""Container objects between collections: about 10 000 nodes. CPython's own value is 700."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Lets the collector run rarely while a graph is built or rewritten.

    It would scan all live nodes again and again and find nothing: more than half of the time from
    20 000 nodes on. It still runs, so garbage of the caller's data does not pile up.
    """
    threshold = gc.get_threshold()
    gc.set_threshold(max(_ALLOCATIONS, threshold[0]), 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
