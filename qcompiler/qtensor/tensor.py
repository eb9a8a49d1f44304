"""`QTensor`: integers with their scale and zero point, and arithmetic on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.qtensor.containers import Container, received
from qcompiler.qtensor.refusals import Refusals, no_operand
from qcompiler.qtensor.text import shown
from qcompiler.quantization import numerics
from qcompiler.quantization.packing import pack_bits, unpack_bits
from qcompiler.quantization.qspace import Levels, QParams, QSpace

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class QTensor(Refusals):
    """A quantized tensor: real = scale * (integer - zero point).

    Made by `qcompiler.quantize`. What it gives back is of the kind it was made from: Python
    numbers and lists, numpy arrays or torch tensors.

    Attributes:
        data: Integers in the space's storage type, any shape.
        params: Scale, zero point and space; a table of levels where they are not even.
        container: What the source came as.
        source: Float values it was made from; None for what arithmetic made.

    Raises:
        ConfigurationError: Integers of another type than the space stores, or parameters that do
            not fit the shape.
    """

    data: Array
    params: QParams
    container: Container = field(default=Container(), repr=False)
    source: Array | None = field(default=None, repr=False)

    __array_ufunc__ = None
    """numpy leaves `array + qtensor` to us, and does not go through the elements."""

    def __post_init__(self) -> None:
        if self.data.dtype != self.space.dtype.numpy():
            raise ConfigurationError(
                f"integers of {self.data.dtype} are none of {self.space.name}",
                fix=f"give {self.space.dtype.name.lower()}",
            )
        numerics.expand(self.params.scale, self.data.shape, self.params)

    @property
    def space(self) -> QSpace:
        """Which integers, and over what a scale is shared."""
        return self.params.space

    @property
    def bits(self) -> int:
        """Bits that the levels need."""
        return self.space.used_bits

    @property
    def scale(self) -> Any:
        """S: a number, or one per channel or group."""
        return self.container.scales(self.params.scale)

    @property
    def zero_point(self) -> Any:
        """Z: an integer, or one per channel or group."""
        return self.container.scales(self.params.zero_point)

    @property
    def levels(self) -> Any:
        """The table that integers are indices into, [K] or [tables, K]; None for even levels."""
        return None if self.params.levels is None else self.container.scales(self.params.levels)

    @property
    def axis(self) -> int | None:
        """Channel or blocked axis; None per tensor."""
        return self.params.axis

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        """How many elements."""
        return self.data.size

    @property
    def integers(self) -> Any:
        """The integers, at least 8 bits wide."""
        return self.container.integers(self.data)

    @property
    def packed(self) -> npt.NDArray[np.uint8]:
        """The integers as bytes, 1-D, `stored_bits` bits each, the first in the lowest bits.

        Negative ones are in two's complement, 16 bits in little endian: as ONNX stores them.
        """
        return pack_bits(self.data, self.stored_bits)

    @property
    def stored_bits(self) -> int:
        """Bits of a packed element: 2, 4, 8 or 16; for a table as many as there are."""
        return self.space.packed_bits

    @property
    def nbytes(self) -> int:
        """Bytes of the packed integers; `overhead` is what comes on top."""
        return -(-self.size * self.stored_bits // 8)

    @property
    def overhead(self) -> int:
        """Bytes of scales, zero points (none where symmetric) and tables."""
        params, bits = self.params, self.space.storage_bits
        points = 0 if self.space.symmetric else -(-params.zero_point.size * bits // 8)
        scales = 0 if self.space.levels is Levels.CODEBOOK else params.scale.nbytes
        return scales + points + (0 if params.levels is None else params.levels.nbytes)

    def dequantize(self) -> Any:
        """S * (q - Z), computed in float32, in the type of the source."""
        return self.container.floats(self.real)

    @property
    def real(self) -> npt.NDArray[np.float32]:
        """The float32 values that are meant, as numpy array; clamped to the largest number."""
        with np.errstate(over="ignore"):
            found = numerics.dequantize(self.data, self.params)
        limit = np.finfo(np.float32).max
        return np.clip(found, -limit, limit)

    def error(self, source: Any = None) -> Any:
        """What was lost: source - dequantized, elementwise, in the type of the source.

        Args:
            source: Float values of the same shape; by default what it was made from.

        Raises:
            ConfigurationError: It was made by arithmetic and no source is given, or another shape.
        """
        return self.container.floats(self._lost(source))

    def mse(self, source: Any = None) -> float:
        """Mean of the squared errors; see `error`."""
        return float(np.mean(np.square(self._lost(source), dtype=np.float64)))

    def sqnr(self, source: Any = None) -> float:
        """Ratio of signal to error in dB; infinite without error."""
        lost = float(np.square(self._lost(source), dtype=np.float64).sum())
        kept = float(np.square(self._source(source), dtype=np.float64).sum())
        if lost == 0.0:
            return float("inf")
        return float(10.0 * np.log10(kept / lost)) if kept else -float("inf")

    def _lost(self, source: Any) -> Array:
        return np.asarray(np.subtract(self._source(source), self.real, dtype=np.float64))

    def _source(self, source: Any) -> Array:
        if source is None and self.source is None:
            raise ConfigurationError(
                "nothing to compare with: this was computed, not quantized",
                fix="give the float values: error(source)",
            )
        values = self.source if source is None else received(source)[0]
        assert values is not None
        if values.shape != self.shape:
            raise ConfigurationError(
                f"a source {values.shape} is not that of {self.shape}",
                fix="give the array that was quantized",
            )
        return values

    @classmethod
    def unpacked(
        cls, data: npt.NDArray[np.uint8], shape: Sequence[int], params: QParams
    ) -> QTensor:
        """From what `packed` gave.

        Raises:
            ConfigurationError: A number of bytes that does not fit the shape.
        """
        space = params.space
        whole = unpack_bits(data, shape, space.packed_bits, signed=space.signed)
        return cls(whole.astype(space.dtype.numpy()), params)

    def with_data(self, data: Array, params: QParams | None = None) -> QTensor:
        """Other integers, in the same or in other parameters, given back as this is."""
        return QTensor(data, params or self.params, self.container)

    def __repr__(self) -> str:
        """S, Z, bits, and the integers."""
        return shown(self.data, self.params)

    def __add__(self, other: object) -> QTensor:
        return self._applied("add", other)

    def __sub__(self, other: object) -> QTensor:
        return self._applied("sub", other)

    def __mul__(self, other: object) -> QTensor:
        return self._applied("mul", other)

    def __matmul__(self, other: object) -> QTensor:
        return self._applied("matmul", other)

    def __getitem__(self, index: Any) -> QTensor:
        """A part of it, by numpy's rules; with scales per channel or group dequantize first."""
        if self.axis is not None:
            raise ConfigurationError(
                "a part of a tensor with several scales is none of its own",
                where=f"{self.space.name} on axis {self.axis}",
                fix="dequantize() first, or use one scale",
            )
        return self.with_data(np.asarray(self.data[index], self.data.dtype))

    def __iter__(self) -> Iterator[QTensor]:
        return (self[index] for index in range(len(self)))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single number has no length")
        return self.shape[0]

    def _applied(self, name: str, other: object) -> QTensor:
        from qcompiler.qtensor import arithmetic

        if not isinstance(other, QTensor):
            raise no_operand(name, other)
        return getattr(arithmetic, name)(self, other)  # type: ignore[no-any-return]

    def add(self, other: QTensor, output: Any = None) -> QTensor:
        """See `qcompiler.qtensor.arithmetic.add`; so the methods below."""
        return self._call("add", other, output=output)

    def sub(self, other: QTensor, output: Any = None) -> QTensor:
        return self._call("sub", other, output=output)

    def mul(self, other: QTensor, output: Any = None) -> QTensor:
        return self._call("mul", other, output=output)

    def matmul(self, other: QTensor, bias: Any = None, output: Any = None) -> QTensor:
        return self._call("matmul", other, bias=bias, output=output)

    def conv2d(self, weight: QTensor, bias: Any = None, **options: Any) -> QTensor:
        return self._call("conv2d", weight, bias, **options)

    def relu(self, output: Any = None) -> QTensor:
        return self._call("relu", output=output)

    def requantize(self, output: Any) -> QTensor:
        return self._call("requantize", output)

    def reshape(self, *shape: Any) -> QTensor:
        from qcompiler.qtensor.shaping import reshape

        return reshape(self, *shape)

    def flatten(self, start: int = 0) -> QTensor:
        from qcompiler.qtensor.shaping import flatten

        return flatten(self, start)

    def transpose(self, *axes: Any) -> QTensor:
        from qcompiler.qtensor.shaping import transpose

        return transpose(self, *axes)

    @property
    def T(self) -> QTensor:  # noqa: N802 - numpy's and torch's name
        """All axes in reverse order."""
        return self.transpose()

    def _call(self, name: str, *given: Any, **options: Any) -> QTensor:
        from qcompiler.qtensor import arithmetic

        function: Callable[..., QTensor] = getattr(arithmetic, name)
        return function(self, *given, **options)
