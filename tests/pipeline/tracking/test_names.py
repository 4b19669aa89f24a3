"""Which names of runs are MLflow's own."""

import pytest
from mlflow.utils.name_utils import _generate_random_name

from pipeline.tracking.names import is_generated


def test_what_mlflow_draws_is_its_own():
    for name in (_generate_random_name() for _ in range(200)):
        assert is_generated(name), name


@pytest.mark.parametrize("name", ["baseline", "relu-baseline-1", "grid digits", "whimsical-newt", "", "my-newt-7"])
def test_what_a_person_chose_is_not(name):
    assert not is_generated(name)
