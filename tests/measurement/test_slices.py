"""Slices by size of data: what is put together and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.measurement.loss import output_losses
from qcompiler.measurement.slices import APART, clustered, slices_by_data, slices_by_origin


def test_clusters_begin_where_sizes_are_apart() -> None:
    sizes = {0: 1.0, 1: 2.0, 2: 2.0 * APART, 3: 0.0}
    assert clustered(sizes, APART) == {3: 0, 0: 0, 1: 0, 2: 1}


def test_origins_of_one_size_are_one_slice(rng: np.random.Generator) -> None:
    sample = rng.normal(size=(2, 6))
    origins = np.broadcast_to(np.asarray([64, 64, 64, 128, 128, 128]), sample.shape)
    assert slices_by_origin([sample], [origins], {}).groups == (None,)
    found = slices_by_origin([np.where(origins == 64, 100, 1) * sample], [origins], {})
    assert found.labels == (False, False)
    groups = found.groups[0]
    assert groups is not None
    np.testing.assert_array_equal(groups[0], [1, 1, 1, 0, 0, 0])


def test_labels_are_a_slice_of_their_own() -> None:
    sample = np.asarray([[1.0, 1.5, 2.0, 2.5]])
    origins = np.asarray([[64, 64, 128, 128]])
    assert slices_by_origin([sample], [origins], {128: True}).labels == (False, True)


@pytest.mark.parametrize("axis", [1, 2])
def test_channels_of_two_sizes_are_found_along_any_axis(
    rng: np.random.Generator, axis: int
) -> None:
    sample = np.moveaxis(rng.normal(size=(3, 7, 20)) * np.where(np.arange(20) < 4, 300, 1), 2, axis)
    found = slices_by_data([sample, sample[:1]])
    shapes = [each.shape for each in found.groups if each is not None]
    assert shapes == [sample.shape, sample[:1].shape]
    assert found.labels == (False, False)


def test_probabilities_and_classes_of_many_sizes_stay_whole(rng: np.random.Generator) -> None:
    rare = np.asarray([[0.99, 1e-4, 0.0099]])
    assert slices_by_data([rare]).groups == (None,)
    spread = rng.normal(size=(8, 100)) * np.exp(rng.normal(size=100))
    assert slices_by_data([spread]).groups == (None,) * 1


def test_marks_for_masked_positions_are_apart(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(2, 5))
    logits[0, 3] = np.finfo(np.float32).min
    found = slices_by_data([logits.astype(np.float32)])
    groups = found.groups[0]
    assert groups is not None
    assert groups.sum() == 1
    assert groups[0, 3] == 1


def test_an_output_without_elements_is_judged_as_a_whole() -> None:
    empty = np.zeros((2, 0), np.float32)
    found = slices_by_origin([empty], [np.zeros((2, 0), np.int16)], {})
    assert found.labels == (False,)
    assert output_losses([[empty]], [[empty]], [found]) == [0.0]


@pytest.mark.filterwarnings("error")
def test_what_is_no_number_anywhere_is_judged_as_a_whole() -> None:
    """Without a warning of numpy's."""
    found = slices_by_data([np.full((2, 64), np.nan, np.float32)])
    assert found.labels == (False,)
    assert found.groups == (None,)
