"""Sizes of a feed, held against what the capture of the source assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcompiler.errors import FeedError
from qcompiler.ir.signature import Feed, Signature
from qcompiler.ir.sizes import SizeRule, bound_sizes, evaluate, symbols_of


def check_sizes(signature: Signature, feed: Feed) -> None:
    """Holds the sizes of a feed against what the capture of the source assumed.

    Raises:
        FeedError: A size that the captured program is not good for.
    """
    if signature.rules is None:
        return
    shapes = [(s.name, s.shape or (), feed[s.name].shape) for s in signature.inputs]
    bound = bound_sizes(shapes)
    sizes = {symbol: size for symbol, (size, _) in bound.items()}
    for name, declared, real in shapes:
        for axis, (dim, size) in enumerate(zip(declared, real, strict=False)):
            if isinstance(dim, str) and symbols_of(dim) and symbols_of(dim) <= sizes.keys():
                wanted = evaluate(dim, sizes)
                if wanted != size:
                    raise _unlike(name, axis, size, wanted, dim, bound)
    for rule in signature.rules:
        if not rule.holds(sizes):
            raise _outside(rule, bound)


def _unlike(
    name: str, axis: int, size: int, wanted: int, dim: str, bound: Mapping[str, tuple[int, str]]
) -> FeedError:
    others = ", ".join(dict.fromkeys(bound[symbol][1] for symbol in sorted(symbols_of(dim))))
    return FeedError(
        f"axis {axis} of input '{name}' has size {size}, it has to be {wanted} here",
        where=f"input '{name}'",
        why=f"the model was captured with the size {dim}, which input '{others}' fixes",
        fix="feed arrays whose sizes fit each other",
    )


def _outside(rule: SizeRule, bound: Mapping[str, tuple[int, str]]) -> FeedError:
    sizes = ", ".join(f"{s} = {bound[s][0]} (input '{bound[s][1]}')" for s in sorted(rule.symbols))
    return FeedError(
        f"the model was captured for sizes with {rule.text}",
        where=sizes + (f", assumed at {rule.where}" if rule.where else ""),
        why="for other sizes the source takes another way through its code",
        fix="feed sizes within the rule, or compile again with feeds of the size you need",
    )


def has_sizes(wanted: Sequence[int | str | None], found: Sequence[int]) -> bool:
    """Whether a shape has the rank and the fixed dimensions of another one."""
    return len(wanted) == len(found) and all(
        not isinstance(want, int) or want == have for want, have in zip(wanted, found, strict=True)
    )
