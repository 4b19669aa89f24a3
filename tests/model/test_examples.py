"""Examples: parts are views, mini-batches are copies."""

import numpy as np
import pytest

from model.examples import Examples


def test_a_part_is_a_view(examples):
    part = examples[10:30]
    assert len(part) == 20
    for name in ("pixels", "extents", "labels"):
        assert np.shares_memory(getattr(part, name), getattr(examples, name))
        np.testing.assert_array_equal(getattr(part, name), getattr(examples, name)[10:30])


def test_a_memory_map_stays_mapped(tmp_path, examples):
    path = tmp_path / "pixels.npy"
    np.save(path, examples.pixels)
    mapped = Examples(np.load(path, mmap_mode="r"), examples.extents, examples.labels)[5:]
    assert isinstance(mapped.pixels, np.memmap)
    batch = mapped.batch(np.array([3, 1]))
    assert type(batch.pixels) is np.ndarray
    np.testing.assert_array_equal(np.sort(batch.labels), np.sort(examples.labels[[8, 6]]))


@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
def test_a_batch_holds_its_images_farthest_first(examples, dtype):
    examples = Examples(examples.pixels, examples.extents.astype(dtype), examples.labels)
    indices = np.array([7, 100, 3, 55, 7, 236])
    batch = examples.batch(indices)
    assert (np.diff(batch.extents.astype(int)) <= 0).all()
    assert batch.extents[-1] == 0
    rows = [(row.tobytes(), label) for row, label in zip(batch.pixels, batch.labels, strict=True)]
    expected = [(examples.pixels[i].tobytes(), examples.labels[i]) for i in indices]
    assert sorted(rows) == sorted(expected)


def test_arrays_that_do_not_fit_are_refused(examples):
    with pytest.raises(ValueError, match="237 images, 236 extents, 237 labels"):
        Examples(examples.pixels, examples.extents[1:], examples.labels)
    with pytest.raises(ValueError, match="ascontiguousarray"):
        Examples(np.asfortranarray(examples.pixels), examples.extents, examples.labels)
