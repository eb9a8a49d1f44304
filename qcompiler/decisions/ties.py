"""`Ties`: which members belong together, told pair by pair."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)


class Ties(Generic[Member]):
    """Sets of members that are tied, directly or by others: a union-find with halved paths."""

    def __init__(self) -> None:
        self._above: dict[Member, Member] = {}

    def tie(self, one: Member, other: Member) -> None:
        """Puts the sets of both together."""
        self._above[self.root(other)] = self.root(one)

    def root(self, member: Member) -> Member:
        """One of its set, the same for all of them until the next tie; itself if it has none."""
        above = self._above
        while (parent := above.setdefault(member, member)) != member:
            above[member] = above[parent]
            member = above[member]
        return member
