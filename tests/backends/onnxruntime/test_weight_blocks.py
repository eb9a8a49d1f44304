"""Weight-only products on the engine in every type and block size, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.schemes import SCHEMES, WEIGHT_BLOCKS
from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.text import from_text

Array = npt.NDArray[Any]
TOP = {"int8-weights": 127, "int4-weights": 7, "int3-weights": 3}
LAST = {
    "int8-weights-affine": 255,
    "int4-weights-affine": 15,
    "int3-weights-affine": 7,
    "int2-weights": 3,
}
"""Highest integer of forms with a zero point in each block."""


def in_blocks(weight: Array, size: int, top: int) -> Array:
    """Each block of a column rounded to `top` positive and `top + 1` negative steps."""
    found = np.empty_like(weight)
    for start in range(0, len(weight), size):
        block = weight[start : start + size]
        step = np.maximum(block.max(0) / top, -block.min(0) / (top + 1)).astype(np.float32)
        found[start : start + size] = np.clip(np.rint(block / step), -top - 1, top) * step
    return found


def in_levels(weight: Array, size: int, last: int) -> Array:
    """Each block of a column rounded to `last` steps from its lowest value (0 at most) on."""
    found = np.empty_like(weight)
    for start in range(0, len(weight), size):
        block = weight[start : start + size]
        low, high = np.minimum(block.min(0), 0), np.maximum(block.max(0), 0)
        step = ((high.astype(np.float64) - low) / last).astype(np.float32)
        zero = np.rint(-low / step.astype(np.float64))
        found[start : start + size] = (np.clip(np.rint(block / step) + zero, 0, last) - zero) * step
    return found


def rounded(weight: Array, size: int, precision: str) -> Array:
    if precision in LAST:
        return in_levels(weight, size, LAST[precision])
    return in_blocks(weight, size, TOP[precision])


def whole_numbers(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Activations that the kernel's own int8 steps hold exactly, in blocks of any size."""
    x = rng.integers(-127, 128, shape).astype(np.float32)
    x[:, ::16] = 127
    return x


def program_of(weight: Array, call: str = "MatMul(x, w)") -> Any:
    """A product with a stored [inputs, outputs] weight, or its transpose for transB."""
    inputs, outputs = weight.shape
    stored = np.ascontiguousarray(weight.T) if "transB" in call else weight
    rows, columns = stored.shape
    text = f"g (float[4,{inputs}] x) => (float[4,{outputs}] y) <float[{rows},{columns}] w>"
    return from_text(f"{text} {{ [it] y = {call} }}", {"w": stored})


CASES = [
    *((name, size) for name in TOP if "int3" not in name for size in (None, *WEIGHT_BLOCKS)),
    *((name, size) for name in (*LAST, "int3-weights") if "int2" not in name for size in (16, 256)),
    *(("int2-weights", size) for size in (None, 32, 64, 128)),
]


@pytest.mark.parametrize("inputs", [64, 100, 512])
@pytest.mark.parametrize(("precision", "size"), CASES)
@pytest.mark.parametrize("call", ["MatMul(x, w)", "Gemm(x, w)", "Gemm<transB = 1>(x, w)"])
def test_the_kernel_computes_with_the_rounded_weights(
    call: str, precision: str, size: int | None, inputs: int, rng: np.random.Generator
) -> None:
    """Exact but for float32 sums: `inputs` products of up to 127 x 4, relative error 2^-24 each."""
    weight = rng.standard_normal((inputs, 24)).astype(np.float32)
    x = whole_numbers(rng, (4, inputs))
    scheme = precision if size is None else f"{precision}-b{size}"
    compiled = qc.compile(program_of(weight, call), OnnxRuntime(1), [{"x": x}], scheme=scheme)
    assert compiled.plan.precisions == {"it": scheme}
    assert compiled.kernels.ops.get("MatMulNBits") == 1
    wanted = x @ rounded(weight, size or 32, precision).astype(np.float64)
    bound = 2.0**-24 * np.sqrt(inputs) * (np.abs(x) @ np.abs(weight)).max()
    (found,) = compiled.run({"x": x})
    np.testing.assert_allclose(found, wanted, rtol=0, atol=4 * bound)
    # A control that the bound means something: float, or blocks of another size, is not within it.
    other = rounded(weight, 48, precision)
    assert np.abs(x @ weight - wanted).max() > 4 * bound
    assert np.abs(x @ other - wanted).max() > 4 * bound


@pytest.mark.parametrize("call", ["MatMul({}, w)", "Gemm<transB = 1>({}, w)"])
def test_products_that_share_a_weight_are_fused(call: str, rng: np.random.Generator) -> None:
    """ONNX Runtime leaves DequantizeLinear beside the product where two read one initializer."""
    weight = rng.standard_normal((64, 64)).astype(np.float32)
    x = whole_numbers(rng, (4, 64))
    text = f"""g (float[4,64] x) => (float[4,64] y, float[4,64] z) <float[64,64] w>
    {{ n = Neg(x) [a] y = {call.format("x")} [b] z = {call.format("n")} }}"""
    program = from_text(text, {"w": weight})
    compiled = qc.compile(program, OnnxRuntime(1), [{"x": x}], scheme="int8-weights-b64")
    assert compiled.kernels.ops == {"Neg": 1, "MatMulNBits": 2}
    y, z = compiled.run({"x": x})
    np.testing.assert_array_equal(y, -z)


def test_the_search_tries_a_few_sizes_only() -> None:
    program = program_of(np.eye(64, dtype=np.float32))
    target = OnnxRuntime(1)
    (options,) = region_options(program, target, target.regions(program))
    tried = [f.precision for f in options.implementations if "weights" in f.precision]
    assert tried == ["int8-weights-b128", "int4-weights", "int4-weights-b128"]
    everything = {each.precision for each in (*options.implementations, *options.others)}
    absent = {name for name in SCHEMES if "weights" in name} - everything
    assert absent == {"int2-weights-b16", "int2-weights-b256"}
    assert options.named("int4-weights-b16") is not None
    assert options.named("int4-weights-b48") is None


@pytest.mark.parametrize("asked", ["int8-weights-b16", "int2-weights-b64"])
def test_an_override_brings_a_size_into_the_search(asked: str) -> None:
    program = program_of(np.eye(64, dtype=np.float32))
    target = OnnxRuntime(1)
    rules = {"it": asked}
    (options,) = region_options(program, target, target.regions(program), rules)
    assert asked in [each.precision for each in options.implementations]
    x = np.ones((4, 64), np.float32)
    compiled = qc.compile(program, target, [{"x": x}], overrides=rules, recipe="fast")
    assert compiled.plan.precision("it") in (asked, FLOAT)


def test_a_size_that_no_target_has_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="int4-weights-b48"):
        qc.compile(program_of(np.eye(64, dtype=np.float32)), scheme="int4-weights-b48")
