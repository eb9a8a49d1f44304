"""Branches on sizes: a call that would take another one is refused. Oracle: the eager module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

from qcompiler.errors import FeedError  # noqa: E402
from qcompiler.execution.feeds import normalize_feed  # noqa: E402
from qcompiler.frontends import load  # noqa: E402


class Branch(nn.Module):
    def __init__(self, test: Callable[[int], bool]) -> None:
        super().__init__()
        self.test = test

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if self.test(x.shape[0]) else x + 1


@pytest.mark.parametrize(
    ("test", "example", "right", "wrong"),
    [
        (lambda n: n > 4, 4, (1, 3), (5, 9)),
        (lambda n: n > 4, 6, (5, 9), (1, 4)),
        (lambda n: n % 2 == 0, 4, (2, 6), (1, 7)),
        (lambda n: n == 1, 4, (2, 9), (1,)),
        (lambda n: n == 1, 1, (1,), (2, 9)),
        (lambda n: n == 3, 3, (3,), (1, 4)),
        (lambda n: False, 4, (1, 3, 9), ()),
    ],
)
def test_the_branch_of_the_example_holds_for_its_sizes_only(
    test: Callable[[int], bool],
    example: int,
    right: tuple[int, ...],
    wrong: tuple[int, ...],
    run: Any,
) -> None:
    module = Branch(test)
    program = load(module, torch.randn(example, 4))
    for rows in (example, *right):
        x = torch.randn(rows, 4)
        feed = normalize_feed(program.signature, x)
        np.testing.assert_array_equal(run(program, feed)[0], module(x).numpy())
    for rows in wrong:
        with pytest.raises(FeedError):
            normalize_feed(program.signature, torch.randn(rows, 4))


def test_a_branch_on_a_batch_of_one_behind_the_time_axis() -> None:
    """The doubled example takes the other branch, and its capture refused the example itself."""

    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(4, 5)

        def forward(self, x: Tensor) -> Any:
            y = self.cell(x)[0]
            return y * 2 if x.shape[1] == 1 else y

    signature = load(TimeFirst(), torch.randn(6, 1, 4)).signature
    normalize_feed(signature, torch.randn(6, 1, 4))


def test_a_size_that_is_fixed_later_is_a_number_in_rules_before() -> None:
    """`s0 >= s1` was dropped where the capture made a number of s1 behind it."""

    class Shortened(nn.Linear):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x)[: len(y)] if x.shape[0] >= y.shape[0] else x

    module, y = Shortened(4, 4), torch.randn(3, 4)
    signature = load(module, (torch.randn(5, 4), y)).signature
    normalize_feed(signature, (torch.randn(8, 4), y))
    with pytest.raises(FeedError):
        normalize_feed(signature, (torch.randn(2, 4), y))


def test_declared_ranges_hold() -> None:
    rows = torch.export.Dim("rows", min=3, max=8)
    program = load(nn.ReLU(), torch.randn(4, 2), dynamic={"input": {0: rows}})
    normalize_feed(program.signature, torch.randn(8, 2))
    for size in (2, 9):
        with pytest.raises(FeedError):
            normalize_feed(program.signature, torch.randn(size, 2))


def test_squeezing_asks_the_size() -> None:
    """A batch of one loses its axis in torch: a program of several rows takes no such call."""

    class Squeezed(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.squeeze(), x.squeeze(0), torch.squeeze(x, (0, 1))

    program = load(Squeezed(), (torch.ones(4, 1, 5),))
    assert program.signature.rules is not None
    assert not all(rule.holds({"s0": 1, **_sizes(program, 1)}) for rule in program.signature.rules)
    assert all(rule.holds(_sizes(program, 7)) for rule in program.signature.rules)
    assert [len(each.shape or ()) for each in program.signature.outputs] == [2, 3, 2]


def _sizes(program: Any, size: int) -> dict[str, int]:
    return {str(dim): size for dim in program.signature.inputs[0].shape if isinstance(dim, str)}


class Compared(nn.Module):
    def forward(self, d: Any, *, others: Any) -> Tensor:
        x: Tensor = d["x"]
        return x * 2 if x.shape[0] > others[0].shape[0] else x + 1


def test_branches_of_a_saved_program_hold(tmp_path: Any) -> None:
    """A file keeps guards as code, not the symbolic conditions."""
    auto = torch.export.Dim.AUTO
    args, kwargs = ({"x": torch.randn(5, 4)},), {"others": [torch.randn(3, 4)]}
    shapes = {"d": {"x": {0: auto}}, "others": [{0: auto}]}
    exported = torch.export.export(Compared(), args, kwargs, dynamic_shapes=shapes)
    torch.export.save(exported, tmp_path / "saved.pt2")
    loaded = torch.export.load(tmp_path / "saved.pt2")
    signature = load(loaded, (*args, kwargs)).signature
    assert signature.flatten is not None

    def feed(rows: int, others: int) -> None:
        flat = signature.flatten(  # type: ignore[misc]
            ({"x": torch.randn(rows, 4)},), {"others": [torch.randn(others, 4)]}
        )
        named = dict(zip(signature.input_names, (each.numpy() for each in flat), strict=True))
        normalize_feed(signature, named)

    feed(4, 2)
    with pytest.raises(FeedError):
        feed(2, 4)
