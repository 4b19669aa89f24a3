"""kill -9 at moments drawn from a seeded generator, several in each grid. For more: `--kills 200`, `--on mnist`."""

import signal
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest

from tests.crash.grids import until

pytestmark = pytest.mark.long

KILLS_A_TEST = 5
LONGEST = 2.0  # seconds from a training's first word to the blow: about what two workers need for the grid
VICTIMS = {"a worker": 0.5, "all workers": 0.2, "the command": 0.1, "everything": 0.2}  # and how often


def pytest_generate_tests(metafunc):
    kills = metafunc.config.getoption("kills", 20)
    parts = [min(KILLS_A_TEST, kills - done) for done in range(0, kills, KILLS_A_TEST)]
    metafunc.parametrize(("seed", "kills"), list(enumerate(parts)))


def test_a_grid_killed_at_random_moments_ends_as_if_it_had_not_been(new_grid, uninterrupted, seed, kills):
    draw = np.random.default_rng(seed)
    while kills:  # a grid that is finished before it was struck often enough is followed by another one
        with new_grid(f"grid-{kills}") as grid:
            kills -= strike(grid, draw, kills)
            assert grid.results() == uninterrupted


def strike(grid, draw, most):
    """Bring a grid to its end, striking it up to `most` times on the way; returns how often it was struck."""
    command = grid.start()
    trainings = 0
    for struck in range(most):
        under_way(command, trainings)
        time.sleep(draw.uniform(0, LONGEST))
        if command.ended:
            most = struck
            break
        trainings = command.trainings
        kill(command, draw.choice(list(VICTIMS), p=list(VICTIMS.values())), draw)
        if command.ended:
            if grid.finished:  # it was killed on its way out; once more, and it would be another command
                return struck + 1
            command = grid.start()
            trainings = 0
    assert command.end() == 0, command.output
    return most


def under_way(command, trainings):
    until(lambda: command.ended or command.trainings > trainings, "a training's first word")


def kill(command, victims, draw):
    if victims == "everything":
        command.kill()
    elif victims == "the command":
        command.process.kill()
        command.process.wait()
    else:
        workers = draw.permutation(sorted(worker.pid for worker in command.workers()))
        for pid in workers[: 1 if victims == "a worker" else None]:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).send_signal(signal.SIGKILL)
