"""`SizeRule`: what a capture assumed of the sizes of inputs, checked at every call."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

from qcompiler.errors import ConfigurationError

Shape = tuple[int | str | None, ...]

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "Min": min,
    "Max": max,
    "abs": abs,
    "Abs": abs,
    "Mod": operator.mod,
    "PythonMod": operator.mod,
    "FloorDiv": operator.floordiv,
    "CleanDiv": operator.floordiv,
    "Eq": operator.eq,
    "Ne": operator.ne,
}
"""The second half are sympy's and torch's spellings, so that their `str` can be taken as it is."""


@dataclass(frozen=True)
class SizeRule:
    """One condition on the symbols of the input shapes.

    Attributes:
        text: A Python expression over the symbols that holds for the sizes that the capture is
            good for: `s0 <= 4`, `s0 % 2 == 0`; sympy's `Eq(Mod(s0, 2), 0)` does too.
        where: `file:line` of the code that assumes it, empty if unknown.

    Raises:
        ConfigurationError: The text is no such expression.
    """

    text: str
    where: str = ""

    def __post_init__(self) -> None:
        _parsed(self.text)

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols that it is about."""
        return symbols_of(self.text)

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether sizes by symbol obey it; a rule about an unknown symbol cannot be broken.

        One that divides by a size is broken where that is 0: the source's code fails there, too.
        """
        try:
            return not self.symbols <= sizes.keys() or bool(evaluate(self.text, sizes))
        except ZeroDivisionError:
            return False


def symbols_of(text: str) -> frozenset[str]:
    """Names in an expression that are no functions; none if it is no expression."""
    try:
        nodes = list(ast.walk(_parsed(text)))
    except ConfigurationError:
        return frozenset()
    return frozenset(
        node.id for node in nodes if isinstance(node, ast.Name) and node.id not in _FUNCTIONS
    )


def evaluate(text: str, sizes: Mapping[str, int]) -> Any:
    """The value of an expression over sizes by symbol.

    Raises:
        ConfigurationError: It is no expression of this kind.
        KeyError: A symbol has no size.
    """
    return _value(_parsed(text), sizes)


def bound_sizes(shapes: Iterable[tuple[str, Shape, tuple[int, ...]]]) -> dict[str, tuple[int, str]]:
    """Size of every symbol and the input it was first seen in, from (input, shape, real shape)."""
    found: dict[str, tuple[int, str]] = {}
    for name, declared, real in shapes:
        for dim, size in zip(declared, real, strict=False):
            if isinstance(dim, str) and dim.isidentifier():
                found.setdefault(dim, (size, name))
    return found


@cache
def _parsed(text: str) -> ast.expr:
    try:
        tree = ast.parse(text, mode="eval").body
        _require_known(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f"cannot read the size rule '{text}'", why=str(error)) from error
    return tree


def _require_known(node: ast.expr) -> None:
    """Numbers, names, arithmetic and comparisons only: rules are read from files."""
    match node:
        case ast.Constant(value=bool() | int() | float()) | ast.Name():
            return
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            parts = [left, right]
        case ast.UnaryOp(op, operand) if type(op) in _UNARY:
            parts = [operand]
        case ast.BoolOp(_, values):
            parts = values
        case ast.Compare(left, ops, comparators) if all(type(op) in _COMPARISONS for op in ops):
            parts = [left, *comparators]
        case ast.Call(ast.Name(name), arguments, []) if name in _FUNCTIONS:
            parts = arguments
        case _:
            raise ValueError(f"{type(node).__name__} has no place in it")
    for part in parts:
        _require_known(part)


def _value(node: ast.expr, sizes: Mapping[str, int]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(name):
            return sizes[name]
        case ast.BinOp(left, op, right):
            return _BINARY[type(op)](_value(left, sizes), _value(right, sizes))
        case ast.UnaryOp(unary, operand):
            return _UNARY[type(unary)](_value(operand, sizes))
        case ast.BoolOp(ast.And(), values):
            return all(_value(each, sizes) for each in values)
        case ast.BoolOp(_, values):
            return any(_value(each, sizes) for each in values)
        case ast.Compare(left, ops, comparators):
            ends = [_value(each, sizes) for each in (left, *comparators)]
            pairs = zip(ops, ends, ends[1:], strict=False)
            return all(_COMPARISONS[type(op)](a, b) for op, a, b in pairs)
        case ast.Call(ast.Name(name), arguments):
            return _called(name, [_value(each, sizes) for each in arguments])
    raise AssertionError(ast.dump(node))


def _called(name: str, arguments: list[Any]) -> Any:
    function = _FUNCTIONS[name]
    return reduce(function, arguments) if name in ("Min", "Max") else function(*arguments)
