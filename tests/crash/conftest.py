"""What the tests of interruptions share; `pytest tests/crash --kills 200` strikes more often."""

import pytest

from tests.conftest import copy_store
from tests.crash.grids import grid_in


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=20, help="How often test_kills strikes.")


@pytest.fixture
def new_grid(tmp_path, data_dir, empty_store):
    """A function that makes a grid in a folder with an empty store."""

    def new(name, **kwargs):
        folder = tmp_path / name
        folder.mkdir()
        copy_store(empty_store, folder)
        return grid_in(folder, data_dir, **kwargs)

    return new


@pytest.fixture
def grid(new_grid):
    with new_grid("grid") as grid:
        yield grid


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, data_dir):
    """What the grid comes to where nothing happens to it."""
    with grid_in(tmp_path_factory.mktemp("uninterrupted"), data_dir) as grid:
        grid.finish()
        return grid.results()
