"""Products, linear algebra, Fourier transforms, complex numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from benchmarks.torch_cases.case import (
    B,
    Case,
    S,
    ints,
    of_function,
)

_T: Any = torch
"""Its functions without types."""


def products() -> Iterator[Case]:
    f = of_function
    yield f("matmul 3x3", lambda x, y: x @ y, B, (4, 6, 3))
    yield f("matmul 3x1", lambda x, y: x @ y, B, (6,))
    yield f("matmul 1x3", lambda x, y: y @ x, B, (5,))
    yield f("matmul 1x1", lambda x, y: x @ y, (6,), (6,))
    yield f("matmul 3x2", torch.matmul, B, (6, 3))
    yield f("matmul 2x3", lambda x, y: torch.matmul(y, x), B, (2, 5))
    yield f("matmul broadcast", lambda x, y: x[:, None] @ y, B, (3, 6, 2))
    yield f(
        "mm mv bmm",
        lambda x, y: (
            torch.bmm(x, y),
            torch.mm(x[0], y[0]),
            torch.mv(x[0], y[0, :, 0]),
            torch.linalg.multi_dot([x[0], y[0], y[0].T]),
            _T.chain_matmul(x[0], y[0]),
        ),
        B,
        (4, 6, 3),
    )
    yield f(
        "addmm",
        lambda x, y, z: (
            torch.addmm(z, x, y, beta=0.5, alpha=2),
            torch.addmm(z[:, :1], x, y),
            torch.addmm(z[0], x, y, beta=0),
            torch.addmv(z[:, 0], x, y[:, 0]),
        ),
        S,
        (6, 3),
        (4, 3),
    )
    yield f(
        "baddbmm",
        lambda x, y, z: (
            torch.baddbmm(z, x, y, beta=0.5, alpha=2),
            torch.addbmm(z[0], x, y, alpha=3),
        ),
        B,
        (4, 6, 3),
        (4, 5, 3),
    )
    yield f("addr", lambda x, y: torch.addr(torch.zeros(4, 3), x, y, alpha=2), (4,), (3,))
    yield f(
        "einsum",
        lambda x, y: (
            torch.einsum("bij,bjk->bik", x, y),
            torch.einsum("bij->bji", x),
            torch.einsum("...ij,...jk", x, y),
            torch.einsum("bij,bij->b", x, x),
            torch.einsum("bii->bi", x[:, :, :5]),
            torch.einsum("i,j->ij", x[0, 0], y[0, 0]),
            torch.einsum("bij->", x),
        ),
        B,
        (4, 6, 3),
    )
    yield f(
        "tensordot",
        lambda x, y: (
            torch.tensordot(x, y, 1),
            torch.tensordot(x, y, dims=([2], [0])),
            torch.tensordot(x, x, dims=([0, 1], [0, 1])),
        ),
        B,
        (6, 3),
    )
    yield f(
        "bilinear",
        lambda x, y: F.bilinear(x, y, torch.ones(3, 6, 5) * 0.1, torch.ones(3)),
        S,
        (4, 5),
    )
    yield f(
        "linear",
        lambda x: (
            F.linear(x, torch.ones(3, 6)),
            F.linear(x, torch.ones(3, 6), torch.arange(3.0)),
            F.linear(x, torch.ones(6)),
        ),
        B,
    )
    yield f("int matmul", lambda x, y: x @ y, ints(4, 5), ints(5, 3))
    yield f(
        "cross",
        lambda x, y: (torch.cross(x, y, dim=1), torch.linalg.cross(x, y, dim=-2)),
        (4, 3, 6),
        (4, 3, 6),
    )
    yield f(
        "matrix_power",
        lambda x: (torch.matrix_power(x, 3), torch.linalg.matrix_power(x, 2)),
        (4, 5, 5),
    )
    yield f("det", torch.det, (4, 5, 5))
    yield f("inverse", lambda x: torch.inverse(x + 9 * torch.eye(5)), (4, 5, 5))
    yield f("solve", lambda x, y: torch.linalg.solve(x + 9 * torch.eye(5), y), (4, 5, 5), (4, 5, 2))
    yield f("cholesky", lambda x: torch.linalg.cholesky(x @ x.mT + torch.eye(5)), (4, 5, 5))
    yield f("pinv", torch.linalg.pinv, S)
    yield f("qr", lambda x: torch.linalg.qr(x)[1].abs(), S)
    yield f("svd", torch.linalg.svdvals, S)
    yield f("matrix_exp", lambda x: torch.matrix_exp(x * 0.1), (4, 5, 5))
    yield f(
        "triangular",
        lambda x, y: torch.linalg.solve_triangular(x.tril() + 9 * torch.eye(5), y, upper=False),
        (4, 5, 5),
        (4, 5, 2),
    )
    yield f(
        "fft",
        lambda x: (
            torch.fft.rfft(x).abs(),
            torch.view_as_real(torch.fft.fft(x)),
            torch.fft.irfft(torch.fft.rfft(x)),
            torch.fft.fft2(x).real,
            torch.fft.fftshift(x),
            torch.fft.rfft(x, norm="ortho").imag,
            torch.fft.ifft(x).real,
        ),
        B,
    )
    yield f("rfft n", lambda x: torch.fft.rfft(x, n=8, dim=1).abs(), B)
    yield f("irfft n", lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=-1), n=6), B)
    yield f(
        "stft",
        lambda x: torch.view_as_real(
            torch.stft(x, 16, 8, window=torch.hann_window(16), return_complex=True)
        ),
        (2, 64),
    )
    yield f(
        "stft abs",
        lambda x: torch.stft(
            x,
            16,
            4,
            12,
            window=torch.hann_window(12),
            center=False,
            normalized=True,
            return_complex=True,
        ).abs(),
        (2, 64),
    )
    yield f(
        "istft",
        lambda x: torch.istft(
            torch.stft(x, 16, 8, window=torch.hann_window(16), return_complex=True),
            16,
            8,
            window=torch.hann_window(16),
        ),
        (2, 64),
    )
    yield f(
        "complex mul",
        lambda x, y: torch.view_as_real(torch.view_as_complex(x) * torch.view_as_complex(y)),
        (4, 6, 2),
        (4, 6, 2),
    )
    yield f(
        "complex polar",
        lambda x: (
            torch.polar(x.abs(), x).real,
            torch.complex(x, x + 1).abs(),
            torch.complex(x, x).angle(),
        ),
        B,
    )
