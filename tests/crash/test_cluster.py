"""A Dask cluster that is not the command's own: workers come late, and the scheduler may be lost."""

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.crash.grids import REPOSITORY, TRAINING
from tests.servers import free_port

pytestmark = pytest.mark.long


@dataclass
class Running:
    """A process of Dask, and where it listens if it is a scheduler."""

    process: subprocess.Popen
    address: str


@contextmanager
def dask(kind, *arguments):
    """`dask scheduler` or `dask worker` inside the `with`, on loopback."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    options += ["--port", str(port)] if kind == "scheduler" else ["--nthreads", "1", "--no-nanny"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", kind, *arguments, *options],
        cwd=REPOSITORY,
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
