"""Bringing what a user feeds (dict, tuple, array, torch tensors) to arrays by input name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import FeedError
from qcompiler.execution.feed_sizes import check_sizes, has_sizes
from qcompiler.ir.signature import Feed, Signature, TensorSpec, as_array, spellings

Array = npt.NDArray[Any]
SAFE_CASTS = frozenset({("float64", "float32"), ("bfloat16", "float32")})
"""Conversions made silently: numpy's default float for a float32 input, and one without loss."""
_HINTS = {
    ("int32", "int64"): "convert it with `.astype(numpy.int64)` (torch: `.long()`)",
    ("int64", "int32"): "convert it with `.astype(numpy.int32)` (torch: `.int()`)",
}

_TEXT = "this is a text: load what it names, or look at what makes the feeds"


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
    return checked_feed(signature, feed_leaves(signature, feed))


def feed_of_another(signature: Signature, feed: Feed) -> Feed:
    """The feed of another model for this one, by position where the names differ.

    Args:
        signature: Of this model.
        feed: What `normalize_feed` gave for the other one.

    Raises:
        FeedError: The models differ in their number of inputs, or this one takes other arrays.
    """
    names = signature.input_names
    if len(names) != len(feed):
        raise FeedError(
            f"the models have {len(feed)} and {len(names)} inputs",
            fix="compare models of the same inputs, such as an artifact and its source",
        )
    if set(names) == set(feed):
        return normalize_feed(signature, feed)
    return normalize_feed(signature, dict(zip(names, feed.values(), strict=True)))


def checked_feed(signature: Signature, named: Mapping[str, Any]) -> Feed:
    """Arrays from leaves by input name; raises as `normalize_feed` does."""
    _check_names(signature, named)
    checked: Feed = {spec.name: _checked_leaf(spec, named[spec.name]) for spec in signature.inputs}
    check_sizes(signature, checked)
    return checked


def _checked_leaf(spec: TensorSpec, leaf: Any) -> Any:
    """An array; for a sequence a list of arrays, for an optional one of both or None.

    Raises:
        FeedError: The leaf is something else, or an array does not fit.
    """
    if not spec.container:
        return check_input(spec, as_array(leaf, spec))
    if spec.container == "optional" and (leaf is None or not isinstance(leaf, (list, tuple))):
        return None if leaf is None else _to_dtype(spec, as_array(leaf, spec))
    if not isinstance(leaf, (list, tuple)):
        raise FeedError(
            f"input '{spec.name}' is a sequence",
            where=f"input {spec}",
            why=f"a {type(leaf).__name__} was fed",
            fix="feed a list of arrays",
        )
    return [_to_dtype(spec, as_array(each, spec)) for each in leaf]


def check_input(spec: TensorSpec, array: Array) -> Array:
    """The array in the dtype of `spec`, C-contiguous.

    Raises:
        FeedError: The dtype, rank or a fixed dimension differs.
    """
    array = _to_dtype(spec, array)
    if spec.shape is None:
        return np.ascontiguousarray(array) if array.ndim else array
    if not has_sizes(spec.shape, array.shape):
        raise FeedError(
            f"input '{spec.name}' has shape {list(array.shape)}",
            where=f"input {spec}",
            why="rank differs" if len(spec.shape) != array.ndim else "a fixed dimension differs",
            fix=_reshaped(spec.shape, array.shape),
        )
    return np.ascontiguousarray(array) if array.ndim else array


def _reshaped(wanted: Sequence[int | str | None], found: tuple[int, ...]) -> str:
    fix = f"feed an array of shape [{', '.join(map(str, wanted))}]"
    return f"{fix}: x[None] of one sample" if has_sizes(wanted[1:], found) else fix


def call_leaves(
    signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Leaves by input name of a call in the source's own spelling, or of one feed.

    Raises:
        FeedError: It is neither.
    """
    single = args[0] if len(args) == 1 and not kwargs else None
    is_nest = isinstance(single, Mapping | list | tuple)
    if signature.flatten is None:
        if is_nest and not _is_array_like(signature, single):
            return feed_leaves(signature, single)
        return _named_call(signature, args, kwargs)
    try:
        leaves = signature.flatten(args, kwargs)
    except FeedError as refused:
        if not is_nest:
            raise
        try:
            return feed_leaves(signature, single)
        except FeedError:
            if isinstance(single, Mapping) and set(single) & set(signature.input_names):
                raise
            raise refused from None
    return dict(zip(signature.input_names, leaves, strict=True))


def _is_array_like(signature: Signature, value: Any) -> bool:
    """Whether a list of numbers is the only input itself."""
    return (
        len(signature.inputs) == 1
        and isinstance(value, list | tuple)
        and not any(hasattr(each, "shape") for each in value)
    )


def _named_call(
    signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Inputs of a flat model, by position and by name as Python binds them."""
    names = signature.input_names
    if len(args) > len(names) or not kwargs:
        return _by_name(signature, args)
    positional = dict(zip(names, args, strict=False))
    twice = [name for name in kwargs if name in positional]
    if twice:
        raise FeedError(
            f"input '{twice[0]}' is given by position and by name",
            where=f"inputs {', '.join(names)}",
            fix="give every input once",
        )
    return positional | dict(kwargs)


def feed_leaves(signature: Signature, feed: Any) -> Mapping[str, Any]:
    """Leaves by input name of one feed; raises as `normalize_feed` does."""
    if signature.surplus is not None:
        feed = signature.surplus.without(feed)
    return _by_name(signature, feed)


def _by_name(signature: Signature, feed: Any) -> Mapping[str, Any]:
    names = signature.input_names
    if isinstance(feed, Mapping) and (signature.flatten is None or set(feed) == set(names)):
        return feed
    positional = tuple(feed) if isinstance(feed, (tuple, list)) else (feed,)
    if signature.flatten is not None:
        found = _flattened(signature, feed)
        if found is not None:
            return found
    if len(positional) != len(names):
        raise FeedError(
            f"{len(positional)} arrays were fed to {len(names)} inputs",
            where=f"inputs {', '.join(names) or '(none)'}",
            fix="feed one array per input, in this order, or a dict by input name",
        )
    return dict(zip(names, positional, strict=True))


def _flattened(signature: Signature, feed: Any) -> Mapping[str, Any] | None:
    """Leaves by input name, through the source's own nesting; None for a flat tuple of leaves.

    Raises:
        FeedError: No way to read the feed fits the source; tells about the likeliest.
    """
    assert signature.flatten is not None
    refused: FeedError | None = None
    for args, kwargs in spellings(feed):
        try:
            leaves = signature.flatten(args, kwargs)
        except FeedError as error:
            refused = refused or error
            continue
        return dict(zip(signature.input_names, leaves, strict=True))
    flat = isinstance(feed, list | tuple) and len(feed) == len(signature.inputs)
    if flat and not any(isinstance(each, Mapping | list | tuple) for each in feed):
        return None
    assert refused is not None
    raise refused


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
    if spec.dtype == ir.DataType.STRING and array.dtype.kind in "OU":
        return array.astype(object)  # numpy's fixed-width strings and objects are one type here
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
        fix=_HINTS.get(
            (have, want), _TEXT if array.dtype.kind in "US" else f"convert it to {want}"
        ),
    )
