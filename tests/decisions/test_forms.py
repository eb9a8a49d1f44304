"""What regions may run as, and what is said where they may not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.onednn import Onednn
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.forms import region_options
from qcompiler.errors import LegalityError
from qcompiler.ir.text import from_text
from qcompiler.target.contract import Target

X = {"x": np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64)}
PRODUCT = "g (float[2,64] x) => (float[2,64] y) <float[64,64] w> { [it] y = MatMul(x, w) }"


def weight(largest: float) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(0).uniform(-1, 1, (64, 64))
    return np.asarray(drawn * (largest / np.abs(drawn).max()), np.float32)


def test_a_form_that_a_region_does_not_have_is_named_with_those_it_has() -> None:
    text = "g (float[1,2,4,4] x) => (float[1,2,4,4] y) <float[2,2,1,1] w> { [cv] y = Conv(x, w) }"
    with pytest.raises(LegalityError) as raised:
        qc.compile(from_text(text), scheme="int8-weights")
    said = str(raised.value)
    assert "Conv has no form 'int8-weights' on onnxruntime [at cv]" in said
    # int8 would need calibration data
    assert "(hint: legal here: float32, fp8-weights, fp8-e5m2-weights, codebook2-weights, " in said


def test_a_constraint_is_the_reason_where_there_is_one() -> None:
    text = "g (double[2,2] x) => (double[2,2] y) <double[2,2] w> { [mm] y = MatMul(x, w) }"
    with pytest.raises(LegalityError, match=r"its data is double, not float32 \[at mm\]") as raised:
        qc.compile(from_text(text), scheme="int8-weights")
    assert "has no form" not in str(raised.value)


@pytest.mark.parametrize("target", [OnnxRuntime(1), Onednn()], ids=lambda each: each.name)
@pytest.mark.parametrize(("largest", "legal"), [(3e-39, False), (1e-38, False), (1e-12, True)])
def test_weights_below_the_smallest_scale_stay_float(
    largest: float, legal: bool, target: Target
) -> None:
    program = from_text(PRODUCT, {"w": weight(largest)})
    (options,) = region_options(program, target, target.regions(program))
    dynamic = options.named("int8-dynamic")
    assert (dynamic is not None) == legal
    assert any("rounded to 0" in reason for reason in options.reasons) != legal


@pytest.mark.parametrize("scheme", ["int8-weights", "int4-weights", "dynamic"])
def test_small_weights_that_are_legal_keep_their_accuracy(scheme: str) -> None:
    """The same relative error as with weights of order one: steps scale with the weights."""
    errors = []
    for largest in (1.0, 1e-12, 1e-16):
        program = from_text(PRODUCT, {"w": weight(largest)})
        compiled = qc.compile(program, OnnxRuntime(1), [X], scheme=scheme)
        wanted = X["x"].astype(np.float64) @ weight(largest)
        errors.append(np.square(compiled.run(X)[0] - wanted).sum() / np.square(wanted).sum())
    assert 0 < errors[0] < 0.02
    np.testing.assert_allclose(errors, errors[0], rtol=0.05)


def test_a_network_of_nothing_but_tiny_weights_is_refused_or_float() -> None:
    program = from_text(PRODUCT, {"w": weight(1e-38)})
    with pytest.raises(LegalityError, match=r"largest weight is 1\.0e-38"):
        qc.compile(program, OnnxRuntime(1), [X], scheme="int4-weights")
    compiled = qc.compile(program, OnnxRuntime(1), [X], recipe="fast")
    assert set(compiled.plan.precisions.values()) == {"float32"}
