"""Where channels go in a Reshape, against numpy reshaping the scales themselves."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.passes.equalization.channel_map import ChannelMap


@pytest.mark.parametrize(
    ("before", "after", "axis"),
    [
        ([2, 6, 4, 5], [2, 6, 20], 1),
        ([2, 6, 4, 5], [2, 120], 1),
        ([2, 6, 4, 5], [2, 2, 3, 4, 5], 1),
        ([2, 5, 12], [2, 5, 3, 4], 2),
        ([2, 5, 3, 4], [2, 5, 12], 3),
        ([2, 5, 3, 4], [2, 5, 12], 2),
        ([2, 6, 1, 1], [2, 6], 1),
        ([2, 6], [2, 6, 1, 1], 1),
        ([4, 6], [24], 0),
        ([2, 6, 4], [6, 8], 1),
    ],
)
def test_the_scale_of_every_element_is_kept(before: list[int], after: list[int], axis: int) -> None:
    shape = [1] * len(before)
    shape[axis] = before[axis]
    found = ChannelMap(np.arange(1, before[axis] + 1).reshape(shape))
    moved = found.reshaped(before, after)
    assert moved is not None
    wanted = np.broadcast_to(found.slots, before).reshape(after)
    np.testing.assert_array_equal(np.broadcast_to(moved.slots, after), wanted)


@pytest.mark.parametrize(
    ("before", "after", "axis"),
    [
        ([None, None, 12], [None, None, 3, 4], 2),
        (["N", 6, "H", "W"], ["N", 6, None], 1),
        ([None, 6, 1, 1], [None, 6], 1),
    ],
)
def test_open_sizes_beside_the_channels_do_no_harm(
    before: list[int | str | None], after: list[int | str | None], axis: int
) -> None:
    shape = [1] * len(before)
    shape[axis] = size if isinstance(size := before[axis], int) else 0
    moved = ChannelMap(np.arange(1, shape[axis] + 1).reshape(shape)).reshaped(before, after)
    assert moved is not None
    assert sorted(moved.slots.reshape(-1).tolist()) == list(range(1, shape[axis] + 1))


@pytest.mark.parametrize(
    ("before", "after"),
    [([None, 6, None], [None, None]), ([2, 6, None], [None, 12]), ([None, 6], [None])],
)
def test_open_sizes_that_hide_the_channels_do(
    before: list[int | str | None], after: list[int | str | None]
) -> None:
    shape = [1] * len(before)
    shape[1] = 6
    assert ChannelMap(np.arange(1, 7).reshape(shape)).reshaped(before, after) is None
