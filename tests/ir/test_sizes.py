"""Size rules: conditions on symbols, as text that travels with an artifact."""

from __future__ import annotations

import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.ir.sizes import SizeRule, bound_sizes, evaluate, symbols_of


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("s0 <= 4", 4, 5),
        ("4 < s0 <= 8", 8, 4),
        ("s0 % 2 == 0", 6, 7),
        ("Eq(Mod(s0, 2), 0)", 6, 7),
        ("Ne(s0, 1)", 2, 1),
        ("s0 // 3 > 1 and not s0 == 7", 6, 7),
        ("s0 == 1 or s0 >= 3", 3, 2),
        ("Max(2, s0, 3) == 3", 3, 4),
        ("min(s0, 3) + abs(-1) == 4", 9, 2),
        ("-s0 < -2", 3, 2),
        ("Eq(Mod(4, s0), 0)", 2, 0),
    ],
)
def test_rules_hold_for_good_sizes_only(text: str, good: int, bad: int) -> None:
    rule = SizeRule(text)
    assert rule.symbols == {"s0"}
    assert rule.holds({"s0": good})
    assert not rule.holds({"s0": bad})


def test_a_rule_on_an_unbound_symbol_is_not_broken() -> None:
    assert SizeRule("s0 > s1").holds({"s0": 1})


@pytest.mark.parametrize(
    "text", ["", "s0 <", "__import__('os')", "s0.real > 1", "[s0]", "open(s0)", "'a' == s0"]
)
def test_other_code_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="size rule"):
        SizeRule(text)


def test_symbols_are_bound_where_they_stand_alone() -> None:
    found = bound_sizes([("a", ("2*n", 3), (8, 3)), ("b", ("n", None), (4, 5))])
    assert found == {"n": (4, "b")}
    assert symbols_of("2*n") == {"n"}
    assert evaluate("2*n", {"n": 4}) == 8
