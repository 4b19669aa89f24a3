"""A Dask cluster that is not the command's own: workers come late, the store or the scheduler may be lost."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from pipeline.data import datasets
from pipeline.training import workers
from tests.crash.grids import REPOSITORY, TRAINING, grid_in, until
from tests.servers import free_port

pytestmark = pytest.mark.long


@dataclass
class Running:
    """A process of Dask, and where it listens if it is a scheduler."""

    process: subprocess.Popen
    address: str


@contextmanager
def dask(kind, *arguments, **environment):
    """`dask scheduler` or `dask worker` inside the `with`, on loopback."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    options += ["--port", str(port)] if kind == "scheduler" else ["--nthreads", "1", "--no-nanny"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", kind, *arguments, *options],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Running(process, f"tcp://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def test_workers_that_join_later_get_work(new_grid):
    training = (*TRAINING, "--max-epoch", "100000")
    with dask("scheduler") as scheduler, new_grid("late", training=training) as grid:
        grid.networks = (*grid.networks, "--scheduler", scheduler.address)
        command = grid.start()
        command.say(f"waits for workers at {scheduler.address}")
        with dask("worker", scheduler.address, "--name", "first"):
            command.say(": begins")
            with dask("worker", scheduler.address, "--name", "second"):
                command.say(": begins", 2)
                assert ": finished" not in command.output


def test_a_scheduler_that_is_lost_ends_the_command_in_one_line(new_grid, uninterrupted):
    with new_grid("lost") as grid:
        with dask("scheduler") as scheduler, dask("worker", scheduler.address):
            grid.networks = (*grid.networks, "--scheduler", scheduler.address)
            command = grid.start()
            grid.wait_for_checkpoints(command)
            scheduler.process.kill()
            assert command.end() == 1
            assert command.last_line.startswith(f"Error: The Dask scheduler at {scheduler.address} is lost.")
            assert "Traceback" not in command.output
        grid.networks = grid.networks[:-2]
        grid.finish()
        assert grid.results() == uninterrupted


def test_workers_without_a_shared_folder_get_the_data_and_begin_the_network_of_a_lost_worker_again(
    new_grid, uninterrupted, tmp_path
):
    def worker(name):
        folders = {variable: str(tmp_path / name / variable) for variable in workers.FOLDERS.values()}
        return dask("worker", scheduler.address, "--name", name, **folders)

    with new_grid("apart") as grid, dask("scheduler") as scheduler, worker("first") as first, worker("second"):
        grid.networks = (*grid.networks, "--scheduler", scheduler.address)
        command = grid.start()
        until(lambda: list((tmp_path / "first").rglob("*.npz")), "a checkpoint of the first worker")
        first.process.kill()
        assert command.end() == 0, command.output
        assert grid.results() == uninterrupted
        assert command.output.count("Dask: digits is sent to ") == 2
        assert command.output.count("Dask: the workers share no checkpoint folder: ") == 1
        assert "its worker process died; another one trains it from the start" in command.output
        for name in ("first", "second"):
            assert datasets.load_intact(tmp_path / name / "PIPELINE_DATA_DIR" / "digits")
        assert not list((tmp_path / "second").rglob("*.npz"))


def test_a_living_worker_takes_again_at_once_what_it_gave_up_in_an_outage(tmp_path, data_dir, proxy, uninterrupted):
    impatient = {"PIPELINE_OUTAGE_SECONDS": "2"}
    with (
        dask("scheduler") as scheduler,
        dask("worker", scheduler.address, **impatient),
        grid_in(tmp_path / "outage", data_dir, uri=proxy.uri, experiment="outage") as grid,
    ):
        grid.networks = (*grid.networks, "--scheduler", scheduler.address)
        command = grid.start(**impatient)
        grid.wait_for_checkpoints(command)
        proxy.refuse("error")
        assert command.end() == 1, command.output
        proxy.serve()
        assert "Traceback" not in command.output
        assert "un the same command again" in command.last_line
        again = grid.finish()
        assert "goes on after epoch" in again.output
        assert "may be training it" not in again.output
        assert grid.results() == uninterrupted
        grid.assert_tidy()
