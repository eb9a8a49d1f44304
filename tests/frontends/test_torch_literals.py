"""Constants of Python as text."""

from __future__ import annotations

from typing import Any

import pytest

from qcompiler.frontends.torch_literals import is_literal, literal, written


@pytest.mark.parametrize(
    "value",
    [
        slice(None, 3, -1),
        range(1, 9, 2),
        {3, 1, 2},
        frozenset({"b", "a"}),
        set(),
        b"\x00a",
        complex(-0.0, 2.5),
        complex("nan"),
        complex("inf"),
    ],
)
def test_text_gives_the_value_back(value: Any) -> None:
    assert is_literal(value)
    again = literal(written(value))
    assert type(again) is type(value)
    assert repr(again) == repr(value) or again == value


@pytest.mark.parametrize("value", [slice(object()), {object()}, [1], 2, "text", None])
def test_others_are_none(value: Any) -> None:
    assert not is_literal(value)


@pytest.mark.parametrize("text", ["open('x')", "range(stop=3)", "(", "__import__('os')"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="literal"):
        literal(text)
