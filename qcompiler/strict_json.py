"""JSON that every reader takes: RFC 8259 has no infinite numbers, but Python writes them."""

from __future__ import annotations

import json
import math
from typing import Any

NOT_FINITE = ("Infinity", "-Infinity", "NaN")
"""Texts in the place of numbers, as protobuf's JSON mapping has them; `float` reads them."""


def json_text(data: Any) -> str:
    """Indented JSON, with `NOT_FINITE` for what JSON has no number for.

    Args:
        data: Dicts, lists, tuples, texts, numbers, None.
    """
    return json.dumps(_strict(data), indent=2, allow_nan=False)


def _strict(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _strict(each) for key, each in data.items()}
    if isinstance(data, list | tuple):
        return [_strict(each) for each in data]
    if not isinstance(data, float) or math.isfinite(data):
        return data
    return "NaN" if math.isnan(data) else "Infinity" if data > 0 else "-Infinity"
