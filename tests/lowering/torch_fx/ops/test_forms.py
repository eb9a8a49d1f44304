"""Less usual forms of operators: activations of recurrent layers, and forms that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qcompiler.errors import LoweringError
from qcompiler.frontends.onnx_file import program_from_proto
from qcompiler.lowering.torch_fx.checks import check_ops

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_RNG = np.random.default_rng(3)


def f(*shape: int) -> np.ndarray[Any, Any]:
    return _RNG.uniform(-2.0, 2.0, shape).astype(np.float32)


def recurrent(op: str, directions: int = 1) -> list[Any]:
    rows = _GATES[op] * 5
    return [f(4, 2, 3), f(directions, rows, 3), f(directions, rows, 5)]


@pytest.mark.parametrize(
    ("op", "names", "alphas", "betas"),
    [
        ("GRU", ["HardSigmoid", "LeakyRelu"], [0.5, 0.3], [0.1]),
        ("GRU", ["LeakyRelu", "HardSigmoid"], [0.3, 0.5], [0.1]),
        ("LSTM", ["HardSigmoid", "Elu", "HardSigmoid"], [0.3, 0.7, 0.4], [0.2, 0.6]),
        ("LSTM", ["Sigmoid", "Tanh", "Tanh"], [], []),
        ("RNN", ["Relu"], [], []),
        ("RNN", ["Elu"], [0.7], []),
        ("RNN", ["ThresholdedRelu"], [0.4], []),
        ("RNN", ["ScaledTanh"], [0.8], [1.3]),
        ("RNN", ["Affine"], [0.1], [0.2]),
        ("RNN", ["HardSigmoid"], [], []),
        ("RNN", ["LeakyRelu"], [], []),
        ("RNN", ["Softsign"], [], []),
    ],
)
@pytest.mark.parametrize("directions", [1, 2])
def test_activations_take_their_alpha_and_beta_in_order(
    op: str,
    names: list[str],
    alphas: list[float],
    betas: list[float],
    directions: int,
    row_agrees: Any,
) -> None:
    attributes: dict[str, Any] = {"hidden_size": 5, "outputs": 2, "activations": names * directions}
    # The second direction has others, to tell who consumes which.
    other = [0.5 * each for each in alphas], [0.5 * each for each in betas]
    for name, own, more in zip(("alpha", "beta"), (alphas, betas), other, strict=True):
        if own:
            attributes[f"activation_{name}"] = own + more * (directions - 1)
    attributes |= {"direction": "bidirectional"} if directions == 2 else {}
    row_agrees(op, recurrent(op, directions), attributes, True)


_SCALES = np.array([1, 1, 2, 2], np.float32)
_LESS = np.array([1, 1, 0.6, 0.7], np.float32)
_CROP = np.array([0, 0, 0.2, 0.2, 1, 1, 0.8, 0.8], np.float32)
_PAST = np.array([0, 0, -0.2, 0.2, 1, 1, 1.3, 0.8], np.float32)
_SIZES = np.array([7, 8], np.int64)
_TF = {"coordinate_transformation_mode": "tf_crop_and_resize"}


@pytest.mark.parametrize(
    ("op", "operands", "attributes"),
    [
        *(
            (op, recurrent(op), {"hidden_size": 5, "outputs": 2, **form})
            for op in _GATES
            for form in ({"layout": 1}, {"clip": 0.5}, {"clip": 0.5, "direction": "reverse"})
        ),
        ("LSTM", recurrent("LSTM"), {"hidden_size": 5, "outputs": 3, "input_forget": 1}),
        (  # a cell state beyond the bound: only the sums of the gates are clipped
            "LSTM",
            [*recurrent("LSTM"), None, None, f(1, 2, 5), 4 * f(1, 2, 5)],
            {"hidden_size": 5, "outputs": 3, "clip": 0.3},
        ),
        *(
            ("Resize", [f(1, 2, 6, 7), None, _LESS], {"mode": mode, "antialias": 1, **form})
            for mode in ("linear", "cubic")
            for form in ({}, {"exclude_outside": 1})
        ),
        ("Resize", [f(1, 2, 4, 5), None, _SCALES], {"mode": "linear", "antialias": 1}),
        *(
            (
                "Resize",
                [f(1, 2, 4, 5), None, None, _SIZES],
                {"keep_aspect_ratio_policy": policy, "axes": [2, 3], "mode": mode},
            )
            for policy in ("not_larger", "not_smaller")
            for mode in ("nearest", "linear")
        ),
        ("Resize", [f(1, 2, 4, 5), _CROP, _SCALES], _TF),
        ("Resize", [f(1, 2, 4, 5), _PAST, _SCALES], {**_TF, "extrapolation_value": 3.0}),
    ],
)
def test_rare_attributes_agree(
    op: str, operands: list[Any], attributes: dict[str, Any], row_agrees: Any
) -> None:
    row_agrees(op, operands, attributes, True)


def test_forms_without_a_lowering_are_named_before_anything_is_built(one_node: Any) -> None:
    attributes = {"hidden_size": 5, "activations": ["Sine"]}
    model, _ = one_node("RNN", recurrent("RNN"), attributes, True)
    with pytest.raises(LoweringError, match="no torch lowering for RNN with the activations Sine"):
        check_ops(program_from_proto(model).model)
