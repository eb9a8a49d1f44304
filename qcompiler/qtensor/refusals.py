"""What Python could ask of a quantized tensor that is no integer arithmetic: our errors."""

from __future__ import annotations

from typing import Any, NoReturn

from qcompiler.errors import ConfigurationError


class Refusals:
    """Operators and conversions that a `QTensor` has no answer for; each raises what to do."""

    def __radd__(self, other: object) -> NoReturn:
        raise no_operand("+", other)

    def __rsub__(self, other: object) -> NoReturn:
        raise no_operand("-", other)

    def __rmul__(self, other: object) -> NoReturn:
        raise no_operand("*", other)

    def __rmatmul__(self, other: object) -> NoReturn:
        raise no_operand("@", other)

    def __neg__(self) -> NoReturn:
        raise _no_operation("-QTensor")

    def __truediv__(self, other: object) -> NoReturn:
        raise _no_operation(f"QTensor / {type(other).__name__}")

    def __rtruediv__(self, other: object) -> NoReturn:
        raise _no_operation(f"{type(other).__name__} / QTensor")

    def __array__(self, *given: Any, **options: Any) -> NoReturn:
        raise ConfigurationError(
            "a quantized tensor is two arrays in one", fix="say q.integers or q.dequantize()"
        )

    def __bool__(self) -> NoReturn:
        raise ConfigurationError(
            "whether a quantized tensor is true is not defined", fix="compare its integers"
        )


def no_operand(sign: str, other: object) -> ConfigurationError:
    """Of an operator between something else and a quantized tensor."""
    return _no_operation(f"{type(other).__name__} {sign} QTensor")


def _no_operation(said: str) -> ConfigurationError:
    return ConfigurationError(
        f"{said} is no integer arithmetic",
        fix="quantize both operands, or dequantize() this one",
    )
