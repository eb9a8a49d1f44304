"""Pipelines as text: grammar, typed options, round trip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from qcompiler.errors import PipelineError, QCompilerError, RegistryError
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline import registry
from qcompiler.pipeline.combinators import FixedPoint, Sequential
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.pipeline.pipeline import Pipeline


class Mode(Enum):
    """Two ways."""

    MIN_MAX = "minmax"
    MSE = "mse"


@dataclass(frozen=True)
class Toy(Pass):
    """Has an option of every type."""

    name = "toy-text"
    count: int = 1
    rate: float = 0.5
    flag: bool = False
    label: str = "x"
    mode: Mode = Mode.MIN_MAX
    names: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    limit: int | None = None
    note: str | None = None
    side: Literal["left", "right"] = "left"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        return Outcome()


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    registry.register_pass(Toy)
    yield
    registry.PASSES.forget(Toy.name)


_floats = st.floats(allow_nan=False)
_toys = st.builds(
    Toy,
    count=st.integers(),
    rate=_floats,
    flag=st.booleans(),
    label=st.text(),
    mode=st.sampled_from(Mode),
    names=st.lists(st.text(), max_size=3).map(tuple),
    pair=st.tuples(st.integers(), _floats),
    limit=st.none() | st.integers(),
    note=st.none() | st.text() | st.just("none"),
    side=st.sampled_from(["left", "right"]),
)


def _combined(inner: st.SearchStrategy[Pass]) -> st.SearchStrategy[Pass]:
    children = st.lists(inner, min_size=1, max_size=3).map(tuple)
    limits = st.integers(1, 20)
    return st.builds(FixedPoint, children, limits) | st.builds(Sequential, children)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.recursive(_toys, _combined, max_leaves=5), max_size=4))
def test_text_round_trips(passes: list[Pass]) -> None:
    pipeline = Pipeline(tuple(passes))
    assert Pipeline.parse(str(pipeline)) == pipeline


def test_text_of_defaults_is_the_name() -> None:
    assert str(Pipeline.of(Toy(), Toy(mode=Mode.MSE, names=("a", "b c")))) == (
        'toy-text,toy-text{mode=mse,names=[a,"b c"]}'
    )


def test_options_space_and_nesting() -> None:
    written = "toy-text{count=3, limit=7} , fixed-point{limit=2}( toy-text , sequential(toy-text))"
    expected = (Toy(count=3, limit=7), FixedPoint((Toy(), Sequential((Toy(),))), limit=2))
    assert Pipeline.parse(written).passes == expected


def test_one_word_is_a_tuple_of_one() -> None:
    assert Pipeline.parse("toy-text{names=conv}").passes == (Toy(names=("conv",)),)


def test_an_empty_text_is_an_empty_pipeline() -> None:
    assert Pipeline.parse("  ").passes == ()


@pytest.mark.parametrize(
    ("written", "error", "words"),
    [
        ("toy-txt", RegistryError, ["no pass 'toy-txt'", "did you mean 'toy-text'"]),
        ("toy-text{rat=1}", PipelineError, ["no option 'rat'", "count, rate", "mean 'rate'"]),
        ("toy-text{count=1.5}", PipelineError, ["'count'", "an integer"]),
        ("toy-text{rate=fast}", PipelineError, ["'rate'", "a number"]),
        ("toy-text{flag=yes}", PipelineError, ["'flag'", "true or false"]),
        ("toy-text{mode=max}", PipelineError, ["'mode'", "min_max or mse"]),
        ("toy-text{side=up}", PipelineError, ["left or right"]),
        ("toy-text{pair=[1]}", PipelineError, ["2 values"]),
        ("toy-text{count=[1,2]}", PipelineError, ["one int, not a list"]),
        ("toy-text{count=1,count=2}", PipelineError, ["given twice"]),
        ("toy-text{count=1", PipelineError, ["expected ','", "column 17"]),
        ("toy-text,", PipelineError, ["expected a pass name", "column 10"]),
        ("toy-text toy-text", PipelineError, ["expected ',' or the end", "column 10"]),
        ("fixed-point", PipelineError, ["needs passes in parentheses"]),
        ("toy-text(toy-text)", PipelineError, ["takes no passes"]),
        (r'toy-text{label="\q"}', PipelineError, ["a JSON string", "column 16"]),
        ('toy-text{label="a\x01"}', PipelineError, ["a JSON string"]),
        ("fixed-point(" * 3000 + "toy-text", PipelineError, ["at most 50 levels"]),
        ("toy-text{names=" + "[" * 5000 + "}", PipelineError, ["at most 50 levels"]),
        ("toy-text,!" + "toy-text," * 9000, PipelineError, ["column 10"]),
        ("fixed-point{limit=0}(toy-text)", PipelineError, ["limit of 1 or more"]),
    ],
)
def test_errors_say_what_is_wrong(
    written: str, error: type[QCompilerError], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        Pipeline.parse(written)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 600, "a long text is not quoted whole"


def test_what_has_no_text_shows_as_such() -> None:
    class Strange:
        pass

    strange: Any = Strange()
    assert str(Pipeline.of(Toy(label=strange))) == "toy-text{label=<Strange>}"
