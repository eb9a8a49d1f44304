"""Fitted scales against numpy's least squares over the outputs themselves."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.quantization.scale_fit import scale_factors


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "size"),
    [(1, 12, 5, 12), (1, 12, 5, 4), (1, 10, 3, 4), (3, 9, 2, 9)],
)
def test_factors_are_those_of_least_squares(
    groups: int, inputs: int, outputs: int, size: int
) -> None:
    draw = np.random.default_rng(0)
    exact = draw.normal(size=(groups, inputs, outputs))
    mixing = draw.normal(size=(groups, inputs, inputs))
    rows = np.matmul(draw.normal(size=(groups, 200, inputs)), mixing)
    held = np.rint(1.3 * exact)
    held[0, :size, 0] = 0.0  # a block that nothing shows the scale of
    blocks = -(-inputs // size)
    owners = np.arange(groups * blocks * outputs).reshape(groups, blocks, outputs)
    moments = np.matmul(rows.transpose(0, 2, 1), rows)
    found = scale_factors(held, exact, moments, size, owners, 0.0)
    for group in range(groups):
        for column in range(outputs):
            parts = [
                rows[group][:, i : i + size] @ held[group, i : i + size, column]
                for i in range(0, inputs, size)
            ]
            wanted = np.linalg.lstsq(
                np.stack(parts, 1), rows[group] @ exact[group, :, column], rcond=None
            )[0]
            seen = np.array([bool(part.any()) for part in parts])
            got = found[owners[group, :, column]]
            np.testing.assert_allclose(got[seen], wanted[seen], rtol=1e-5)
            np.testing.assert_array_equal(got[~seen], 1.0)


def test_one_scale_of_all_columns_serves_them_all() -> None:
    draw = np.random.default_rng(1)
    exact, rows = draw.normal(size=(1, 6, 4)), draw.normal(size=(1, 50, 6))
    held = np.rint(exact)
    moments = np.matmul(rows.transpose(0, 2, 1), rows)
    found = scale_factors(held, exact, moments, 6, np.zeros((1, 1, 4), int), 0.0)
    now, wanted = (rows[0] @ held[0]).ravel(), (rows[0] @ exact[0]).ravel()
    np.testing.assert_allclose(found, [now @ wanted / (now @ now)], rtol=1e-9)


def test_a_ridge_pulls_towards_one() -> None:
    exact, moments = np.full((1, 2, 1), 3.0), np.eye(2)[None]
    owners = np.zeros((1, 1, 1), int)
    factors = [
        scale_factors(np.full((1, 2, 1), 2.0), exact, moments, 2, owners, ridge)[0]
        for ridge in (0.0, 1.0)
    ]
    np.testing.assert_allclose(factors, [1.5, 1.25])
