"""The algebra of folding against direct evaluation in float64."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.passes.fusion.affine import (
    Affine,
    conv_of_constant,
    identity,
    of_batch_norm,
    rounded,
    scale_axis,
)


def test_composition_is_application_in_order(rng: np.random.Generator) -> None:
    first, second = (Affine(rng.normal(size=3), rng.normal(size=3)) for _ in range(2))
    x = rng.normal(size=3)
    both = identity().then(first).then(second)
    inner = first.scale * x + first.shift
    np.testing.assert_allclose(both.scale * x + both.shift, second.scale * inner + second.shift)


def test_batch_norm_by_its_definition(rng: np.random.Generator) -> None:
    scale, bias, mean, x = (rng.normal(size=5) for _ in range(4))
    variance = rng.uniform(0.1, 2, 5)
    step = of_batch_norm(scale, bias, mean, variance, 1e-3)
    wanted = scale * (x - mean) / np.sqrt(variance + 1e-3) + bias
    np.testing.assert_allclose(step.scale * x + step.shift, wanted)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_scale_the_channels_that_they_own(groups: int, rng: np.random.Generator) -> None:
    weight = rng.normal(size=(8, 3, 2, 2))
    scale = rng.normal(size=3 * groups)
    found = scale_axis(weight, scale, 1, groups)
    for row in range(8):
        for channel in range(3):
            factor = scale[row // (8 // groups) * 3 + channel]
            np.testing.assert_allclose(found[row, channel], weight[row, channel] * factor)


def test_scaling_leaves_the_weight_as_it_was(rng: np.random.Generator) -> None:
    weight = rng.normal(size=(2, 2)).astype(np.float32)
    before = weight.copy()
    scale_axis(weight, np.array([2.0]), 0)
    np.testing.assert_array_equal(weight, before)


def test_convolution_of_a_constant(rng: np.random.Generator) -> None:
    weight, shift = rng.normal(size=(4, 3, 2, 2)), rng.normal(size=6)
    found = conv_of_constant(weight, shift, 2)
    wanted = [(weight[o].sum((1, 2)) * shift[o // 2 * 3 : o // 2 * 3 + 3]).sum() for o in range(4)]
    np.testing.assert_allclose(found, wanted)


def test_what_does_not_fit_the_type_is_refused() -> None:
    half = np.zeros(1, np.float16)
    assert rounded(np.array([1e6]), half) is None
    assert rounded(np.array([1e3]), half) is not None
