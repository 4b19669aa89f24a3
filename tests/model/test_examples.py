"""Examples: slices are views, mini-batches are copies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.examples import Examples


def test_a_slice_is_a_view(examples):
    rows = examples[10:30]
    assert len(rows) == 20
    for name in ("pixels", "extents", "pixel_sums", "labels"):
        assert np.shares_memory(getattr(rows, name), getattr(examples, name))
        np.testing.assert_array_equal(getattr(rows, name), getattr(examples, name)[10:30])


def test_a_batch_is_the_images_asked_for(examples):
    indices = np.array([7, 100, 3, 55, 7, 236])
    batch = examples.batch(indices)
    for name in batch._fields:
        np.testing.assert_array_equal(getattr(batch, name), getattr(examples, name)[indices])


@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
@given(batch_size=st.integers(1, 300), seed=st.integers(0, 9))
def test_mini_batches_keep_their_images_nearest_first(examples, dtype, batch_size, seed):
    examples = Examples(examples.pixels, examples.extents.astype(dtype), examples.pixel_sums, examples.labels)
    order = np.random.default_rng(seed).permutation(len(examples))[:200]
    arranged = examples.nearest_first(order, batch_size)
    assert len(arranged) == 200
    for start in range(0, 200, batch_size):
        rows = slice(start, start + batch_size)
        assert sorted(arranged[rows]) == sorted(order[rows])
        assert (np.diff(examples.extents[arranged[rows]].astype(int)) >= 0).all()


def test_arrays_that_do_not_fit_are_refused(examples):
    with pytest.raises(ValueError, match="237 images, 236 extents, 237 pixel_sums, 237 labels"):
        Examples(examples.pixels, examples.extents[1:], examples.pixel_sums, examples.labels)
    with pytest.raises(ValueError, match="ascontiguousarray"):
        Examples(np.asfortranarray(examples.pixels), examples.extents, examples.pixel_sums, examples.labels)
