"""What a placement amounts to, in short: equal for placements that are written alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from qcompiler.decisions.placement import Placement
from qcompiler.target.capability import Implementation

_WHO = "how"
"""The field of a `Rounding` that says who chose it: it is not written."""


def fingerprint(placement: Placement) -> str:
    """Hexadecimal digest of all that is written of a placement, whoever chose it."""
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts((placement.target, placement.regions, placement.values)):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _parts(held: Any) -> Iterator[bytes]:
    if isinstance(held, np.ndarray):
        yield f"{held.dtype}{held.shape}".encode()
        yield np.ascontiguousarray(held).tobytes()
    elif isinstance(held, Implementation):
        yield held.precision.encode()
    elif is_dataclass(held):
        for each in fields(held):
            if each.name != _WHO:
                yield from _parts(getattr(held, each.name))
    elif isinstance(held, Mapping):
        for key, value in held.items():
            yield repr(key).encode()
            yield from _parts(value)
    elif isinstance(held, tuple | list):
        yield b"%d" % len(held)
        for each in held:
            yield from _parts(each)
    else:
        yield str(held if not isinstance(held, Enum) else held.name).encode()
