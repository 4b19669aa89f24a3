"""Memory: arrays begin at cache lines, and scratch is used again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import memory


@given(st.lists(st.integers(1, 40), max_size=3), st.sampled_from([np.float32, np.float64]))
def test_arrays_begin_at_a_cache_line(shape, dtype):
    array = memory.empty(tuple(shape), dtype)
    assert (array.shape, array.dtype) == (tuple(shape), dtype)
    assert array.flags.c_contiguous
    assert array.ctypes.data % 64 == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_copy_is_one(dtype):
    array = np.arange(12, dtype=dtype).reshape(3, 4)[:, 1:]
    copy = memory.copied(array)
    np.testing.assert_array_equal(copy, array)
    assert copy.dtype == dtype
    assert not np.shares_memory(copy, array)


def test_scratch_is_used_again():
    scratch = memory.Scratch(5, np.float32)
    few = scratch.rows(3)
    assert few.shape == (3, 5)
    many = scratch.rows(7)
    assert many.shape == (7, 5)
    assert np.shares_memory(many, scratch.rows(3))
    assert not np.shares_memory(many, few)
    assert scratch.rows(2).ctypes.data % 64 == 0
