"""What the first feed has beyond the inputs of a flat model: labels, as DataLoaders give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qcompiler.errors import FeedError
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
    if not isinstance(feed, list | tuple) or not 0 < count < len(feed):
        return None
    if count == 1 and _are_samples(signature.inputs[0], feed):
        raise FeedError(
            f"the first feed is a list of {len(feed)} samples",
            where=f"input {signature.inputs[0]}",
            why="each has the input's shape without its first axis",
            fix="stack them: numpy.stack(samples), or torch.stack(samples)",
        )
    if look_alike(feed[:count], feed[count:]):
        raise ambiguous(len(feed), count, ", ".join(map(str, signature.inputs)))
    return Surplus(kept=count, trailing=len(feed) - count)


def _are_samples(spec: TensorSpec, feed: Sequence[Any]) -> bool:
    """Whether every entry fits the input without its first axis."""
    if spec.shape is None:
        return False
    wanted = spec.shape[1:]
    return len(feed) > 1 and all(
        len(shape) == len(wanted)
        and all(not isinstance(w, int) or w == s for w, s in zip(wanted, shape, strict=True))
        for shape in (tuple(getattr(each, "shape", ())) for each in feed)
    )
