"""Elements of outputs that are judged as one, against arrays that are built so."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.outputs.views import View, channels

GROUPS = np.broadcast_to(np.asarray([0, 0, 1, 2, 2], np.int16), (1, 3, 5))
OUTPUT = np.arange(15, dtype=np.float32).reshape(1, 3, 5)


def test_the_whole_output_is_handed_on() -> None:
    view = View("y", ((1, None),))
    assert view.whole == 1
    assert view.of([None, OUTPUT], [None, None]) is OUTPUT


def test_a_group_and_several_outputs_are_one_flat_array() -> None:
    np.testing.assert_array_equal(View("s", ((0, 1),)).of([OUTPUT], [GROUPS]), [2, 7, 12])
    both = View("p", ((0, None), (1, None)))
    assert both.whole is None
    assert both.of([OUTPUT, OUTPUT[:, :1]], [None, None]).size == 20


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_classes_count_where_there_is_an_object(axis: int) -> None:
    groups, output = (np.moveaxis(each[..., None], 2, axis) for each in (GROUPS, OUTPUT))
    found = View("s", ((0, 2),), factor=1).of([output], [groups])
    wanted = OUTPUT[..., 3:] * OUTPUT[..., 2:3]
    np.testing.assert_array_equal(np.sort(found), np.sort(wanted.ravel()))


def test_what_has_another_shape_cannot_be_compared() -> None:
    assert View("s", ((0, 1),)).of([OUTPUT[:, :2]], [GROUPS]).size == 0


def test_channels_are_the_same_everywhere() -> None:
    found = channels(GROUPS, 2)
    assert found is not None
    assert (found[0], found[1].tolist()) == (2, [3, 4])
    other = np.array(GROUPS)
    other[0, 1, 3] = 0
    assert channels(other, 2) is None
