"""Centroids are tuned by the output error, taken with products of ONNX Runtime or by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.ir.program import Program
from qcompiler.ir.verifier import verify
from qcompiler.passes.accuracy.centroids import with_tuned_centroids
from qcompiler.passes.accuracy.products import Product, products
from qcompiler.pipeline.registry import find_target
from qcompiler.quantization.numerics import dequantize

Array = npt.NDArray[Any]
Placer = Callable[[Mapping[str, str]], Program]
Changer = Callable[..., Mapping[str, Any]]
PRODUCTS = ("first", "deep", "last")


def _output_error(product: Product, integers: Array, params: Any) -> float:
    """Sum over all columns of d^T G d, element by element."""
    gap = product.layout.matrix(dequantize(integers, params).astype(np.float64) - product.exact)
    return float(np.einsum("gkn,gkl,gln->", gap, product.moments, gap))


@pytest.mark.parametrize(
    "precision", ["codebook2-weights", "codebook3-weights-per-channel", "codebook2-weights-g16"]
)
def test_every_layer_is_off_by_less(
    precision: str, placed: Placer, feeds: Sequence[dict[str, Array]]
) -> None:
    program = placed(dict.fromkeys(PRODUCTS, precision))
    found = list(products(program, feeds))
    assert len(found) == 3
    before, after = [], []
    for each in found:
        rounding = with_tuned_centroids(each, "me") or each.rounding
        before.append(_output_error(each, each.rounding.integers, each.rounding.params))
        after.append(_output_error(each, rounding.integers, rounding.params))
        assert rounding.params.levels is not None
        assert np.all(np.diff(rounding.params.levels, axis=-1) >= 0)
    assert all(new <= old * (1 + 1e-9) for new, old in zip(after, before, strict=True))
    assert sum(after) < 0.9 * sum(before)


def test_the_pass_that_searches_scales_tunes_them(
    placed: Placer, changed: Changer, written: Callable[[Program], Program],
    feeds: Sequence[dict[str, Array]],
) -> None:  # fmt: skip
    """What the engine computes comes closer to the float network; the same each time."""
    exact = find_target("onnxruntime")().lower(placed(dict.fromkeys(PRODUCTS, "float32")))
    wanted = np.concatenate([exact.run(feed)[0] for feed in feeds])
    lost = []
    for text in ("", "search-weight-scales", "search-weight-scales"):
        program = placed(dict.fromkeys(PRODUCTS, "codebook2-weights"))
        if text:
            assert changed(program, text)["weights"] >= 2
        graph = written(program)
        assert [str(each) for each in verify(graph)] == []
        ran = find_target("onnxruntime")().lower(graph)
        lost.append(float(np.square(np.concatenate([ran.run(f)[0] for f in feeds]) - wanted).sum()))
    assert lost[1] < lost[0]
    assert lost[2] == lost[1]


@pytest.mark.parametrize("text", ["search-weight-scales", "gptq"])
def test_powers_of_two_stay(text: str, placed: Placer, changed: Changer) -> None:
    program = placed(dict.fromkeys(PRODUCTS, "log2-weights"))
    assert changed(program, text) == {"weights": 0}


def test_gptq_leaves_codebooks_alone(placed: Placer, changed: Changer) -> None:
    """The next index is another level, and no step away."""
    program = placed(dict.fromkeys(PRODUCTS, "codebook3-weights"))
    assert changed(program, "gptq") == {"weights": 0}


def test_without_samples_nothing_is_tuned(placed: Placer, changed: Changer) -> None:
    program = placed(dict.fromkeys(PRODUCTS, "codebook3-weights"))
    assert changed(program, "search-weight-scales", samples=()) == {"weights": 0}
