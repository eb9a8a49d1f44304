"""Every rule: how many scales it leaves free, and that choosing them changes no output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]

_BETWEEN: dict[str, tuple[str, int]] = {
    # what stands between two convolutions of 4 channels, and how many scales are free there
    "nothing": ("m = Identity(a)", 4),
    "relu": ("m = Relu(a)", 4),
    "leaky": ("m = LeakyRelu<alpha=0.2>(a)", 4),
    "prelu": ("m = PRelu(a, slope)", 4),
    "neg, abs": ("n = Neg(a) m = Abs(n)", 4),
    "relu as clip": ("m = Clip(a, zero, none)", 4),
    "max pool": ("m = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)", 4),
    "average pool": ("m = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)", 4),
    "pad": ("m = Pad(a, pads)", 4),
    "pad of ones": ("m = Pad(a, pads, one)", 0),
    "resize": ('m = Resize<mode="linear">(a, none, twice)', 4),
    "turned": ("n = Transpose<perm=[0,2,3,1]>(a) o = Relu(n) m = Transpose<perm=[0,3,1,2]>(o)", 4),
    "flat": ("n = Reshape(a, flat) o = Relu(n) m = Reshape(o, back)", 4),
    "one of two halves": ("n, o = Split<axis=1, num_outputs=2>(a) m = Concat<axis=1>(o, n)", 4),
    "same halves": (("n, o = Split<axis=1, num_outputs=2>(a) p = Add(n, o)"
        " m = Concat<axis=1>(p, p)"), 2),
    "slices": (("n = Slice(a, i1, i3, i1) o = Slice(a, i0, i1, i1) p = Slice(a, i3, i4, i1)"
         " m = Concat<axis=1>(n, o, p)"), 4),
    "gathered": ("m = Gather<axis=1>(a, order)", 4),
    "residual": ("n = Conv<kernel_shape=[1,1]>(a, v, c) m = Add(a, n)", 4),
    "added constant": ("m = Add(a, vector)", 4),
    "added number": ("m = Add(a, one)", 0),
    "constant less": ("m = Sub(vector, a)", 4),
    "largest": ("m = Max(a, vector)", 4),
    "times a vector": ("m = Mul(a, vector)", 8),
    "over a vector": ("m = Div(a, vector)", 8),
    "times a number": ("m = Mul(a, half)", 4),
    "gate": ("n = GlobalAveragePool(a) o = Sigmoid(n) m = Mul(a, o)", 0),
    "gate of the input": ("n = ReduceMean(x, i1) o = Sigmoid(n) m = Mul(o, a)", 4),
    "square": ("m = Mul(a, a)", 4),
    "power and root": ("n = Pow(a, two) o = Sqrt(n) m = Relu(o)", 4),
    "square added to itself": ("n = Mul(a, a) m = Add(a, n)", 0),
    "square behind itself": ("n = Mul(a, a) o = Relu(a) m = Concat<axis=1>(n, o)", 0),
    "batch norm": ("m = BatchNormalization(a, gain, vec, mean, var)", 8),
    "sigmoid": ("m = Sigmoid(a)", 0),
    "hard swish": ("m = HardSwish(a)", 0),
    "exponential": ("m = Exp(a)", 0),
    "softmax": ("m = Softmax<axis=1>(a)", 0),
    "mean over channels": ("n = ReduceMean(a, i1) m = Expand(n, four)", 0),
    "mean over places": ("n = ReduceMean(a, places) m = Expand(n, full)", 4),
    "where": ("n = ReduceMax(x, i1) o = Greater(n, half) m = Where(o, a, zero)", 4),
    "shape": ("s = Shape(a) n = Relu(a) m = Reshape(n, s)", 4),
    "read in bodies": (("n = ReduceMax<keepdims=0>(x) o = Greater(n, half)"
        " m = If(o) <then_branch = t () => (float[2,4,6,6] p) { p = Relu(a) },"
        " else_branch = e () => (float[2,4,6,6] q) { q = Mul(a, two) }>"), 0),
    "two branches": ("n = Relu(a) o = Sigmoid(a) m = Add(n, o)", 0),
}  # fmt: skip


def _constants() -> dict[str, Array]:
    rng = np.random.default_rng(7)

    def drawn(*shape: int) -> Array:
        signs = rng.choice(np.asarray([-1.0, 1.0]), shape)
        return np.asarray(rng.uniform(0.2, 1.5, shape) * signs, np.float32)

    found: dict[str, Array] = {
        "w": drawn(4, 2, 3, 3), "b": drawn(4), "r": drawn(3, 4, 3, 3), "v": drawn(4, 4, 1, 1),
        "c": drawn(4), "slope": drawn(4, 1, 1), "vector": drawn(1, 4, 1, 1), "gain": drawn(4),
        "vec": drawn(4), "mean": drawn(4), "var": np.abs(drawn(4)),
    }  # fmt: skip
    numbers = {"zero": 0.0, "one": 1.0, "half": 0.5, "two": 2.0}
    found |= {name: np.asarray(value, np.float32) for name, value in numbers.items()}
    lists = {
        "pads": [0, 0, 1, 1, 0, 0, 1, 1], "flat": [2, 4, 36], "back": [2, 4, 6, 6], "i0": [0],
        "i1": [1], "i3": [3], "i4": [4], "order": [2, 0, 3, 1], "four": [1, 4, 1, 1],
        "places": [2, 3], "full": [2, 4, 6, 6],
    }  # fmt: skip
    found |= {name: np.asarray(each, np.int64) for name, each in lists.items()}
    return found | {"twice": np.asarray([1, 1, 2, 2], np.float32)}


def _text(body: str, constants: dict[str, Array]) -> tuple[str, dict[str, Array]]:
    kinds = {np.dtype(np.float32): "float", np.dtype(np.int64): "int64"}
    used = {
        name: each
        for name, each in constants.items()
        if f" {name}" in body.replace(",", " ").replace("(", " ").replace(")", " ")
        or name in ("w", "b", "r")
    }
    listed = ", ".join(
        f"{kinds[each.dtype]}{list(each.shape) if each.ndim else ''} {name}"
        for name, each in used.items()
    )
    text = f"""g (float[2,2,6,6] x) => (float y) <{listed}> {{
    [first] a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, b)
    {body.replace("none", "")}
    [last] y = Conv<kernel_shape=[3,3]>(m, r) }}"""
    return text, used


def _network(name: str) -> tuple[str, dict[str, Array], int]:
    """Text, its constants, and how many scales are free."""
    body, free = _BETWEEN[name]
    constants = _constants()
    if name == "square behind itself":
        constants["r"] = np.concatenate([constants["r"], -constants["r"]], axis=1)
    return *_text(body, constants), free


def _feed() -> dict[str, Array]:
    return {"x": np.random.default_rng(1).normal(0, 1, (2, 2, 6, 6)).astype(np.float32)}


@pytest.mark.parametrize("name", _BETWEEN)
def test_between_two_convolutions(name: str, scale: Callable[..., Any]) -> None:
    text, used, free = _network(name)
    found = scale(text, used, _feed())
    assert found.free == free
    assert found.error <= 1
    changed = any(fold.index == 1 for fold in found.scales.folds)
    assert changed


@pytest.mark.parametrize("name", _BETWEEN)
def test_values_of_unknown_rank_are_left_alone(name: str, scale: Callable[..., Any]) -> None:
    """Importers leave ranks open; no rule may take such a value for a scalar."""
    text, used, free = _network(name)
    for unranked in ("a", "m", "n", "o", "p", "amnop"):
        found = scale(text, used, _feed(), unranked=tuple(unranked))
        assert found.free <= free
        assert found.error <= 1


def test_a_wrong_factor_would_be_seen(scale: Callable[..., Any], monkeypatch: Any) -> None:
    """The comparison above can fail: without the fold of biases, it does."""
    from qcompiler.passes.equalization import products

    monkeypatch.setattr(products, "_bias", lambda *_: True)
    text, used = _text("m = Relu(a)", _constants())
    assert scale(text, used, _feed()).error > 100
