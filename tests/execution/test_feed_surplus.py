"""Labels beside the inputs of an ONNX model: left out where that is sure, told otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.errors import FeedError
from qcompiler.execution.feed_surplus import surplus_of
from qcompiler.execution.feeds import normalize_feed
from qcompiler.ir.signature import Signature, TensorSpec

IMAGE, LABEL = np.zeros((2, 3, 4), np.float32), np.array([1, 0])
SPEC = TensorSpec("x", ir.DataType.FLOAT, ("n", 3, 4))
SIGNATURE = Signature((SPEC,), ())


@pytest.mark.parametrize(
    "feed",
    [
        (IMAGE, LABEL),
        ({"x": IMAGE}, LABEL),
        [{"x": IMAGE, "path": "a.png"}, LABEL, "cat"],
        {"x": IMAGE, "label": LABEL},
    ],
)
def test_labels_are_left_out(feed: Any) -> None:
    surplus = surplus_of(SIGNATURE, feed)
    assert surplus is not None
    signature = Signature((SPEC,), (), surplus=surplus)
    assert normalize_feed(signature, feed).keys() == {"x"}


@pytest.mark.parametrize("feed", [(LABEL, IMAGE), (7, IMAGE), (LABEL, IMAGE.astype(float), 3)])
def test_an_image_behind_its_label_is_told(feed: Any) -> None:
    with pytest.raises(FeedError, match="entry 1 of the first feed") as caught:
        surplus_of(SIGNATURE, feed)
    assert "feed[1] for feed in" in str(caught.value.fix)


def test_one_sample_is_told_to_need_its_batch() -> None:
    with pytest.raises(FeedError, match="rank differs") as caught:
        normalize_feed(SIGNATURE, IMAGE[0])
    assert "x[None]" in str(caught.value.fix)
    with pytest.raises(FeedError) as other:
        normalize_feed(SIGNATURE, IMAGE[0, 0])
    assert "x[None]" not in str(other.value.fix)


def test_nothing_where_an_array_is_needed() -> None:
    with pytest.raises(FeedError, match="NoneType was fed") as caught:
        normalize_feed(SIGNATURE, {"x": None})
    assert "leave it out" in str(caught.value.fix)
