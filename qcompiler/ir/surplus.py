"""Entries of calibration feeds that the model does not take: labels, as data loaders give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcompiler.errors import FeedError


@dataclass(frozen=True)
class Surplus:
    """What is left out of every feed that is built like the first one.

    Attributes:
        kept: Entries of a tuple that the model takes.
        trailing: Entries behind them that are left out.
        names: Keys of a dict that are left out.
        keyed: The first entry of the tuple is a dict by input name, and is all that is kept.
    """

    kept: int = 0
    trailing: int = 0
    names: tuple[str, ...] = ()
    keyed: bool = False

    def without(self, feed: Any) -> Any:
        """The feed without the surplus; another kind of feed as it is."""
        cut = isinstance(feed, list | tuple) and len(feed) == self.kept + self.trailing
        if cut and self.keyed and isinstance(feed[0], Mapping):
            feed = feed[0]
        if isinstance(feed, Mapping) and self.names:
            return {name: value for name, value in feed.items() if name not in self.names}
        return tuple(feed[: self.kept]) if cut and self.trailing and not self.keyed else feed

    def __str__(self) -> str:
        return "; ".join(filter(None, (self._of_tuples(), self._of_dicts())))

    def _of_dicts(self) -> str:
        if not self.names:
            return ""
        names = ", ".join(map(repr, self.names))
        return f"the feeds' entries {names} are left out: the model has no such input"

    def _of_tuples(self) -> str:
        if not self.trailing:
            return ""
        total = self.kept + self.trailing
        kept = "first entry" if self.kept == 1 else f"first {self.kept} entries"
        used = "is" if self.kept == 1 else "are"
        told = f"only the {kept} of {total} of each feed {used} used"
        return f"{told}: the model takes no more (labels?)"


def look_alike(kept: Sequence[Any], dropped: Sequence[Any]) -> bool:
    """Whether something that is left out has the dtype and the shape of something that is kept."""
    return any(_form(a) is not None and _form(a) == _form(b) for a in kept for b in dropped)


def _form(leaf: Any) -> tuple[str, tuple[int, ...]] | None:
    try:
        return str(leaf.dtype).removeprefix("torch."), tuple(leaf.shape)
    except (AttributeError, RuntimeError):  # no array, or a nested tensor, which has no shape
        return None


def ambiguous(entries: int, inputs: int, where: str) -> FeedError:
    """What is said where entries beyond the model's inputs look like inputs."""
    return FeedError(
        f"the first feed has {entries} entries, the model takes {inputs}",
        where=where,
        why="those that would be left out look like those that are taken, so it may be a mistake",
        fix="give feeds without them, such as calibration=(image for image, _ in loader)",
    )
