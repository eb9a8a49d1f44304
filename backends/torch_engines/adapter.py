"""The one module that touches `torch.ops.quantized` and the quantized engines of torch.

Operators are looked up at run time, so that a torch without one of them gives an error that names
it, not an AttributeError in the middle of a lowering. Left out on purpose: `conv*_dynamic`
requantizes its output with the input's parameters (fault B5), `linear_dynamic`'s `reduce_range` is
ignored by qnnpack (fault B10), and `prelu` multiplies positive elements by a 1 that it quantizes
like the slopes, which saturates (fault B12).

Packed weights are made fresh by every call: x86, onednn and qnnpack cache state of the first call
in them (faults B6, B7, B8), so one pack must serve one call site only.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from qcompiler.errors import LoweringError

ENGINES = ("fbgemm", "qnnpack", "onednn", "x86")
_ENGINE_LOCK = threading.RLock()


def available_engines() -> tuple[str, ...]:
    """The quantized engines of this torch build, out of those that are known here."""
    built = torch.backends.quantized.supported_engines
    return tuple(name for name in ENGINES if name in built)


@contextmanager
def engine_scope(engine: str) -> Iterator[None]:
    """Makes `engine` the current one inside the block; the setting is global, hence the lock.

    Raises:
        LoweringError: This torch was built without the engine.
    """
    _hear_deprecation_once()
    with _ENGINE_LOCK:
        before = torch.backends.quantized.engine
        if before == engine:
            yield
            return
        if engine not in torch.backends.quantized.supported_engines:
            raise LoweringError(
                f"this torch has no quantized engine {engine}",
                why=f"torch {torch.__version__} was built with {', '.join(available_engines())}",
                fix="choose another target, or another build of torch",
            )
        torch.backends.quantized.engine = engine
        try:
            yield
        finally:
            torch.backends.quantized.engine = before


@cache
def _hear_deprecation_once() -> None:
    """Takes torch's once-per-process notice on quantized tensors (pytorch/pytorch 184982)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)


def has_op(name: str) -> bool:
    """Whether this torch registers the operator, such as `conv2d_relu.new`."""
    return _find(name) is not None


def op(name: str) -> Callable[..., Any]:
    """The operator `torch.ops.quantized.<name>`, with its overload after a dot.

    Raises:
        LoweringError: This torch does not register it.
    """
    found = _find(name)
    if found is None:
        raise LoweringError(
            f"torch.ops.quantized.{name} does not exist",
            why=f"torch {torch.__version__} has dropped or never had this kernel",
            fix="use torch 2.13, the newest version these kernels were checked with",
        )
    return found


@cache
def _find(name: str) -> Callable[..., Any] | None:
    if name == "prelu" or (name.endswith("_dynamic") and name.startswith("conv")):
        return None
    base, _, overload = name.partition(".")
    packet = getattr(torch.ops.quantized, base, None)
    found: Callable[..., Any] | None = getattr(packet, overload or "default", None)
    return found


@cache
def supports_fused_add(engine: str) -> bool:
    """Whether conv2d + add (+ relu) is one kernel; probed by running one."""
    if engine != "onednn" or not (has_op("conv2d_add") and has_op("conv2d_add_relu")):
        return False
    with engine_scope(engine):
        x = torch.quantize_per_tensor(torch.ones(1, 2, 2, 2), 0.1, 0, torch.quint8)
        weight = np.ones((2, 2, 1, 1), np.int8)
        packed = pack_conv(weight, np.float32(0.1), np.int64(0), None, Window.plain(2))
        try:
            op("conv2d_add")(x, x, packed, 0.1, 0)
        except RuntimeError:
            return False
    return True


def has_vnni() -> bool:
    """Whether this CPU has 8-bit dot products without int16 sums (VNNI).

    oneDNN and FBGEMM can be told to do without by environment variables, which are obeyed here.
    """
    capped = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    fbgemm = os.environ.get("FBGEMM_ENABLE_INSTRUCTIONS", "").upper()
    if capped in ("SSE41", "AVX", "AVX2", "AVX512_CORE") or fbgemm in ("AVX2", "AVX512"):
        return False
    probe = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(probe()) if probe is not None else False


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution, one number per spatial axis.

    Attributes:
        stride: Steps.
        padding: Cells on both sides.
        dilation: Distance of taps.
        groups: Channel groups.
        output_padding: Extra output cells; transposed convolutions only.
        transposed: Whether it is a transposed convolution.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    output_padding: tuple[int, ...] = ()
    transposed: bool = False

    @property
    def rank(self) -> int:
        return len(self.stride)

    @classmethod
    def plain(cls, rank: int) -> Window:
        """Stride 1, no padding."""
        ones, zeros = (1,) * rank, (0,) * rank
        return cls(ones, zeros, ones)


def integer_tensor(
    values: npt.NDArray[Any], scale: npt.NDArray[Any], zero_point: npt.NDArray[Any], axis: int = 0
) -> torch.Tensor:
    """A torch quantized tensor from int8 or uint8 values; per channel when `scale` is a vector."""
    stored = torch.from_numpy(np.array(values, order="C", copy=True))
    if np.ndim(scale) == 0:
        return torch._make_per_tensor_quantized_tensor(stored, float(scale), int(zero_point))
    scales = torch.from_numpy(np.asarray(scale, np.float64))
    points = torch.from_numpy(np.array(zero_point, np.int64))
    return torch._make_per_channel_quantized_tensor(stored, scales, points, axis)


def pack_conv(
    weight: npt.NDArray[Any],
    scale: npt.NDArray[Any] | np.float32,
    zero_point: npt.NDArray[Any] | np.int64,
    bias: npt.NDArray[Any] | None,
    window: Window,
) -> Any:
    """A new packed convolution weight under the current engine.

    Args:
        weight: int8 [out, in/groups, ...]; transposed [in, out/groups, ...].
        scale: float32, scalar or one per output channel.
        zero_point: Same shape as `scale`.
        bias: float32 [out] in real units, or None.
        window: Geometry.
    """
    axis = 1 if window.transposed else 0
    tensor = integer_tensor(weight, np.asarray(scale), np.asarray(zero_point), axis)
    geometry: list[Sequence[int]] = [window.stride, window.padding]
    if window.transposed:
        geometry.append(window.output_padding or (0,) * window.rank)
    geometry.append(window.dilation)
    name = f"conv_transpose{window.rank}d" if window.transposed else f"conv{window.rank}d"
    prepack = op(f"{name}_prepack")
    return prepack(tensor, _bias(bias), *(list(each) for each in geometry), window.groups)


def pack_linear(
    weight: npt.NDArray[Any],
    scale: npt.NDArray[Any],
    zero_point: npt.NDArray[Any],
    bias: npt.NDArray[Any] | None,
) -> Any:
    """A new packed linear weight, int8 [out, in], under the current engine."""
    tensor = integer_tensor(weight, scale, zero_point)
    return op("linear_prepack")(tensor, _bias(bias))


def pack_table(
    values: npt.NDArray[np.uint8],
    scale: npt.NDArray[np.float32],
    zero_point: npt.NDArray[np.int64],
    bits: int,
) -> torch.Tensor:
    """Rows for `embedding_bag_byte_rowwise_offsets` or its 4-bit form, as a plain uint8 tensor.

    A row is its integers (two to a byte in 4 bits, the first one in the low half), then scale and
    bias in float32, or float16 in 4 bits; the kernel computes q * scale + bias, so the bias is
    -zero_point * scale (ATen/native/quantized/cpu/qembeddingbag_prepack.cpp). TorchScript cannot
    read the packed class of `embedding_4bit` back, and its packing takes an odd row for a whole
    number of bytes; plain rows have neither fault.

    Args:
        values: [rows, columns], below 2**bits.
        scale: [rows].
        zero_point: [rows].
        bits: 8 or 4.
    """
    held = np.float32 if bits == 8 else np.float16
    ends = np.stack([scale, -zero_point * scale.astype(np.float64)], axis=1).astype(held)
    stored: npt.NDArray[Any] = values
    if bits == 4:
        even = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
        stored = even[:, ::2] | (even[:, 1::2] << 4)
    return torch.from_numpy(np.concatenate([stored, ends.view(np.uint8)], axis=1))


def look_up_op(bits: int) -> Callable[..., Any]:
    """The kernel that sums bags of rows: (table, indices [bags, rows per bag]) -> float32."""
    return op(f"embedding_bag_{'byte' if bits == 8 else '4bit'}_rowwise_offsets")


def _bias(bias: npt.NDArray[Any] | None) -> torch.Tensor | None:
    return None if bias is None else torch.from_numpy(np.array(bias, np.float32).reshape(-1))
