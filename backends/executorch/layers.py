"""`Layer`: one computing node of a partitioned program."""

from __future__ import annotations

from dataclasses import dataclass

_PRODUCTS = ("convolution", "linear", "addmm", "mm")


@dataclass(frozen=True)
class Layer:
    """A computing node.

    Attributes:
        op: Name of the edge op, such as `convolution` or `add.Tensor`.
        delegate: Position of the delegate that holds it; None if ExecuTorch's own kernel runs it.
        weight: Buffer of its stored weight.
        objection: Why it does not compute in integers, None if it does.
        dynamic: Whether its data is quantized at run time.
        levels: Scale and zero point of its integer result.
    """

    op: str
    delegate: int | None = None
    weight: str | None = None
    objection: str | None = None
    dynamic: bool = False
    levels: tuple[float, int] | None = None

    @property
    def product(self) -> bool:
        """Whether it is a convolution or a matrix product with a stored weight."""
        return self.op.partition(".")[0] in _PRODUCTS

    @property
    def summary(self) -> str:
        """Kind of kernel and op, such as `int8 convolution`, `float add`, `portable add`."""
        name = self.op.partition(".")[0]
        if self.delegate is None:
            return f"portable {name}"
        if self.objection is not None:
            return f"float {name}"
        return f"{'int8-dynamic' if self.dynamic else 'int8'} {name}"
