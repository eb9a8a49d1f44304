"""Bringing what a user feeds (dict, tuple, array, torch tensors) to arrays by input name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import FeedError
from qcompiler.ir.signature import Feed, Signature, TensorSpec, as_array
from qcompiler.ir.sizes import SizeRule, bound_sizes, evaluate, symbols_of

Array = npt.NDArray[Any]
SAFE_CASTS = frozenset({("float64", "float32")})
"""Conversions made silently: numpy's default float for a float32 input."""
_HINTS = {
    ("int32", "int64"): "convert it with `.astype(numpy.int64)` (torch: `.long()`)",
    ("int64", "int32"): "convert it with `.astype(numpy.int32)` (torch: `.int()`)",
}


def normalize_feed(signature: Signature, feed: Any) -> Feed:
    """Arrays by input name, in the signature's dtypes.

    Args:
        signature: What the model expects.
        feed: A dict by input name, a tuple or list in input order, or the only input itself; for
            models with nested arguments also what the source's own call takes. Leaves are numpy
            arrays, torch tensors or numbers.

    Raises:
        FeedError: An input is missing, unknown, or of the wrong dtype, rank or shape.
    """
    named = _by_name(signature, feed)
    _check_names(signature, named)
    feed: Feed = {
        spec.name: check_input(spec, as_array(named[spec.name])) for spec in signature.inputs
    }
    check_sizes(signature, feed)
    return feed


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


def check_input(spec: TensorSpec, array: Array) -> Array:
    """The array in the dtype of `spec`, C-contiguous.

    Raises:
        FeedError: The dtype, rank or a fixed dimension differs.
    """
    array = _to_dtype(spec, array)
    if spec.shape is None:
        return np.ascontiguousarray(array) if array.ndim else array
    fits = len(spec.shape) == array.ndim and all(
        not isinstance(want, int) or want == have
        for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise FeedError(
            f"input '{spec.name}' has shape {list(array.shape)}",
            where=f"input {spec}",
            why="rank differs" if len(spec.shape) != array.ndim else "a fixed dimension differs",
            fix=f"feed an array of shape [{', '.join(str(dim) for dim in spec.shape)}]",
        )
    return np.ascontiguousarray(array) if array.ndim else array


def _by_name(signature: Signature, feed: Any) -> Mapping[str, Any]:
    names = signature.input_names
    if isinstance(feed, Mapping):
        if signature.flatten is None or set(feed) == set(names):
            return feed
        return _flattened(signature, (), feed)
    positional = tuple(feed) if isinstance(feed, (tuple, list)) else (feed,)
    if signature.flatten is not None and len(positional) != len(names):
        return _flattened(signature, positional, {})
    if len(positional) != len(names):
        raise FeedError(
            f"{len(positional)} arrays were fed to {len(names)} inputs",
            where=f"inputs {', '.join(names) or '(none)'}",
            fix="feed one array per input, in this order, or a dict by input name",
        )
    return dict(zip(names, positional, strict=True))


def _flattened(
    signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Leaves by input name, through the source's own nesting."""
    assert signature.flatten is not None
    try:
        leaves = signature.flatten(args, kwargs)
    except (KeyError, ValueError, TypeError) as error:
        raise FeedError(
            "the arguments do not have the nesting of the model's example inputs",
            where=f"inputs {', '.join(signature.input_names)}",
            why=str(error),
        ) from error
    if len(leaves) != len(signature.inputs):
        raise FeedError(
            f"the arguments hold {len(leaves)} arrays for {len(signature.inputs)} inputs",
            where=f"inputs {', '.join(signature.input_names)}",
        )
    return dict(zip(signature.input_names, leaves, strict=True))


def _check_names(signature: Signature, named: Mapping[str, Any]) -> None:
    names = signature.input_names
    missing = [name for name in names if name not in named]
    unknown = [str(name) for name in named if name not in names]
    if missing or unknown:
        parts = [f"missing {', '.join(missing)}"] if missing else []
        parts += [f"unknown {', '.join(unknown)}"] if unknown else []
        raise FeedError(
            f"the feed does not match the model's inputs: {'; '.join(parts)}",
            where=f"inputs {'; '.join(str(spec) for spec in signature.inputs)}",
            fix="feed a dict with exactly these names",
        )


def _to_dtype(spec: TensorSpec, array: Array) -> Array:
    if not array.dtype.isnative:  # of another machine's byte order: the same numbers
        array = array.astype(array.dtype.newbyteorder("="))
    if spec.dtype is None or array.dtype == spec.dtype.numpy():
        return array
    have, want = array.dtype.name, spec.dtype.numpy().name
    if (have, want) in SAFE_CASTS:
        return array.astype(spec.dtype.numpy())
    raise FeedError(
        f"input '{spec.name}' has dtype {have}, the model takes {want}",
        where=f"input {spec}",
        fix=_HINTS.get((have, want), f"convert it to {want}"),
    )
