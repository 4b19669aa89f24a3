"""The benchmark knows by name what a training does beside training."""

from pkgutil import resolve_name

import pytest

from benchmarks.trainings import PARTS


@pytest.mark.parametrize("name", PARTS.values())
def test_each_part_is_a_function_that_exists(name):
    assert callable(resolve_name(name))
