"""What a random network has to keep: ONNX Runtime's float outputs, and its own quantizer's loss."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from qcompiler.outputs.asked import DEFAULT_NSR
from qcompiler.testing.random_nets import Array, Net

Feed = dict[str, Array]

_EXACT = 60.0
"""dB that a float program keeps: float32 sums in another order lose far less."""

_ALLOWED = 6.0
"""dB below the peer."""

_ENOUGH = 30.0
"""dB from which nothing is held against int8, whatever the peer reaches."""

_BLIND = 15.0
"""dB asked for where the peer fails."""

_EQUAL, _HALF, _FLIPS = 0.9, 0.5, 0.34
"""Shares of equal integers: of float programs, of others, and how many fewer than the peer's."""

_STRANGE = 4.0
"""dB that a feed may have less which was not calibrated with: its extremes are cut off."""

_COARSE = 5.0
"""dB of a scheme that nothing is promised for."""

_FEW_BITS = re.compile("ternary|int[234]|codebook[234]|log2-|log2x2-[45]")


@dataclass(frozen=True)
class Judged:
    """What is wrong with the results of one feed, empty if nothing is, and dB of the worst."""

    wrong: str
    quality: float = math.inf
    peer: float | None = None


def judged(made: Net, scheme: str, feed: Feed, found: Sequence[Array]) -> Judged:
    wanted = in_float(made.model, feed)
    kinds = [[(each.shape, str(each.dtype)) for each in outputs] for outputs in (found, wanted)]
    if kinds[0] != kinds[1]:
        return Judged(f"{kinds[0]} for {kinds[1]}")
    slack = _STRANGE if feed is made.unseen else 0.0
    floats = [pair for pair in zip(wanted, found, strict=True) if pair[0].dtype.kind == "f"]
    quality = min((sqnr(*pair) for pair in floats), default=math.inf)
    judged = Judged("", quality)
    for index, pair in enumerate(zip(wanted, found, strict=True)):
        if not _lost(scheme, *pair, None, slack):
            continue
        others = peer_outputs(made, feed) if scheme == "int8" else None
        peer = None if others is None else others[index]
        judged = replace(judged, peer=None if peer is None else sqnr(pair[0], peer))
        if lost := _lost(scheme, *pair, peer, slack):
            return replace(judged, wrong=f"output {index}: {lost}")
    return judged


def _lost(scheme: str, wanted: Array, found: Array, peer: Array | None, slack: float) -> str:
    """What is said of an output that keeps too little; empty if it keeps enough.

    Without a peer it is asked for as much as is held against nobody.
    """
    if wanted.dtype.kind != "f":
        equal = 1.0 if peer is None else float(np.mean(wanted == peer))
        least = _EQUAL if scheme == "float32" else min(_HALF, equal - _FLIPS)
        share = float(np.mean(wanted == found)) if wanted.size else 1.0
        return f"{share:.0%} equal, at least {least:.0%} expected" if share < least else ""
    least = _least(scheme, None if peer is None else sqnr(wanted, peer)) - slack
    quality = sqnr(wanted, found)
    return f"{quality:.1f} dB, at least {least:.1f} expected" if quality < least else ""


def _least(scheme: str, peer: float | None) -> float:
    """dB that the worst output has to keep."""
    if scheme == "float32":
        return _EXACT
    if scheme not in ("auto", "int8"):
        return -6.0 if _FEW_BITS.match(scheme) else _COARSE
    if scheme == "auto":
        return -10 * math.log10(2 * DEFAULT_NSR)
    return _BLIND if peer is None else min(peer - _ALLOWED, _ENOUGH)


def in_float(model: onnx.ModelProto, feed: Feed) -> list[Array]:
    """Outputs by ONNX Runtime without its optimizer."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(each) for each in session.run(None, feed)]


def sqnr(wanted: Array, found: Array) -> float:
    """Signal to noise in dB; minus infinity where something is not finite."""
    signal = float(np.square(wanted, dtype=np.float64).sum())
    noise = float(np.square(wanted.astype(np.float64) - found).sum())
    if not math.isfinite(noise):
        return -math.inf
    return math.inf if noise == 0 else 10 * math.log10(max(signal, 1e-30) / noise)


def peer_outputs(made: Net, feed: Feed) -> list[Array] | None:
    """Outputs by ONNX Runtime's own quantizer; None where it fails, or cannot be asked."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = iter(made.feeds)

        def get_next(self) -> Any:
            return next(self.feeds, None)

    if made.plain is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(made.plain, source)
        try:
            kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
            quantize_static(source, path, Reader(), per_channel=True, **kinds)
            return in_float(onnx.load(path), feed)
        except Exception:  # noqa: BLE001 - then there is nothing to compare with
            return None
