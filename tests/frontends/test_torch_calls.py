"""The calling convention of captured modules: every call means what was captured, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from qcompiler.errors import ArtifactError, FeedError
from qcompiler.execution.feeds import call_leaves, normalize_feed
from qcompiler.frontends import load
from qcompiler.frontends.torch_calls import Convention
from qcompiler.frontends.torch_frozen import same_constant
from qcompiler.frontends.torch_nests import leaves, parse_nest
from qcompiler.frontends.torch_trees import children
from qcompiler.ir.program import Program

X, MASK = torch.randn(4, 3), torch.ones(4, 3)


class Optional(nn.Module):
    def forward(
        self, x: torch.Tensor, mask: Any = None, scale: float = 2.0, *, flag: bool = True
    ) -> torch.Tensor:
        x = x * scale if flag else x
        return x if mask is None else x * mask


class Open(nn.Module):
    def forward(self, x: torch.Tensor, *rest: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + sum(rest) + sum(named.values()))


class Nested(nn.Module):
    def forward(self, batch: dict[str, Any], extra: Any = ()) -> torch.Tensor:
        found: torch.Tensor = batch["a"] + batch["b"][0]
        return found + extra[0] if len(extra) else found


@dataclass
class Pair:
    x: torch.Tensor
    m: torch.Tensor | None = None


torch.export.register_dataclass(Pair)


class TakesPair(nn.Module):
    def forward(self, pair: Pair) -> torch.Tensor:
        return pair.x if pair.m is None else pair.x * pair.m


class Out(NamedTuple):
    logits: torch.Tensor
    aux: Any


class GivesOut(nn.Module):
    def forward(self, x: torch.Tensor) -> Out:
        return Out(x * 2, None)


def _fed(program: Program, *args: Any, **kwargs: Any) -> list[torch.Tensor]:
    return list(call_leaves(program.signature, args, kwargs).values())


@pytest.fixture(scope="module")
def optional() -> Callable[[Any], Program]:
    known: dict[str, Program] = {}

    def of(example: Any) -> Program:
        return known.setdefault(str(type(example)) + str(len(example)), load(Optional(), example))

    return of


@pytest.mark.parametrize("example", [(X,), (X, None), (X, None, 2.0), {"x": X, "flag": True}])
def test_spellings_of_one_call_are_one(example: Any) -> None:
    program = load(Optional(), example)
    for args, kwargs in (
        ((X,), {}),
        ((X, None), {}),
        ((X, None, 2), {}),
        ((), {"x": X}),
        ((X,), {"mask": None, "flag": True}),
    ):
        (leaf,) = _fed(program, *args, **kwargs)
        assert leaf is X


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [
        ((X, MASK), {}, "mask"),
        ((X,), {"mask": MASK}, "mask"),
        ((X, None, 3.0), {}, "scale"),
        ((X,), {"scale": torch.tensor(2.0)}, "scale"),
        ((X,), {"flag": False}, "flag"),
        ((X,), {"flag": 1}, "flag"),
    ],
)
def test_what_the_capture_froze_has_its_value(args: Any, kwargs: Any, named: str) -> None:
    for example in ((X,), {"x": X, "mask": None, "scale": 2.0, "flag": True}):
        with pytest.raises(FeedError, match=f"argument '{named}'"):
            _fed(load(Optional(), example), *args, **kwargs)


def test_a_captured_tensor_is_needed() -> None:
    program = load(Optional(), (X, MASK))
    assert [
        leaf is wanted for leaf, wanted in zip(_fed(program, X, mask=MASK), (X, MASK), strict=True)
    ]
    for args in ((X,), (X, None)):
        with pytest.raises(FeedError, match="argument 'mask' is None"):
            _fed(program, *args)


def test_open_arguments_are_counted_and_named() -> None:
    program = load(Open(), (X, MASK, {"w": X}))
    assert len(_fed(program, X, MASK, w=X)) == 3
    for args, kwargs in (((X, MASK, MASK), {"w": X}), ((X,), {"w": X}), ((X, MASK), {"v": X})):
        with pytest.raises(FeedError):
            _fed(program, *args, **kwargs)
    with pytest.raises(FeedError, match="'v' was not part of the captured call"):
        _fed(program, X, MASK, w=X, v=X)


@pytest.mark.parametrize("feed", [{"batch": {"a": X, "b": [MASK]}}, {"b": [MASK], "a": X}])
def test_one_dict_argument_is_called_and_fed_alike(feed: dict[str, Any]) -> None:
    program = load(Nested(), feed)
    batch = {"b": (MASK,), "a": X}  # another order, a tuple for a list
    for found in (_fed(program, batch), _fed(program, batch=batch), _fed(program, feed)):
        assert len(found) == 2
        assert found[program.signature.input_names.index("batch_a")] is X
    for wanted in (batch, (batch,), {"batch": batch}):
        assert len(normalize_feed(program.signature, wanted)) == 2
    with pytest.raises(FeedError, match="missing 'b'; unknown 'c'"):
        _fed(program, {"a": X, "c": X})
    with pytest.raises(FeedError, match=r"'batch\['b'\]' is not nested"):
        _fed(program, {"a": X, "b": X})


def test_a_tensor_and_a_dict() -> None:
    program = load(Nested(), ({"a": X, "b": [X]}, (MASK,)))
    assert len(normalize_feed(program.signature, ({"a": X, "b": [X]}, (MASK,)))) == 3


def test_dataclasses_keep_their_batch_and_their_form() -> None:
    program = load(TakesPair(), (Pair(X, MASK),))
    assert [spec.shape and spec.shape[0] for spec in program.signature.inputs] != [4, 4]
    assert len(_fed(program, Pair(X, MASK))) == 2
    with pytest.raises(FeedError, match=r"it was Pair\(x, m\), it is Pair\(x\)"):
        _fed(program, Pair(X))


def _again(program: Program) -> Convention:
    assert program.signature.convention is not None
    return Convention.parse(program.signature.convention)


def test_a_convention_survives_being_written() -> None:
    again = _again(load(Optional(), (X,)))
    assert again.flatten((X, None, 2.0), {}) == [X]
    with pytest.raises(FeedError, match="argument 'mask'"):
        again.flatten((X, MASK), {})
    pair = _again(load(TakesPair(), (Pair(X, MASK),)))
    assert len(pair.flatten((Pair(X, MASK),), {})) == 2
    assert not pair.stand_ins


def test_named_results_survive_being_written() -> None:
    program = load(GivesOut(), (X,))
    again = _again(program)
    assert type(again.unflatten([X])) is Out
    assert program.signature.convention is not None
    elsewhere = program.signature.convention.replace(f'"{Out.__module__}:', '"not_loaded:')
    other = Convention.parse(elsewhere)
    result = other.unflatten([X])
    assert result.logits is X
    assert result.aux is None
    assert "not_loaded" in other.notes[0]


def test_reading_a_convention_imports_nothing() -> None:
    stand_ins: list[str] = []
    body = {"kind": "namedtuple", "class": "antigravity:fly", "fields": ["a"], "parts": [None]}
    parse_nest(body, stand_ins)
    assert stand_ins == ["antigravity:fly"]
    with pytest.raises(ArtifactError):
        parse_nest({"kind": "other"}, stand_ins)
    with pytest.raises(ArtifactError):
        Convention.parse("{}")


def test_leaves_are_named_by_their_place() -> None:
    program = load(Nested(), {"a": X, "b": [MASK]})
    named = list(
        leaves({"a": 1, "b": [2]}, children(children(_again(program).inputs)[0])[0], "batch")
    )
    assert named == [("batch['a']", 1), ("batch['b'][0]", 2)]


@pytest.mark.parametrize(
    ("value", "frozen", "same"),
    [
        (2, 2.0, True),
        (True, 1, False),
        (None, 0, False),
        ("a", "a", True),
        ("a", "b", False),
        (float("nan"), float("nan"), True),
        (torch.tensor(2.0), 2.0, False),
        (0.0, 0.0, True),
        (-0.0, 0.0, False),
    ],
)
def test_constants(value: Any, frozen: Any, same: bool) -> None:
    assert same_constant(value, frozen) is same
