"""Arguments that torch.export does not take. Oracle: the module itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

from qcompiler.errors import ExportError, FeedError  # noqa: E402
from qcompiler.frontends import load  # noqa: E402
from qcompiler.frontends.torch_calls import Convention  # noqa: E402
from qcompiler.ir.program import Program  # noqa: E402


class Sign(enum.Enum):
    PLUS = 1
    MINUS = -1


class Typed(nn.Module):
    def forward(self, x: Tensor, kind: Any = torch.float32, sign: Sign = Sign.PLUS) -> Tensor:
        return (x * sign.value).to(kind)


@dataclass
class Pair:
    x: Tensor
    y: Tensor


class Paired(nn.Module):
    def forward(self, pair: Pair) -> Pair:
        return Pair(pair.x + pair.y, pair.y)


def fed(program: Program, *args: Any, **kwargs: Any) -> int:
    """How many arrays a call brings."""
    assert program.signature.flatten is not None
    return len(program.signature.flatten(args, kwargs))


X = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda: torch.nested.nested_tensor([X, X[:1]]), "nested"),
        (X.to_sparse, "sparse"),
        (X.to_sparse_csr, "sparse"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_arrays_are_refused_by_name(made: Any, kind: str) -> None:
    with pytest.raises(FeedError, match=f"'x' is a {kind} tensor"):
        load(Dense(), (made(),))


class Dense(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.to_padded_tensor(0.0) if x.is_nested else x.to_dense()


class Taken(nn.Module):
    def forward(self, x: Tensor, part: Any) -> Tensor:
        return x[:, list(part)] if isinstance(part, range | set | frozenset) else x[:, part]


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (slice(0, 2), slice(0, 3)),
        (range(2), range(1, 3)),
        (frozenset({0, 2}), frozenset({0, 1})),
        (np.int64(1), 2),
    ],
)
def test_constants_of_python_are_held_against_the_call(part: Any, other: Any, run: Any) -> None:
    module, program = Taken(), load(Taken(), (X, part))
    np.testing.assert_array_equal(run(program, {"x": X.numpy()})[0], module(X, part).numpy())
    assert program.signature.convention is not None
    stored = Convention.parse(program.signature.convention)
    assert stored.flatten((X, part), {}) == [X]
    with pytest.raises(FeedError):
        stored.flatten((X, other), {})


def test_constants_are_held_against_the_call() -> None:
    program = load(Typed(), (X, torch.int32, Sign.MINUS))
    assert fed(program, X, torch.int32, Sign.MINUS) == 1
    for call in ((X, torch.float32, Sign.MINUS), (X, torch.int32, Sign.PLUS), (X,)):
        with pytest.raises(FeedError):
            fed(program, *call)
    assert program.model.graph.outputs[0].dtype is ir.DataType.INT32


def test_constants_are_kept_in_text() -> None:
    text = load(Typed(), (X, torch.int32, Sign.MINUS)).signature.convention
    assert text is not None
    convention = Convention.parse(text)
    assert convention.arguments([X])[0][1:] == (torch.int32, Sign.MINUS)
    with pytest.raises(FeedError, match="kind"):
        convention.flatten((X, torch.float64, Sign.MINUS), {})


def test_the_module_is_left_as_it_was() -> None:
    module = Typed()
    load(module, (X, torch.float16))
    assert "forward" not in vars(module)


def test_a_dataclass_that_nobody_registered() -> None:
    program = load(Paired(), (Pair(X, X),))
    assert fed(program, Pair(X, X)) == 2
    assert program.signature.unflatten is not None
    assert isinstance(program.signature.unflatten([X, X]), Pair)


def test_an_unknown_object_names_its_argument() -> None:
    with pytest.raises(FeedError) as caught:
        load(Paired(), (SimpleNamespace(x=X, y=X),))
    assert caught.value.where == "argument 'pair'"


def test_a_failure_without_a_line_names_the_module() -> None:
    module = nn.FractionalMaxPool2d(2, output_size=2, _random_samples=torch.rand(1, 1, 2))
    with pytest.raises(ExportError) as caught:
        load(module, (torch.rand(1, 1, 6, 6),))
    assert "FractionalMaxPool2d" in str(caught.value.where)
