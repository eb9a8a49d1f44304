"""Records what TensorFlow's own `quantize` and `dequantize` give, for tests/qtensor.

Needs `pip install tensorflow-cpu`. Run: `python -m benchmarks.tensorflow_values`. TensorFlow's own
kernels are meant, not oneDNN's, which it takes for some of the calls by default.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FILE = Path(__file__).resolve().parent.parent / "tests" / "qtensor" / "tensorflow_values.json"
TYPES = ("qint8", "quint8", "qint16", "quint16", "qint32")
MODES = ("MIN_COMBINED", "MIN_FIRST", "SCALED")
CASES = 120


def drawn(number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Arguments of one call; ties, ranges on one side of 0 and ranges of no width among them."""
    mode = MODES[number // len(TYPES) % len(MODES)]
    axis = None if mode == "MIN_FIRST" or rng.random() < 0.5 else int(rng.integers(2))
    x = (rng.standard_normal((2, 4)) * 10 ** rng.uniform(-2, 3)).astype(np.float32)
    if rng.random() < 0.4:
        x = (np.round(2 * x) / 2).astype(np.float32)
    slices = 1 if axis is None else x.shape[axis]
    peak = float(np.abs(x).max())
    low, high = rng.uniform(-peak, 0, slices), rng.uniform(0, peak, slices)
    side = rng.choice(["both", "both", "above", "below", "none"])
    if side in ("above", "below"):
        low = rng.uniform(0, peak / 2, slices) * (1 if side == "above" else -1)
        high = low + rng.uniform(0, peak, slices)
    ends = [low, low if side == "none" else high]
    if rng.random() < 0.3:
        ends = [np.round(each) for each in ends]
    nearest = rng.choice(["HALF_AWAY_FROM_ZERO", "HALF_TO_EVEN"])
    return {
        "input": x.tolist(),
        "min_range": ends[0].astype(np.float32).tolist(),
        "max_range": np.maximum(ends[0], ends[1]).astype(np.float32).tolist(),
        "T": TYPES[number % len(TYPES)],
        "mode": mode,
        "round_mode": str(nearest) if mode == "SCALED" else "HALF_AWAY_FROM_ZERO",
        "narrow_range": bool(rng.integers(2)),
        "axis": axis,
        "ensure_minimum_range": float(rng.choice([0.01, 0.0001])),
    }


def recorded(given: dict[str, Any]) -> dict[str, Any]:
    """The call and what TensorFlow returns."""
    import tensorflow as tf

    stored = {name: getattr(tf, name.removeprefix("q")) for name in TYPES}
    ends = [np.asarray(given[name], np.float32) for name in ("min_range", "max_range")]
    low, high = ends if given["axis"] is not None else [each[0] for each in ends]
    rest = {name: given[name] for name in ("mode", "narrow_range", "axis")}
    made = tf.quantization.quantize(
        np.asarray(given["input"], np.float32),
        low,
        high,
        getattr(tf, given["T"]),
        round_mode=given["round_mode"],
        ensure_minimum_range=given["ensure_minimum_range"],
        **rest,
    )
    back = tf.quantization.dequantize(made.output, made.output_min, made.output_max, **rest)
    return given | {
        "output": tf.bitcast(made.output, stored[given["T"]]).numpy().tolist(),
        "output_min": np.asarray(made.output_min).tolist(),
        "output_max": np.asarray(made.output_max).tolist(),
        "dequantized": back.numpy().tolist(),
    }


def main() -> None:
    """Writes the file anew."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    import tensorflow as tf

    rng = np.random.default_rng(20)
    cases = [recorded(drawn(number, rng)) for number in range(CASES)]
    lines = ",\n".join(json.dumps(each) for each in cases)
    FILE.write_text(f'{{"version": "{tf.__version__}", "cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} cases of TensorFlow {tf.__version__}: {FILE.name}")


if __name__ == "__main__":
    main()
