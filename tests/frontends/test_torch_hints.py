"""What is said of feeds that a module cannot run: about the entry that is wrong, and true of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from qcompiler.errors import QCompilerError
from qcompiler.frontends.torch_arguments import example_call

IMAGES = torch.zeros(2, 3, 8, 8)
IDS = torch.tensor([[1, 2, 9]])
LABELS = torch.tensor([0, 1])


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x)).mean((2, 3))


class Texts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows, self.product = nn.Embedding(10, 8), nn.Linear(8, 4)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        x = self.rows(ids) if mask is None else self.rows(ids) * mask[..., None]
        result: torch.Tensor = self.product(x)
        return result


SAID: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], str]] = {
    "label first": (Pictures, lambda: (LABELS, IMAGES), "entry 1 alone"),
    "number first": (Pictures, lambda: (7, IMAGES), "entry 1 alone"),
    "bytes beside labels": (Pictures, lambda: [IMAGES.to(torch.uint8), LABELS], "/ 255"),
    "samples of a loader": (
        Pictures, lambda: [(IMAGES[0], 1), (IMAGES[1], 0)], "default_collate"
    ),
    "nested": (
        Pictures, lambda: torch.nested.nested_tensor([IMAGES[0], IMAGES[1]]), "to_padded_tensor"
    ),
    "sparse": (Pictures, IMAGES.to_sparse, "to_dense()"),
    "complex": (Pictures, lambda: IMAGES.to(torch.complex64), "complex64: convert"),
    "index too large": (Texts, lambda: (IDS + 1,), "rows 0 to 9, the feed asks for 2 to 10"),
    "index below 0": (Texts, lambda: (IDS.numpy() - 5,), "asks for -4 to 4"),
    "indices as floats": (Texts, lambda: (IDS.float(),), "x.long()"),
    "mask of another size": (Texts, lambda: (IDS, torch.ones(1, 2)), "first 1 of 2 entries"),
    "other names, in front of labels": (
        Pictures, lambda: ({"pixels": IMAGES}, LABELS), "forward takes x"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_the_hint_is_about_what_is_wrong(case: str) -> None:
    module, feed, words = SAID[case]
    with pytest.raises(QCompilerError) as caught:
        example_call(module().eval(), feed(), surplus=True)
    assert words in str(caught.value.fix)


def test_a_missing_argument_is_not_blamed_on_those_that_are_there() -> None:
    with pytest.raises(QCompilerError, match="missing a required argument: 'ids'") as caught:
        example_call(Texts().eval(), {"mask": torch.ones(1, 3)}, surplus=True)
    assert "embedding" not in str(caught.value)


@pytest.mark.parametrize("names", [{"ids": IDS}, {"ids": IDS, "path": "a.txt"}])
def test_a_dict_in_front_of_labels_is_the_feed(names: dict[str, Any]) -> None:
    call = example_call(Texts().eval(), (names, LABELS), surplus=True)
    assert set(call.kwargs) == {"ids"}
    assert call.surplus is not None
    assert call.surplus.without((names, LABELS)) == {"ids": IDS}
    assert "labels" in str(call.surplus)


def test_a_module_that_takes_a_dict_gets_it() -> None:
    class Batches(nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch["x"] + 1

    call = example_call(Batches().eval(), ({"x": IMAGES}, LABELS), surplus=True)
    assert (len(call.args), call.kwargs) == (1, {})


def test_example_inputs_are_called_that() -> None:
    with pytest.raises(QCompilerError, match="cannot run the example inputs"):
        example_call(Pictures().eval(), (np.zeros((2, 1, 8, 8), np.float32),))
    with pytest.raises(QCompilerError, match="the example inputs do not fit"):
        example_call(Pictures().eval(), {"y": IMAGES})
    with pytest.raises(QCompilerError, match="the first feed does not fit"):
        example_call(Pictures().eval(), {"y": IMAGES}, surplus=True)
