"""Random numbers: types, moments within five deviations of their mean, and what a seed promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qcompiler.frontends.onnx_file import program_from_proto

_N = 40_000
_LIKE = np.zeros((200, 200), np.float32)


@pytest.fixture
def draws(one_node: Any, run_float: Any) -> Any:
    """(op, operands, attributes) to the outputs of two runs."""

    def run(op: str, operands: list[Any], attributes: dict[str, Any]) -> list[list[Any]]:
        model, feed = one_node(op, operands, attributes, False)
        program = program_from_proto(model)
        return [run_float(program, feed) for _ in range(2)]

    return run


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "mean", "deviation"),
    [
        ("RandomNormal", [], {"shape": [200, 200], "mean": 2.0, "scale": 0.5}, 2.0, 0.5),
        ("RandomNormalLike", [_LIKE], {"mean": -1.0, "scale": 3.0}, -1.0, 3.0),
        ("RandomUniform", [], {"shape": [200, 200], "low": 1.0, "high": 3.0}, 2.0, 12**-0.5 * 2),
        ("RandomUniformLike", [_LIKE], {"low": -1.0, "high": 1.0}, 0.0, 12**-0.5 * 2),
        ("Bernoulli", [_LIKE + np.float32(0.3)], {}, 0.3, 0.21**0.5),
        ("Dropout", [_LIKE + 1, np.float32(0.25), np.array(True)], {}, 1.0, (0.25 / 0.75) ** 0.5),
        (
            "Multinomial",
            [np.log(np.array([[0.2, 0.8]], np.float32))],
            {"sample_size": _N, "dtype": 7},
            0.8,
            0.4,
        ),
    ],
)
def test_moments_are_those_asked_for(
    op: str,
    operands: list[Any],
    attributes: dict[str, Any],
    mean: float,
    deviation: float,
    draws: Any,
) -> None:
    for (drawn,) in draws(op, operands, attributes):
        assert drawn.dtype == (np.int64 if op == "Multinomial" else np.float32)
        assert drawn.size == _N
        assert abs(drawn.mean(dtype=np.float64) - mean) < 5 * deviation / _N**0.5
        assert abs(drawn.std(dtype=np.float64) / deviation - 1) < 0.05


def test_a_seed_repeats_the_numbers_and_no_seed_does_not(draws: Any) -> None:
    shape = {"shape": [8]}
    (first,), (second,) = draws("RandomNormal", [], {**shape, "seed": 3.0})
    assert np.array_equal(first, second)
    (first,), (second,) = draws("RandomNormal", [], shape)
    assert not np.array_equal(first, second)
