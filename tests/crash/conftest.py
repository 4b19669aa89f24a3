"""What the tests of interruptions share, and the options of `test_kills`."""

import shutil
from functools import cache

import pytest

from pipeline.data import datasets
from tests.conftest import copy_store
from tests.crash.grids import TRAININGS, grid_in
from tests.crash.proxy import Proxy
from tests.servers import mlflow_server


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=20, help="How often test_kills strikes.")
    parser.addoption("--on", choices=list(TRAININGS), default="digits", help="The data set that test_kills trains on.")


@pytest.fixture(scope="session")
def on(request):
    return request.config.getoption("on", "digits")


@pytest.fixture(scope="session")
def data_dir(on, data_dir, request, tmp_path_factory):
    if on == "digits":
        return data_dir
    folder = tmp_path_factory.mktemp("data")
    datasets.prepare(on, data_dir=folder, source=request.getfixturevalue(on), quiet=True)
    return folder


@pytest.fixture
def new_grid(tmp_path, data_dir, empty_store, on):
    """A function that makes a grid in a folder with an empty store."""

    def new(name, **kwargs):
        folder = tmp_path / name
        folder.mkdir()
        copy_store(empty_store, folder)
        return grid_in(folder, data_dir, **{"training": TRAININGS[on], **kwargs})

    return new


@pytest.fixture
def grid(new_grid):
    with new_grid("grid") as grid:
        yield grid


@pytest.fixture(scope="session")
def results_of(tmp_path_factory, data_dir):
    """A function that gives what a grid comes to where nothing happens to it; it trains once for each training."""

    @cache
    def results(training):
        with grid_in(tmp_path_factory.mktemp("uninterrupted"), data_dir, training=training) as grid:
            grid.finish()
            return grid.results()

    return results


@pytest.fixture
def uninterrupted(results_of, on):
    return results_of(TRAININGS[on])


@pytest.fixture(scope="session")
def server(tmp_path_factory, empty_store):
    """A proxy in front of a real tracking server."""
    folder = tmp_path_factory.mktemp("server")
    database = shutil.copy(empty_store, folder / "server.db")
    command = ("server", "--backend-store-uri", f"sqlite:///{database}", "--workers", "1",
               "--artifacts-destination", str(folder / "artifacts"))  # fmt: skip
    with (
        mlflow_server(*command, log=folder / "server.txt", answering="/health") as address,
        Proxy(int(address.rpartition(":")[2])) as proxy,
    ):
        yield proxy
        proxy.shutdown()


@pytest.fixture
def proxy(server):
    """The proxy, which passes everything on to the tracking server until it is asked to fail."""
    server.serve()
    return server
