"""What the first feed has beyond the inputs of a flat model: labels, as DataLoaders give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qcompiler.errors import FeedError
from qcompiler.execution.feed_sizes import has_sizes
from qcompiler.execution.feeds import SAFE_CASTS
from qcompiler.ir.signature import Signature, TensorSpec
from qcompiler.ir.surplus import Surplus, ambiguous, look_alike


def surplus_of(signature: Signature, feed: Any) -> Surplus | None:
    """What the first feed has beyond the inputs of a flat model, None if nothing.

    Raises:
        FeedError: What would be left out looks like an input.
    """
    names, count = signature.input_names, len(signature.inputs)
    if isinstance(feed, Mapping):
        unknown = tuple(str(name) for name in feed if name not in names)
        known = all(name in feed for name in names)
        return Surplus(names=unknown) if known and unknown else None
    if not isinstance(feed, list | tuple):
        return None
    if len(feed) > 1 and isinstance(feed[0], Mapping) and all(name in feed[0] for name in names):
        unknown = tuple(str(name) for name in feed[0] if name not in names)
        return Surplus(kept=1, trailing=len(feed) - 1, names=unknown, keyed=True)
    if not 0 < count < len(feed):
        return None
    if count == 1 and _are_samples(signature.inputs[0], feed):
        raise FeedError(
            f"the first feed is a list of {len(feed)} samples",
            where=f"input {signature.inputs[0]}",
            why="each has the input's shape without its first axis",
            fix="stack them: numpy.stack(samples), or torch.stack(samples)",
        )
    if count == 1:
        _require_first(signature.inputs[0], feed)
    if look_alike(feed[:count], feed[count:]):
        raise ambiguous(len(feed), count, ", ".join(map(str, signature.inputs)))
    return Surplus(kept=count, trailing=len(feed) - count)


def with_labels(signature: Signature, first: Any) -> Signature:
    """The signature of feeds like the first one, whose labels are left out; of flat models only.

    Raises:
        FeedError: What would be left out looks like an input.
    """
    if signature.flatten is not None or signature.surplus is not None:
        return signature
    surplus = surplus_of(signature, first)
    return signature if surplus is None else replace(signature, surplus=surplus)


def _are_samples(spec: TensorSpec, feed: Sequence[Any]) -> bool:
    """Whether every entry fits the input without its first axis."""
    if spec.shape is None:
        return False
    return len(feed) > 1 and all(has_sizes(spec.shape[1:], _shape(each)) for each in feed)


def _require_first(spec: TensorSpec, feed: Sequence[Any]) -> None:
    """Where another entry than the first is what the model takes: `(label, image)`.

    Raises:
        FeedError: It is so; says which.
    """
    fitting = [i for i, each in enumerate(feed) if _is_input(spec, each)]
    if fitting and fitting[0] > 0:
        raise FeedError(
            f"entry {fitting[0]} of the first feed (counted from 0) is what the model takes",
            where=f"input {spec}",
            why="of entries beyond the model's inputs, the first ones are taken",
            fix=f"give calibration=(feed[{fitting[0]}] for feed in loader)",
        )


def _is_input(spec: TensorSpec, leaf: Any) -> bool:
    """Whether an array has the type and the fixed dimensions of an input."""
    name = str(getattr(leaf, "dtype", "")).removeprefix("torch.")
    wanted = "" if spec.dtype is None else spec.dtype.numpy().name
    right = name == wanted or (name, wanted) in SAFE_CASTS
    return right and spec.shape is not None and has_sizes(spec.shape, _shape(leaf))


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(getattr(leaf, "shape", ()))
