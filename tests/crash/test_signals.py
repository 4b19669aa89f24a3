"""Ctrl-C and SIGTERM: what is reached is kept, the last line says how to go on, and the same command does."""

import os
import pty
import select
import signal
import sys
import threading
from contextlib import suppress

import psutil
import pytest

from tests.crash.grids import TRAINING, until

pytestmark = pytest.mark.long

LONGER = (*TRAINING, "--max-epoch", "300")  # so that the signal comes before the end


@pytest.fixture
def grid(new_grid):
    with new_grid("grid", training=LONGER) as grid:
        yield grid


@pytest.fixture
def uninterrupted(results_of):
    return results_of(LONGER)


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
    stop(command)
    until(lambda: not any(map(psutil.Process.is_running, workers)), "the end of the workers")

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


ON_TERMINAL = (
    "import os, sys\n"
    "terminal = os.open(sys.argv[1], os.O_RDWR)  # the first one that a session's leader opens controls the session\n"
    "[os.dup2(terminal, number) for number in (0, 1, 2)]\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class Terminal:
    """A pseudo-terminal, and what was written to it."""

    def __init__(self):
        self.far, near = pty.openpty()
        self.prefix = (sys.executable, "-c", ON_TERMINAL, os.ttyname(near))
        self.near = near
        self.shown = b""
        self.reader = threading.Thread(target=self._read)
        self.stop, self.stopped = os.pipe()
        self.reader.start()

    def _read(self):
        while self.stop not in (ready := select.select([self.far, self.stop], [], [])[0]):
            assert ready
            self.shown += os.read(self.far, 65536)

    def close(self):
        """Take the terminal away, as its window does when it is closed."""
        os.close(self.stopped)
        self.reader.join()
        for descriptor in (self.near, self.far, self.stop):
            with suppress(OSError):
                os.close(descriptor)


def test_a_grid_whose_terminal_closes_keeps_what_it_reached_and_goes_on(grid, uninterrupted):
    terminal = Terminal()
    try:
        command = grid.start(prefix=terminal.prefix)
        until(lambda: b"hinge-1h" in terminal.shown, "a network's line")
        grid.wait_for_checkpoints(command)
        workers = command.workers()
    finally:
        terminal.close()
    assert command.end() == 130
    until(lambda: not any(map(psutil.Process.is_running, workers)), "the end of the workers")
    statuses = [run.info.status for run in grid.runs()]
    assert "KILLED" in statuses
    assert set(statuses) <= {"KILLED", "FINISHED"}
    assert list(grid.checkpoints.rglob("*.npz"))

    command = grid.finish()
    assert "goes on after epoch" in command.output
    assert grid.results() == uninterrupted


def test_a_busy_worker_is_not_waited_for(grid):
    """It is between two epochs that a training can stop: one that does not come to it is killed, its run marked."""
    command = grid.start()
    grid.wait_for_checkpoints(command)
    workers = command.workers()
    for worker in workers:
        worker.suspend()  # only a kill ends it now
    to_the_command(command)
    until(lambda: not any(map(psutil.Process.is_running, workers)), "the end of the workers")
    assert command.end() == 130, command.output
    assert {run.info.status for run in grid.runs()} <= {"KILLED", "FINISHED"}
