"""Parameters: arrays of their own."""

import numpy as np
import pytest

from model.parameter import Parameter, overwrite


def test_a_parameter_has_memory_of_its_own_that_suits_products():
    array = np.arange(15, dtype=np.float32).reshape(5, 3)
    parameter = Parameter(array)
    np.testing.assert_array_equal(parameter.value, array)
    np.testing.assert_array_equal(parameter.gradient, np.zeros((5, 3)))
    assert parameter.rows == 5
    assert not np.shares_memory(parameter.value, array)
    for each in (parameter.value, parameter.gradient):
        assert each.dtype == np.float32
        assert each.ctypes.data % 64 == 0


def test_only_what_fits_overwrites():
    array = np.zeros((2, 2), np.float32)
    overwrite(array, np.ones((2, 2), np.float32), "weight")
    np.testing.assert_array_equal(array, 1)
    with pytest.raises(ValueError, match=r"weight is stored as float64 \(2, 2\), needed as float32 \(2, 2\)"):
        overwrite(array, np.zeros((2, 2)), "weight")
