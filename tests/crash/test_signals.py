"""Ctrl-C and SIGTERM: what is reached is kept, the last line says how to go on, and the same command does."""

import signal
import time

import psutil
import pytest

from tests.crash.grids import until

pytestmark = pytest.mark.long

STOPPED_WITHIN = 2.0


def to_all(command):
    """Ctrl-C: a terminal sends it to every process of the group."""
    command.signal_all(signal.SIGINT)


def to_the_command(command):
    """`kill PID`, or a cluster that takes its machine back."""
    command.process.terminate()


@pytest.mark.parametrize("stop", [to_all, to_the_command])
def test_a_stopped_grid_says_how_to_go_on_and_does(grid, uninterrupted, stop):
    command = grid.start()
    until(lambda: len(list(grid.checkpoints.rglob("*.npz"))) > 1, "checkpoints")
    workers = command.workers()
    sent = time.monotonic()
    stop(command)
    until(lambda: not any(map(psutil.Process.is_running, workers)), "the end of the workers")
    assert time.monotonic() - sent < STOPPED_WITHIN

    assert command.end() == 130, command.output
    assert "of 3 networks are finished" in command.last_line
    assert command.last_line.endswith("Run the same command again to go on.")
    assert "Traceback" not in command.output
    statuses = [run.info.status for run in grid.runs()]
    assert "KILLED" in statuses
    assert set(statuses) <= {"KILLED", "FINISHED"}

    command = grid.finish()
    assert "goes on after epoch" in command.output
    assert grid.results() == uninterrupted


def test_a_busy_worker_is_not_waited_for(grid):
    """It is between two epochs that a training can stop: one that does not come to it is killed, its run marked."""
    command = grid.start()
    grid.wait_for_checkpoints(command)
    workers = command.workers()
    for worker in workers:
        worker.suspend()
    sent = time.monotonic()
    to_the_command(command)
    until(lambda: not any(map(psutil.Process.is_running, workers)), "the end of the workers")
    assert time.monotonic() - sent < STOPPED_WITHIN
    assert command.end() == 130, command.output
    assert {run.info.status for run in grid.runs()} <= {"KILLED", "FINISHED"}
