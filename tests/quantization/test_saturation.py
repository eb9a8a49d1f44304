"""Pairs of products that saturate in int16 are predicted from the weights (T2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.saturation import pair_saturation

Array = npt.NDArray[Any]


def _kernel_sum(x: Array, w: Array) -> Array:
    """`vpmaddubsw` + `vpmaddwd`: pairs saturate in int16, then add up in int32."""
    pairs = (x.astype(np.int64) * w.astype(np.int64)).reshape(-1, 2).sum(1)
    return np.asarray(np.clip(pairs, -32768, 32767).sum())


def test_t02_pair_saturation_is_predicted_from_the_weights() -> None:
    full, seven_bit = np.full((1, 64), 127, np.int8), np.full((1, 64), 63, np.int8)
    pair = np.asarray([[71, 107]], np.int8)
    opposite = np.asarray([[127, -127]], np.int8)
    weights = [full, seven_bit, pair, opposite]
    assert [bool(pair_saturation(w)[0]) for w in weights] == [True, False, True, False]
    assert _kernel_sum(np.asarray([211, 171]), pair) != 211 * 71 + 171 * 107
    assert round(float(_kernel_sum(np.full(64, 255), full)) / (255 * 127 * 64), 3) == 0.506
    assert not pair_saturation(full, xmax=127)[0]
    # Only the channel that can saturate is marked, whichever axis holds the channels.
    both = np.concatenate([full, seven_bit])
    np.testing.assert_array_equal(pair_saturation(both), [True, False])
    np.testing.assert_array_equal(pair_saturation(both.T, axis=1), [True, False])


def test_t02_the_predicate_is_exact() -> None:
    """It is true exactly when some activation vector makes the emulated kernel wrong."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        w = rng.integers(-128, 128, 5).astype(np.int8)
        padded = np.append(w, 0)
        worst = [np.where(padded > 0, 255, 0), np.where(padded < 0, 255, 0)]
        wrong = any(_kernel_sum(x, padded) != (x * padded.astype(int)).sum() for x in worst)
        assert bool(pair_saturation(w[None])[0]) == wrong
        if wrong:
            assert pair_saturation(w[None], adjacent=False)[0]
