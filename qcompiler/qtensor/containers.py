"""What a tensor came in as, so that results are given back as the same: Python, numpy or torch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Container:
    """A kind of tensor.

    Attributes:
        kind: `python` (numbers and nested lists), `numpy` or `torch`.
        dtype: The floating type of the source, numpy's or torch's; None for float32.
        device: Of a torch tensor.
    """

    kind: str = "numpy"
    dtype: Any = None
    device: Any = None

    def floats(self, values: Array) -> Any:
        """Float values in the source's type; what a narrower type cannot hold is clamped."""
        if self.kind == "python":
            return values.astype(np.float64).tolist()
        if self.kind == "torch":
            return self._as_torch(values, self.dtype)
        return narrowed(values, np.float32 if self.dtype is None else self.dtype)

    def integers(self, values: Array) -> Any:
        """Integers, at least 8 bits wide; uint16 is int32 in torch, which computes with that."""
        wide = values.astype(_plain(values.dtype))
        if self.kind == "python":
            return wide.tolist()
        if self.kind == "torch":
            return self._as_torch(wide.astype(np.int32) if wide.dtype == np.uint16 else wide, None)
        return wide

    def scales(self, values: Array) -> Any:
        """One number as Python's, several as an array or a torch tensor."""
        if values.ndim == 0:
            return values.item()
        if self.kind == "torch":
            return self._as_torch(values, None)
        return values.tolist() if self.kind == "python" else values

    def _as_torch(self, values: Array, dtype: Any) -> Any:
        import torch

        made = torch.from_numpy(np.array(values))
        if made.is_floating_point():
            dtype = dtype or torch.float32
            limit = torch.finfo(dtype).max
            made = made.double().clamp(-limit, limit).to(dtype)
        return made.to(self.device)


def received(x: object) -> tuple[Array, Container]:
    """An array of numbers, and what it came in as.

    Returns:
        Finite values that float32 can hold, in the shape of `x`: float64 of Python numbers and of
        float64 arrays, else float32.

    Raises:
        ConfigurationError: It is not made of real numbers, or float32 cannot hold them.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        values, container = _from_torch(x, torch)
    elif isinstance(x, bool | str | bytes):
        raise _not_numbers(x)
    elif isinstance(x, int | float | list | tuple):
        values, container = _from_python(x), Container("python")
    else:
        values = np.asarray(x)
        floating = values.dtype.kind in "fV" and values.dtype != np.float32
        container = Container("numpy", values.dtype if floating else None)
    return _checked(values, x), container


def narrowed(values: Array, dtype: Any) -> Array:
    """Float values in another floating type, clamped to what it holds."""
    import ml_dtypes

    limit = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    return np.asarray(np.clip(values.astype(np.float64), -limit, limit).astype(dtype))


def _from_torch(x: Any, torch: Any) -> tuple[Array, Container]:
    if x.is_complex() or x.dtype is torch.bool or x.is_quantized or x.is_meta:
        raise _not_numbers(x)
    dense = x.detach().to_dense() if x.layout is not torch.strided else x.detach()
    dtype = x.dtype if x.dtype.is_floating_point else None
    wide = dense.double() if dense.dtype is torch.float64 else dense.float()
    exact = dense.double() if dtype is None else wide
    return exact.cpu().numpy(), Container("torch", dtype, x.device)


def _from_python(x: object) -> Array:
    try:
        values = np.asarray(x)
    except ValueError as error:
        raise ConfigurationError(
            "the rows of a nested list differ in length",
            why=str(error),
            fix="give rows of one length",
        ) from error
    if values.dtype == object and values.size:
        try:  # integers beyond 64 bits
            return values.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise _not_numbers(x) from error
    return values


def _checked(values: Array, x: object) -> Array:
    if (values.dtype.kind not in "fiuV" and values.size) or values.dtype.names is not None:
        raise _not_numbers(x)
    try:
        wide = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise _not_numbers(x) from error
    bad = ~np.isfinite(wide)
    if bad.any():
        raise ConfigurationError(
            "NaN or infinity cannot be quantized",
            where=f"{int(bad.sum())} of {wide.size} values",
            fix="replace them first, for example by numpy.nan_to_num",
        )
    largest = float(np.max(np.abs(wide), initial=0.0))
    if largest > float(np.finfo(np.float32).max):
        raise ConfigurationError(
            f"{largest:g} is beyond float32, in which scales are kept", fix="scale the data first"
        )
    return wide if values.dtype == np.float64 else wide.astype(np.float32)


def _plain(dtype: Any) -> Any:
    """numpy's own type for a narrow integer type."""
    if np.dtype(dtype).kind in "iu":
        return dtype
    return np.uint8 if str(dtype).startswith("uint") else np.int8


def _not_numbers(x: object) -> ConfigurationError:
    kind = getattr(x, "dtype", type(x).__name__)
    return ConfigurationError(
        f"{kind} cannot be quantized", fix="give real numbers: Python's, numpy's or torch's"
    )
