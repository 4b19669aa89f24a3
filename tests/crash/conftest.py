"""What the tests of interruptions share; `pytest tests/crash --kills 200` strikes more often."""

import pytest

from tests.crash.grids import grid_in


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=20, help="How often test_kills strikes.")


@pytest.fixture
def grid(tmp_path, data_dir):
    with grid_in(tmp_path / "grid", data_dir) as grid:
        yield grid


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, data_dir):
    """What the grid comes to where nothing happens to it."""
    with grid_in(tmp_path_factory.mktemp("uninterrupted"), data_dir) as grid:
        grid.finish()
        return grid.results()
