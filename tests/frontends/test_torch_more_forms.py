"""Own decompositions of orders, places and functions. Oracle: the eager operator.

All are translated as one module, since a capture costs more than an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is
from torch.nn import functional as F  # noqa: E402, N812 - its usual name

from qcompiler.execution.feeds import normalize_feed  # noqa: E402
from qcompiler.execution.session import OrtSession  # noqa: E402
from qcompiler.frontends import load  # noqa: E402

Op = Callable[[Tensor], Any]


class Ops(nn.Module):
    def __init__(self, ops: Sequence[Op]) -> None:
        super().__init__()
        self.ops = ops

    def forward(self, x: Tensor) -> list[Any]:
        return [op(x) for op in self.ops]


def both(ops: Sequence[Op], x: Tensor, **options: Any) -> tuple[list[Any], list[Any]]:
    """What ONNX Runtime gives for the translation, and what torch does."""
    program = load(Ops(ops), (x,), **options)
    found = OrtSession(program.model).run(normalize_feed(program.signature, (x,)))
    wanted = [
        t for result in Ops(ops)(x) for t in ([result] if torch.is_tensor(result) else result)
    ]
    return found, wanted


def require_same(ops: Sequence[Op], x: Tensor, rtol: float = 1e-5, **options: Any) -> None:
    found, wanted = both(ops, x, **options)
    assert len(found) == len(wanted)
    for index, (have, want) in enumerate(zip(found, wanted, strict=True)):
        assert have.dtype == want.numpy().dtype, index
        np.testing.assert_allclose(have, want, rtol=rtol, atol=2e-6, err_msg=str(index))


def spread(*shape: int) -> Tensor:
    """Different numbers in no order."""
    numbers = np.random.default_rng(3).standard_normal(shape)
    found: Tensor = torch.tensor(numbers, dtype=torch.float32)
    return found


ORDER: list[Op] = [
    lambda x: x.median(), lambda x: x.median(1), lambda x: x.nanmedian(-1, True),
    lambda x: torch.where(x > 1, torch.nan, x).nanmedian(1)[0],
    lambda x: torch.where(x > 1, torch.nan, x).median(1)[0],
    lambda x: x.kthvalue(2, 1), lambda x: x.round().mode(1), lambda x: x.cummax(1),
    lambda x: x.round().cummin(0), lambda x: x.cumprod(-1), lambda x: x.logcumsumexp(1),
    lambda x: torch.sort(x.round(), dim=1, stable=True), torch.aminmax,
    lambda x: x.amax(()), lambda x: x.amin(dim=(), keepdim=True),
    lambda x: torch.any(x > 1, dim=()), lambda x: x.nansum(1), lambda x: x.long().nansum(1),
    lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.5]), right=True),
    lambda x: torch.searchsorted(x.sort(-1)[0], x[..., :2]),
    lambda x: torch.isin(x.long(), torch.tensor([1, -1])), lambda x: torch.histc(x, 5, -1, 1),
    lambda x: torch.histc(x, 5), lambda x: torch.histc(x, 4, 1, 1),
    lambda x: torch.histc(x * 0 + 2, 4),
    lambda x: torch.where(x > 1, torch.nan, x).cummax(1),
    lambda x: torch.where(x > 1, torch.nan, x).cummin(0),
    lambda x: torch.where(x > 1, -torch.inf, x).cummax(0), lambda x: x.int().cummin(1),
    lambda x: torch.bucketize(torch.where(x > 1, torch.nan, x), torch.tensor([-1.0, 0.5])),
]  # fmt: skip
PLACES: list[Op] = [
    lambda x: torch.masked_select(x, x > 0),
    lambda x: x.scatter(1, torch.tensor([[0, 2]] * 4), x[:, :2], reduce="add"),
    lambda x: x.scatter(1, torch.tensor([[0, 2]] * 4), 2.0, reduce="multiply"),
    lambda x: x.index_reduce(1, torch.tensor([0, 0, 3]), x[:, :3], "amax"),
    lambda x: x.index_reduce(1, torch.tensor([0, 0, 3]), x[:, :3], "mean"),
    lambda x: x.put(torch.tensor([1, -1]), torch.tensor([9.0, 8.0])),
    lambda x: x.take(torch.tensor([[0, 7], [-1, 3]])),
    lambda x: torch.diagonal_scatter(x, x[:, 0], 1),
    lambda x: torch.diagonal_scatter(x, x[:3, 0], -1),
    lambda x: torch.cdist(x, x.flip(0), p=1), lambda x: torch.cdist(x, x[:3]),
    F.pdist, lambda x: x.long().mean(1, dtype=torch.float32),
]  # fmt: skip
FUNCTIONS: list[Op] = [
    lambda x: torch.fmax(torch.where(x > 1, torch.nan, x), x.flip(1)),
    lambda x: torch.fmin(x, torch.tensor(torch.nan)), lambda x: torch.signbit(x * 0),
    lambda x: torch.copysign(x, x.flip(1)), lambda x: torch.copysign(x.long(), -0.0),
    lambda x: torch.copysign(x.long(), x), lambda x: torch.lgamma(torch.where(x > 1, torch.inf, x)),
    lambda x: torch.hypot(x * 1e30, x), lambda x: torch.erfinv(x.tanh()),
    lambda x: torch.lgamma(x * 4), lambda x: torch.digamma(x * 4 + 0.3),
    lambda x: torch.polygamma(1, x.abs() + 0.1), lambda x: torch.i0(x * 4),
    lambda x: torch.special.i0e(x * 4), lambda x: torch.special.i1(x * 4),
    lambda x: torch.special.i1e(x * 4), F.rrelu,
]  # fmt: skip
HALVES: list[Op] = [
    torch.abs, lambda x: x.sum(1), torch.sum, lambda x: x.amax(1), lambda x: x.prod(1),
    lambda x: x.cumsum(0), lambda x: x.sum(1, dtype=torch.float32),
]  # fmt: skip


def test_orders() -> None:
    require_same(ORDER, spread(4, 6), dynamic=False)


def test_places() -> None:
    require_same(PLACES, spread(4, 6), dynamic=False)


def test_functions() -> None:
    require_same(FUNCTIONS, spread(4, 6), rtol=1e-4)


def test_halves_stay_halves() -> None:
    require_same(HALVES, spread(4, 6).half(), rtol=2e-3)


def test_products_of_a_negative_scale() -> None:
    def attend(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, scale=-0.5)

    require_same([attend, lambda x: attend(x[0]), lambda x: attend(x[0, 0])], spread(1, 2, 4, 6))


def test_antialiasing_by_a_factor() -> None:
    def smaller(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=0.7, mode="bilinear", antialias=True)

    require_same([smaller], spread(1, 2, 9, 11))


def test_counts_along_an_axis_fold() -> None:
    """The translation lists CumSum's axis, which ONNX's reference refuses."""
    import qcompiler as qc

    repeats = torch.tensor([1, 2, 0, 3])
    ops = Ops([lambda x: x.repeat_interleave(repeats, dim=1)])
    x = spread(3, 4)
    compiled = qc.compile(ops, "onnxruntime", [(x,)] * 2, scheme="float32", recipe="fast", budget=0)
    np.testing.assert_array_equal(compiled(x)[0], ops(x)[0])
