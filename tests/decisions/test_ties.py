"""Ties against sets that are joined one by one."""

from __future__ import annotations

import numpy as np

from qcompiler.decisions.ties import Ties


def test_tied_members_have_one_root() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ties: Ties[tuple[int, str]] = Ties()
        sets = {(n, "a"): {(n, "a")} for n in range(30)}
        for one, other in rng.integers(0, 30, (20, 2)).tolist():
            ties.tie((one, "a"), (other, "a"))  # tuples that are equal, and never the same
            joined = sets[one, "a"] | sets[other, "a"]
            sets |= dict.fromkeys(joined, joined)
        for member, together in sets.items():
            same = {each for each in sets if ties.root(each) == ties.root(member)}
            assert same == together


def test_a_long_chain_of_ties_is_walked_once() -> None:
    ties: Ties[int] = Ties()
    for number in range(20_000):
        ties.tie(number + 1, number)
    assert {ties.root(number) for number in range(20_001)} == {20_000}
