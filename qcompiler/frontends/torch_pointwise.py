"""Own decompositions of elementwise functions that PyTorch's translation does not know."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from qcompiler.frontends.torch_form import OwnForm

_ATEN = torch.ops.aten


def _float(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.float()


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Highest power first."""
    total = torch.full_like(x, coefficients[0])
    for each in coefficients[1:]:
        total = total * x + each
    return total


def extreme(op: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """fmax and fmin: the other operand where one is NaN."""

    def form(x: Tensor, y: Tensor) -> Tensor:
        found = op(x, y)
        if not found.is_floating_point():
            return found
        x, y = x.to(found.dtype), y.to(found.dtype)
        return torch.where(x.isnan(), y, torch.where(y.isnan(), x, found))

    return form


def signbit(x: Tensor) -> Tensor:
    """Whether the sign is minus; minus zero has one, which its reciprocal shows."""
    if not x.is_floating_point():
        return x < 0 if x.dtype is not torch.bool else torch.zeros_like(x)
    return (x < 0) | ((x == 0) & (torch.reciprocal(x) < 0))


def copysign(x: Tensor, y: Any) -> Tensor:
    """The size of one, the sign of the other."""
    size = _float(x.to(torch.result_type(x, y))).abs()
    if not isinstance(y, Tensor):
        return -size if math.copysign(1, y) < 0 else size
    return torch.where(signbit(y), -size, size)


def hypot(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(x^2 + y^2), scaled by the larger one, whose square may be out of range."""
    large, small = torch.maximum(x.abs(), y.abs()), torch.minimum(x.abs(), y.abs())
    whole = (large == 0) | large.isinf()
    ratio = small / torch.where(whole, torch.ones_like(large), large)
    return torch.where(whole, large, large * torch.sqrt(1 + ratio * ratio))


_CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
    -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_ENDS = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
    0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip
"""M. Giles, Approximating the erfinv function, GPU Computing Gems, 2011: single precision."""


def erfinv(x: Tensor) -> Tensor:
    """To a few units in the last place of float32."""
    x = _float(x)
    w = -torch.log((1 - x) * (1 + x))
    near = _polynomial(w - 2.5, _CENTRE)
    far = _polynomial(torch.sqrt(w.clamp(min=0)) - 3, _ENDS)
    found = x * torch.where(w < 5, near, far)
    return torch.where(x.abs() == 1, x * math.inf, found)


_LANCZOS = (
    676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip
"""g = 7, n = 9 (P. Godfrey, A note on the computation of the convergent Lanczos series)."""


def lgamma(x: Tensor) -> Tensor:
    """log |gamma(x)|; below 0.5 by reflection."""
    x = _float(x)
    mirrored = torch.where(x < 0.5, 1 - x, x) - 1
    total = torch.full_like(x, 0.99999999999980993)
    for number, each in enumerate(_LANCZOS):
        total = total + each / (mirrored + (number + 1))
    t = mirrored + 7.5
    right = 0.5 * math.log(2 * math.pi) + (mirrored + 0.5) * torch.log(t) - t + torch.log(total)
    rest = x - torch.floor(x)
    left = math.log(math.pi) - torch.log(torch.sin(math.pi * rest).abs()) - right
    pole = ((x <= 0) & (rest == 0)) | x.isinf()
    return torch.where(pole, math.inf, torch.where(x < 0.5, left, right))


def _beyond_six(x: Tensor, term: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Where series converge: |x - 1/2| + 1/2 plus as many ones, and the terms at those passed."""
    at = torch.where(x < 0.5, 1 - x, x)
    total = torch.zeros_like(x)
    for _ in range(6):
        small = at < 6
        total = total + torch.where(small, term(at), torch.zeros_like(at))
        at = torch.where(small, at + 1, at)
    return at, total


def digamma(x: Tensor) -> Tensor:
    """Derivative of lgamma: recurrence to beyond 6, then the asymptotic series."""
    x = _float(x)
    at, shift = _beyond_six(x, lambda at: -1 / at)
    inverse = 1 / (at * at)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    right = shift + torch.log(at) - 0.5 / at - series
    rest = x - torch.floor(x)
    left = right - math.pi / torch.tan(math.pi * rest)
    found = torch.where(x < 0.5, left, right)
    pole = (x < 0) & (rest == 0)
    found = torch.where(pole, math.nan, found)
    return torch.where(x == 0, -math.inf * torch.where(signbit(x), -1.0, 1.0), found)


def polygamma(n: int, x: Tensor) -> Any:
    """digamma and its derivative, for positive numbers and by reflection."""
    if n == 0:
        return digamma(x)
    if n != 1:
        return NotImplemented
    x = _float(x)
    at, total = _beyond_six(x, lambda at: 1 / (at * at))
    i = 1 / (at * at)
    series = 1 / at + i / 2 + i / at * (1 / 6 - i * (1 / 30 - i * (1 / 42 - i / 30)))
    right = total + series
    wave = torch.sin(math.pi * (x - torch.floor(x)))
    return torch.where(x < 0.5, (math.pi / wave) ** 2 - right, right)


_I0_NEAR = (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0)
_I0_FAR = (
    0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565, 0.00225319,
    0.01328592, 0.39894228,
)  # fmt: skip
_I1_NEAR = (0.00032411, 0.00301532, 0.02658733, 0.15084934, 0.51498869, 0.87890594, 0.5)
_I1_FAR = (
    -0.00420059, 0.01787654, -0.02895312, 0.02282967, -0.01031555, 0.00163801, -0.00362018,
    -0.03988024, 0.39894228,
)  # fmt: skip
"""Abramowitz and Stegun, 9.8.1 to 9.8.4: to 1.6e-7 and 1.9e-7."""


def _bessel(near: Sequence[float], far: Sequence[float], odd: bool, scaled: bool) -> Any:
    """Modified Bessel functions of the first kind; `scaled` by exp(-|x|)."""

    def form(x: Tensor) -> Tensor:
        x = _float(x)
        size = x.abs()
        inner = _polynomial((size / 3.75) ** 2, near) * (size if odd else 1.0)
        large = size.clamp(min=3.75)
        outer = _polynomial(3.75 / large, far) / torch.sqrt(large)
        if scaled:
            inner = inner * torch.exp(-size)
        else:
            outer = outer * torch.exp(large)
        found = torch.where(size < 3.75, inner, outer)
        return torch.where(x < 0, -found, found) if odd else found

    return form


def rrelu(
    x: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Any:
    """In evaluation mode the mean slope."""
    if training:
        return NotImplemented
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


FORMS: Mapping[Any, OwnForm] = {
    _ATEN.fmax.default: OwnForm(extreme(torch.maximum)),
    _ATEN.fmin.default: OwnForm(extreme(torch.minimum)),
    _ATEN.signbit.default: OwnForm(signbit),
    _ATEN.copysign.Tensor: OwnForm(copysign),
    _ATEN.copysign.Scalar: OwnForm(copysign),
    _ATEN.hypot.default: OwnForm(hypot),
    _ATEN.erfinv.default: OwnForm(erfinv),
    _ATEN.special_erfinv.default: OwnForm(erfinv),
    _ATEN.lgamma.default: OwnForm(lgamma),
    _ATEN.special_gammaln.default: OwnForm(lgamma),
    _ATEN.digamma.default: OwnForm(digamma),
    _ATEN.special_digamma.default: OwnForm(digamma),
    _ATEN.polygamma.default: OwnForm(polygamma),
    _ATEN.i0.default: OwnForm(_bessel(_I0_NEAR, _I0_FAR, odd=False, scaled=False)),
    _ATEN.special_i0.default: OwnForm(_bessel(_I0_NEAR, _I0_FAR, odd=False, scaled=False)),
    _ATEN.special_i0e.default: OwnForm(_bessel(_I0_NEAR, _I0_FAR, odd=False, scaled=True)),
    _ATEN.special_i1.default: OwnForm(_bessel(_I1_NEAR, _I1_FAR, odd=True, scaled=False)),
    _ATEN.special_i1e.default: OwnForm(_bessel(_I1_NEAR, _I1_FAR, odd=True, scaled=True)),
    _ATEN.rrelu.default: OwnForm(rrelu),
}
"""operator -> own decomposition."""
