"""What the page's script draws from, as compact JSON that is safe inside a script element."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from qcompiler.report.layout import HEIGHT, WIDTH, layout_of
from qcompiler.report.network import Network
from qcompiler.report.numbers import show_bytes, show_noise, show_seconds, show_share
from qcompiler.report.palette import HEAT, colours
from qcompiler.report.report import Report
from qcompiler.report.rows import RegionRow
from qcompiler.report.values import Distribution, ValueRow

_ALPHABET = "".join(chr(code) for code in range(0x30, 0x70)).translate(
    {ord("<"): "~", ord(">"): "|", ord("\\"): "}"}
)
"""64 characters that neither JSON nor HTML has to escape, in the order of their values."""
_BASE = len(_ALPHABET)


def page_data(report: Report) -> str:
    """JSON of the network with its places, the regions and the values.

    Args:
        report: With texts that are safe to show.
    """
    numbers = {value.key: index for index, value in enumerate(report.values)}
    found = {
        "colours": colours(row.precision for row in report.regions),
        "heat": HEAT,
        "box": [WIDTH, HEIGHT],
        "network": _network(report.network),
        "regions": [_region(row, numbers) for row in report.regions],
        "values": [_value(each) for each in report.values],
        "alphabet": _ALPHABET,
    }
    text = json.dumps(found, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(distribution: Distribution) -> str:
    """Two characters for each bin: its share of the fullest, in 1/4095; 0 for empty bins only."""
    most = max(distribution.counts) or 1
    top = _BASE * _BASE - 1
    levels = [max(math.ceil(count > 0), round(top * count / most)) for count in distribution.counts]
    return "".join(_ALPHABET[level // _BASE] + _ALPHABET[level % _BASE] for level in levels)


def _network(network: Network) -> dict[str, Any]:
    layout = layout_of(len(network.vertices), network.edges)
    return {
        "x": [round(x) for x, _ in layout.places],
        "y": [round(y) for _, y in layout.places],
        "label": [each.label for each in network.vertices],
        "name": [each.name for each in network.vertices],
        "region": [-1 if each.region is None else each.region for each in network.vertices],
        "shape": [each.shape for each in network.vertices],
        "module": [each.module or "" for each in network.vertices],
        "source": [each.source or "" for each in network.vertices],
        "note": [each.note for each in network.vertices],
        "edges": [
            [a, b, *(round(c) for point in bends for c in point)]
            for (a, b), bends in zip(network.edges, layout.bends, strict=True)
        ],
    }


def _region(row: RegionRow, numbers: dict[str, int]) -> dict[str, Any]:
    """Texts to show, and numbers (`n...`) to sort and colour by."""
    forms = [
        [name, show_seconds(seconds), show_share(row.losses.get(name))]
        for name, seconds in row.forms.items()
    ]
    keys = [
        *row.reads,
        *([row.weight] if row.weight else []),
        *([row.writes] if row.writes else []),
    ]
    found = {
        "key": row.region,
        "name": row.name,
        "ops": row.ops,
        "precision": row.precision,
        "reason": row.reason,
        "time": show_seconds(row.seconds),
        "float": show_seconds(row.float_seconds),
        "loss": show_share(row.loss),
        "noise": show_noise(row.noise),
        "size": _bytes(row.nbytes),
        "fsize": _bytes(row.float_nbytes),
        "ntime": _number(row.seconds),
        "nfloat": _number(row.float_seconds),
        "nloss": _number(row.loss),
        "nnoise": _number(row.noise),
        "nsize": _number(row.nbytes),
        "forms": forms,
        "values": [numbers[key] for key in dict.fromkeys(keys) if key in numbers],
    }
    return {name: each for name, each in found.items() if each not in ("", None, [])}


def _value(row: ValueRow) -> dict[str, Any]:
    facts = [
        ("type", f"{row.type}, {_scales_told(row)}"),
        ("shape", row.shape),
        ("scale", _between(row.scales)),
        ("zero point", _between(row.zero_points)),
        ("range", _between((row.low, row.high))),
        ("seen", "" if row.seen is None else _between(row.seen)),
        ("clipped", "" if row.clipped is None else f"{100 * row.clipped:.3g} %"),
        ("rounding noise", show_noise(row.noise)),
        ("integers chosen by", row.rounding),
    ]
    found: dict[str, Any] = {
        "key": row.key,
        "kind": row.kind,
        "range": [_number(row.low), _number(row.high)],
        "facts": [each for each in facts if each[1]],
        "nnoise": _number(row.noise),
        "nclipped": _number(row.clipped),
    }
    if row.distribution is not None:
        found["low"] = _number(row.distribution.low)
        found["high"] = _number(row.distribution.high)
        found["bars"] = packed(row.distribution)
    return {name: each for name, each in found.items() if each is not None}


def _scales_told(row: ValueRow) -> str:
    return "one scale" if row.scale_count == 1 else f"{row.scale_count} scales"


def _bytes(value: int | None) -> str:
    return show_bytes(value) if value else ""


def _between(ends: Sequence[float]) -> str:
    low, high = ends
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _number(value: float | None) -> float | None:
    """Six digits; beyond all numbers JSON has none."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return math.copysign(1e300, value)
    return float(f"{value:.6g}")
